"""The report as Chromium shows it: by playwright, and axe-core for accessibility."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from simprod_tf.data.leakage import Leak, LeakageReport
from simprod_tf.evaluation.evaluate import Evaluation, evaluate_model
from simprod_tf.evaluation.interval import Interval
from simprod_tf.evaluation.report import write_report
from simprod_tf.evaluation.report_data import (
    HardPair,
    HardPairs,
    LearningCurve,
    QueryRow,
    QuerySection,
    Said,
    Shown,
    WordCoverage,
)
from simprod_tf.evaluation.retrieval import retrieval_metrics
from simprod_tf.evaluation.slices import SliceRow

playwright = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the path"),
]

WIDTHS = (360, 1200)
LONG = "Unbreakable-" * 12
# What WCAG 2.2 asks at levels A and AA, and what axe-core holds for good practice.
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def evaluated(name: str, seed: int) -> Evaluation:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, 400)
    vectors = generator.normal(size=(60, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    groups = np.arange(60) // 3
    return evaluate_model(
        name,
        pair_distances=np.clip(generator.normal(1.2 - 0.5 * labels, 0.25), 0, 2),
        pair_labels=labels,
        pair_groups=np.arange(400) // 4,
        pair_probabilities=np.clip(generator.normal(labels, 0.3), 0, 1),
        retrieval=retrieval_metrics(
            vectors,
            vectors,
            groups,
            groups,
            query_ids=np.arange(60),
            candidate_ids=np.arange(60),
        ),
        max_distance=0.95,
        seed=0,
    )


def pair(this: Shown, that: Shown) -> HardPair:
    said = (
        Said("both", 1.25, max_distance=0.95),
        Said("picture", None, f"{this.id} has no picture"),
        Said("title", 0.5),
    )
    return HardPair(this, that, said, (f"brand {LONG} against Norara",))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with every section, six models, long words and odd pictures."""
    folder = tmp_path_factory.mktemp("report")
    Image.effect_noise((90, 160), 60).save(folder / "tall.png")
    models = [evaluated(f"model {number}", number) for number in range(5)]
    last = evaluated(f"hand+mined-{LONG}", 7)
    metrics = dict(last.metrics)
    half = {"pr_auc": Interval(0.5, 0.25, 0.75)}
    last = Evaluation(
        **{
            **vars(last),
            "metrics": {**metrics, "of_a_kind_without_a_name": half["pr_auc"]},
            "slices": (
                SliceRow("category", LONG, "pairs", 300, False, half),
                SliceRow("category", "mug", "pairs", 3, True, half),
                SliceRow("picture", "missing", "queries", 3, True, metrics),
            ),
        }
    )
    tall = Shown("p1", LONG, str(folder / "tall.png"), LONG, 0.25, True)
    none = Shown("p" * 60, "", "", "g2", 1.5, False)
    row = QueryRow(tall, (tall, none, tall))
    write_report(
        folder / "report.html",
        title=f"Similar products in {LONG}",
        summary=[("Data", LONG), ("Queries", "60 products")],
        evaluations=[*models, last],
        headline=last,
        queries=[QuerySection("Random queries", (row,) * 6, "Drawn at random.")],
        notes=[f"{LONG} is better than nothing."],
        hard_pairs=[
            HardPairs("Hardest false positives", (pair(tall, none),) * 8, "By it."),
            HardPairs("Hardest false negatives", ()),
        ],
        curves=[
            LearningCurve(
                "hand",
                np.arange(1, 9),
                {"loss": 1 / np.arange(1, 9), "val_pr_auc": np.linspace(0, 1, 8)},
            )
        ],
        words=[WordCoverage(("hand",), 900, 8, 6, 3, 3, ((LONG, 2), ("gizmo", 1)))],
        leakage=LeakageReport(
            {"train": 6, "test": 3},
            (Leak("title", "train", "test", 1, (("a", LONG),)),),
        ),
    )
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        # As root, as in a container, Chromium's own sandbox does not start.
        found = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(
    scope="module",
    params=[(width, scheme) for width in WIDTHS for scheme in ("light", "dark")],
    ids=lambda param: f"{param[0]}-{param[1]}",
)
def opened(request, browser, report):
    """The page, and what it asked for and complained of."""
    width, scheme = request.param
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True
    )
    page = context.new_page()
    asked: list[str] = []
    told: list[str] = []
    page.on("request", lambda one: asked.append(one.url))
    page.on("console", lambda one: told.append(one.text))
    page.on("pageerror", lambda one: told.append(str(one)))
    page.goto(report.as_uri())
    # What is folded away counts too.
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    yield page, asked, told
    context.close()


def test_nothing_is_asked_for_and_nothing_complained_of(opened, report):
    _, asked, told = opened
    assert [url for url in asked if not url.startswith("data:")] == [report.as_uri()]
    assert told == []


def test_the_page_is_no_wider_than_the_screen(opened):
    page, _, _ = opened
    width = page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") == width
    # Nor does anything outside a box that scrolls stick out, where it would be cut.
    out = page.evaluate(
        """() => [...document.querySelectorAll('main *, header *')].filter(one =>
            !one.closest('.scroll') && !one.closest('svg') &&
            !one.classList.contains('unseen') &&
            one.getBoundingClientRect().right > document.documentElement.clientWidth
        ).map(one => one.outerHTML.slice(0, 100))"""
    )
    assert out == []


def test_axe_core_finds_nothing_to_mend(opened):
    page, _, _ = opened
    options = {"runOnly": {"type": "tag", "values": TAGS}}
    # A plot is one image with a name: what is drawn in it has none.
    context = {"exclude": [[".drawing > svg"]]}
    found = axe.Axe().run(page, context=context, options=options).response
    told = [
        (one["id"], one["help"], node["html"][:120])
        for one in found["violations"]
        for node in one["nodes"]
    ]
    assert told == []
    # Contrast was looked at, and the pictures' names.
    passed = {one["id"] for one in found["passes"]}
    assert {"color-contrast", "svg-img-alt", "heading-order"} <= passed


def test_pictures_and_plots_are_drawn_in_the_schemes_colours(opened):
    page, _, _ = opened
    picture = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    colours = sorted(picture.getcolors(1 << 24), reverse=True)
    assert len(colours) > 200
    # Most of the page is its ground.
    assert (sum(colours[0][1]) < 150) == dark
    for selector, least in ((".thumbnail", 50), (".drawing svg", 10)):
        part = page.locator(selector).first.screenshot()
        shown = Image.open(io.BytesIO(part)).convert("RGB")
        assert len(shown.getcolors(1 << 24)) > least


def test_links_lead_to_where_they_say(opened):
    page, _, _ = opened
    for link in page.locator("nav a").all():
        heading = page.locator(f"{link.get_attribute('href')} h2").first
        assert heading.inner_text() == link.inner_text()


def test_on_paper_the_folded_parts_are_printed(browser, report):
    page = browser.new_page()
    page.goto(report.as_uri())
    folded = page.locator("details .pair").first
    assert not folded.is_visible()
    page.emulate_media(media="print")
    assert folded.bounding_box()["height"] > 50
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.close()
