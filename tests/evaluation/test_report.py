from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
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
from simprod_tf.evaluation.retrieval import Retrieval
from simprod_tf.evaluation.slices import SliceRow

WIDE = Interval(0.5, 0.25, 0.75)
PAIR = HardPair(
    Shown("h1", "Red shoe 39"),
    Shown("h2", "Red shoe 40"),
    (
        Said("both", 0.2, max_distance=0.25),
        Said("picture", 0.125),
        Said("title", None, "h1 has no title"),
    ),
    ("quantity 39 against 40",),
)
CURVE = LearningCurve(
    "fused",
    np.array([1, 2, 3]),
    {"loss": np.array([3.0, 2, 1]), "val_pr_auc": np.array([0.25, np.nan, 0.75])},
)
LEAKAGE = LeakageReport(
    {"train": 6, "test": 3},
    (
        Leak("title", "train", "test", 1234, (("t1", "t2"),)),
        Leak("group", "train", "test", 0),
    ),
    placeholders=5,
)
# Elements that have no end tag in HTML.
VOID = {"meta", "img"}


class Page(HTMLParser):
    """Elements in order, the text, and whether every tag was closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if {"th", "td"} & set(self.open):
            self.rows[-1][-1] += data

    def row(self, start: str) -> list[str]:
        """The words in the cells behind the first one, in the row that begins so."""
        found = [[" ".join(one.split()) for one in row] for row in self.rows]
        return next(row[1:] for row in found if row[:1] == [start])

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def evaluated(
    name: str, distances: tuple[float, ...], *, max_distance: float | None = None
) -> Evaluation:
    retrieval = Retrieval(
        kept=np.array([True, True]),
        query_groups=np.array(["a", "b"]),
        measures={
            "recall_at_1": np.array([1.0, 0.0]),
            "recall_at_10": np.array([1.0, 1.0]),
            "map_at_r": np.array([0.5, 0.25]),
        },
        first_ranks=np.array([1, 4]),
    )
    return evaluate_model(
        name,
        pair_distances=distances,
        pair_labels=[1, 1, 0, 0],
        pair_groups=["a", "b", "c", "d"],
        retrieval=retrieval,
        max_distance=max_distance,
        seed=0,
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The report of two models and two sections of queries."""
    tmp_path = tmp_path_factory.mktemp("report")
    Image.new("RGB", (300, 200), "green").save(tmp_path / "green.png")
    picture = str(tmp_path / "green.png")
    query = Shown("q1", "<script>alert('title')</script>", picture, "mugs")
    fused = replace(
        evaluated("fused", (0.1, 0.2, 0.3, 0.9), max_distance=0.25),
        slices=(
            SliceRow("category", "cup", "queries", 30, False, {"mrr": WIDE}),
            SliceRow("category", "", "queries", 2, True, {"mrr": WIDE}),
            SliceRow("category", "jug", "pairs", 4, True, {}),
        ),
    )
    neighbours = (
        Shown("n1", "Blue mug", picture, "mugs", 0.1234, True),
        Shown("n2", "Shoe & sock", "gone.jpg", "shoes", 0.5, False),
        Shown('n"3', "", "", "", 0.75, None),
    )
    write_report(
        tmp_path / "out" / "report.html",
        title="Shop <b>one</b>",
        summary=[("Products", "1,234"), ("Encoder", "a<b")],
        evaluations=[
            evaluated("titles $x$ <only>", (0.1, 0.5, 0.3, 0.9)),
            fused,
        ],
        headline=fused,
        queries=[
            QuerySection(
                "Random queries", (QueryRow(query, neighbours),), "By seed 1."
            ),
            QuerySection("Worst queries", (QueryRow(query, ()),)),
        ],
        notes=["fused beats titles by 0.167 [0.000, 0.250]."],
        hard_pairs=[
            HardPairs("Hardest false positives", (PAIR,) * 7, "By fused."),
            HardPairs("Hardest false negatives", ()),
        ],
        curves=[CURVE],
        words=[WordCoverage(("fused", "titles"), 900, 8, 6, 3, 3, (("gizmo", 2),))],
        leakage=LEAKAGE,
    )
    return Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))


def test_page_is_well_formed_and_its_links_lead_somewhere(page: Page) -> None:
    assert page.open == []
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    for link in page.all("a"):
        assert str(link["href"]).lstrip("#") in ids


def test_nothing_is_loaded_from_elsewhere_and_no_script_runs(page: Page) -> None:
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "iframe", "object", "base", "img"}
    for _, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href"):
            assert re.match(r"data:image/jpeg;base64,|#|$", attributes.get(name) or "")
    assert not re.search(r"url\((?!#)|@import", page.text)
    policy = page.all("meta")[1]
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert str(policy["content"]).startswith("default-src 'none'; img-src data:")


def test_text_of_the_shop_is_escaped(page: Page) -> None:
    assert "<script>alert('title')</script>" in page.text
    assert "Shop <b>one</b>" in page.text
    assert "titles $x$ <only>" in page.text
    assert "b" not in {tag for tag, _ in page.elements}


def test_pictures_are_embedded_once_and_described_where_they_are_shown(
    page: Page,
) -> None:
    assert [image["id"] for image in page.all("image")] == ["picture-0"]
    shown = [a for a in page.all("svg") if a.get("class") == "thumbnail"]
    # The query stands in both sections, one neighbour has a picture.
    title = "<script>alert('title')</script>"
    assert [one["aria-label"] for one in shown] == [title, "Blue mug", title]
    assert all(one["role"] == "img" for one in shown)
    used = [a["href"] for a in page.all("use")]
    assert used.count("#picture-0") == 3
    for _, attributes in page.elements:
        if attributes.get("role") == "img":
            assert attributes["aria-label"]


def test_missing_pictures_have_a_box_in_their_place(page: Page) -> None:
    boxes = [a for a in page.all("span") if a.get("class") == "no-picture"]
    assert [box["aria-label"] for box in boxes][-2:] == [
        "No picture of Shoe & sock",
        'No picture of n"3',
    ]


def test_right_and_wrong_are_marked_by_sign_word_and_colour(page: Page) -> None:
    classes = [str(item["class"]) for item in page.all("li") if "class" in item]
    assert [name for name in classes if name.startswith("product")] == [
        "product right",
        "product wrong",
        "product",
    ]
    words = page.text.split()
    assert "✓right" in words and "✗wrong" in words
    assert "0.123" in words


def test_head_shows_facts_and_notes(page: Page) -> None:
    for text in ["1,234", "a<b", "fused beats titles by 0.167", "By seed 1."]:
        assert text in page.text


def test_table_has_a_row_a_metric_and_marks_the_best_model(page: Page) -> None:
    first, second = page.row("PR-AUC")
    # By hand: of the first model's similar pairs one is behind a wrong one, 5/6.
    assert first.startswith("0.833") and "best" not in first
    assert second.startswith("1.000 best [")
    # Equal numbers have no best, nor has a metric of one model alone.
    assert not any("best" in one for one in page.row("Recall@10"))
    assert page.row("Precision")[0] == "n/a" and "best" not in page.row("Precision")[1]
    assert page.row("Threshold on distance") == ["none", "0.250"]
    assert [a["scope"] for a in page.all("th")].count("rowgroup") == 4
    assert len(page.all("caption")) == len(page.all("table"))


def test_head_shows_the_main_metrics_of_one_model(page: Page) -> None:
    head = page.text[page.text.index("fused, with 95% intervals") :]
    assert head.split()[4].startswith("PR-AUC1.000[")
    assert head.index("Recall@1") < head.index("fused beats titles")


def test_plots_are_drawn_and_told_in_words(page: Page) -> None:
    labels = [str(a["aria-label"]) for a in page.all("div") if a.get("role") == "img"]
    # Three curves, distances of both models, one training.
    assert len(labels) == 6
    assert labels[0].startswith("Precision over recall of the test pairs. ")
    assert "titles $x$ <only>: area 0.833" in labels[0]
    assert labels[1].startswith("ROC of the test pairs. ")
    # One of two queries at once, both by the fourth.
    assert "fused: 0.500 at 1, 1.000 at 10, 1.000 at 100" in labels[2]
    assert "2 (median 0.50) similar pairs" in labels[3]
    assert labels[5] == (
        "Learning curves, fused, 3 epochs: training loss from 3.000 to 1.000; "
        "PR-AUC from 0.250 to 0.750."
    )


def test_slices_stand_by_column_and_few_rows_are_marked(page: Page) -> None:
    captions = re.findall(r"fused, by slices of (\w+)", page.text)
    assert captions == ["queries", "pairs"]
    assert page.row("cup") == ["30", "0.500 [0.250, 0.750]"]
    assert page.row("(none)few") == ["2", "0.500 [0.250, 0.750]"]
    assert [a for a in page.all("tr") if a.get("class") == "few"] == [
        {"class": "few"}
    ] * 2


def test_hard_pairs_say_what_each_modality_says(page: Page) -> None:
    assert page.text.count("Red shoe 39") == 7
    said = page.text[page.text.index("Both\n") :]
    assert said.split()[:5] == ["Both", "0.200,", "within", "the", "threshold"]
    assert "0.125" in page.text and "h1 has no title" in page.text
    assert "In conflict: quantity 39 against 40" in page.text
    # Six are open to the eye, the seventh is folded away.
    assert "1 more" in page.text


def test_words_and_leakage_are_told(page: Page) -> None:
    assert page.row("fused, titles") == ["900", "75.0%", "8", "100.0%", "3"]
    assert "gizmo 2" in page.text
    assert page.row("title") == ["1,234"] and page.row("group") == ["0"]
    assert "share what they should not" in page.text
    assert "title, train with test: t1 with t2" in page.text
    assert "Not compared: 5 products with a placeholder" in page.text


def test_page_serves_phones_dark_rooms_and_paper(page: Page) -> None:
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in (
        page.all("meta")
    )
    assert "prefers-color-scheme: dark" in page.text
    assert "@media print" in page.text


def test_report_without_models_shows_the_queries_alone(tmp_path: Path) -> None:
    section = QuerySection("Queries", (QueryRow(Shown("q", "Mug"), ()),))
    write_report(
        tmp_path / "r.html", title="t", summary=[], evaluations=[], queries=[section]
    )
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "Mug" in page.text
    assert page.all("table") == []


def test_pairs_of_one_kind_are_told_as_such(tmp_path: Path) -> None:
    evaluation = evaluate_model(
        "alike",
        pair_distances=[0.5],
        pair_labels=[1],
        pair_groups=["a"],
        retrieval=None,
        seed=0,
    )
    write_report(
        tmp_path / "r.html", title="t", summary=[], evaluations=[evaluation], queries=[]
    )
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    labels = [str(a["aria-label"]) for a in page.all("div") if a.get("role") == "img"]
    assert "no not similar pairs" in labels[2]
    # ROC-AUC needs both kinds.
    assert "n/a" in page.text


def test_reliability_is_of_the_models_own_probabilities_or_else_cross_fitted(
    tmp_path: Path,
) -> None:
    many = evaluate_model(
        "many",
        pair_distances=[*np.linspace(0.1, 1.0, 20), *np.linspace(0.6, 1.5, 20)],
        pair_labels=[1] * 20 + [0] * 20,
        pair_groups=np.arange(40),
        retrieval=None,
        seed=0,
    )
    own = evaluate_model(
        "own",
        pair_distances=[0.1, 0.2, 0.3, 0.4],
        pair_labels=[1, 1, 0, 0],
        pair_groups=np.arange(4),
        pair_probabilities=np.array([0.75, 0.75, 0.25, 0.25]),
        retrieval=None,
        seed=0,
    )
    write_report(
        tmp_path / "r.html", title="t", summary=[], evaluations=[many, own], queries=[]
    )
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    labels = [str(a["aria-label"]) for a in page.all("div") if a.get("role") == "img"]
    shown = [one for one in labels if one.startswith("Share similar over probability")]
    assert [re.findall(r", (\w+): ", one)[0] for one in shown] == ["many", "own"]
    assert "40 pairs, ECE 0." in page.text
    # A quarter off in each bin.
    assert "4 pairs, ECE 0.250" in page.text
    assert {"href": "#reliability"} in page.all("a")


def test_of_few_pairs_no_reliability_is_shown(page: Page) -> None:
    assert {"href": "#distances"} in page.all("a")
    assert {"href": "#reliability"} not in page.all("a")


def test_sections_that_have_nothing_to_show_are_left_out(tmp_path: Path) -> None:
    write_report(tmp_path / "r.html", title="t", summary=[], evaluations=[], queries=[])
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert page.all("section") == [] and page.all("h2") == []


def test_a_split_that_shares_nothing_is_told_as_such(tmp_path: Path) -> None:
    clean = LeakageReport({"train": 1, "test": 1}, (Leak("title", "train", "test", 0),))
    write_report(
        tmp_path / "r.html",
        title="t",
        summary=[],
        evaluations=[],
        queries=[],
        leakage=clean,
    )
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "share nothing of these kinds" in text and "Examples" not in text


def test_a_learning_curve_has_a_value_an_epoch() -> None:
    with pytest.raises(
        ValueError, match=r"loss must have a value for each of 2 epochs"
    ):
        LearningCurve("m", np.array([1, 2]), {"loss": np.array([1.0])})
