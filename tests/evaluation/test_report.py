from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from simprod_tf.evaluation.evaluate import Evaluation, evaluate_model
from simprod_tf.evaluation.report import QueryRow, QuerySection, Shown, write_report
from simprod_tf.evaluation.retrieval import Retrieval

# Elements that have no end tag in HTML.
VOID = {"meta", "img"}


class Page(HTMLParser):
    """Elements in order, the text, and whether every tag was closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def evaluated(
    name: str, distances: tuple[float, ...], *, max_distance: float | None = None
) -> Evaluation:
    retrieval = Retrieval(
        kept=np.array([True, True]),
        query_groups=np.array(["a", "b"]),
        recall_at={1: np.array([1.0, 0.0]), 10: np.array([1.0, 1.0])},
        map_at_r=np.array([0.5, 0.25]),
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
            evaluated("fused", (0.1, 0.2, 0.3, 0.9), max_distance=0.25),
        ],
        queries=[
            QuerySection(
                "Random queries", (QueryRow(query, neighbours),), "By seed 1."
            ),
            QuerySection("Worst queries", (QueryRow(query, ()),)),
        ],
        notes=["fused beats titles by 0.167 [0.000, 0.250]."],
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
    assert not tags & {"script", "link", "iframe", "object", "base", "image"}
    for _, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href"):
            assert re.match(r"data:image/jpeg;base64,|#|$", attributes.get(name) or "")
    assert not re.search(r"url\((?!#)|@import", page.text)


def test_text_of_the_shop_is_escaped(page: Page) -> None:
    assert "<script>alert('title')</script>" in page.text
    assert "Shop <b>one</b>" in page.text
    assert "titles $x$ <only>" in page.text
    assert "b" not in {tag for tag, _ in page.elements}


def test_pictures_are_embedded_and_described(page: Page) -> None:
    pictures = page.all("img")
    # The query stands in both sections, one neighbour has a picture.
    assert [image["alt"] for image in pictures] == [
        "<script>alert('title')</script>",
        "Blue mug",
        "<script>alert('title')</script>",
    ]
    for element in page.all("div") + page.all("span"):
        if element.get("role") == "img":
            assert element["aria-label"]


def test_missing_pictures_have_a_box_in_their_place(page: Page) -> None:
    boxes = [a for a in page.all("span") if a.get("class") == "no-picture"]
    assert [box["aria-label"] for box in boxes] == [
        "No picture of Shoe & sock",
        'No picture of n"3',
    ]


def test_right_and_wrong_are_marked_by_sign_word_and_colour(page: Page) -> None:
    classes = [item["class"] for item in page.all("li") if "class" in item]
    assert [name for name in classes if str(name).startswith("product")] == [
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


def test_table_shows_intervals_and_marks_the_best(page: Page) -> None:
    best = [a["data-label"] for a in page.all("td") if a.get("class") == "best"]
    # Equal numbers have no best, nor has a metric of one model alone.
    assert best == ["PR-AUC", "ROC-AUC"]
    assert "0.833" in page.text and "1.000" in page.text
    assert "0.250" in page.text
    assert re.search(r"\[\d\.\d{3}, \d\.\d{3}\]", page.text)
    assert "Recall@10" in page.text


def test_plots_are_drawn_for_all_models_and_told_in_words(page: Page) -> None:
    labels = [str(a["aria-label"]) for a in page.all("div") if a.get("role") == "img"]
    assert len(labels) == 3
    assert "titles $x$ <only>: area 0.833" in labels[0]
    assert "2 (median 0.50) similar pairs" in labels[1]


def test_page_serves_phones_dark_rooms_and_paper(page: Page) -> None:
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in (
        page.all("meta")
    )
    assert "prefers-color-scheme: dark" in page.text
    assert "@media print" in page.text


def test_report_of_one_model_marks_no_best(tmp_path: Path) -> None:
    write_report(
        tmp_path / "r.html",
        title="t",
        summary=[],
        evaluations=[evaluated("only", (0.1, 0.2, 0.3, 0.9))],
        queries=[],
    )
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert not [a for a in page.all("td") if a.get("class") == "best"]


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
    assert "no not similar pairs" in labels[1]
    # ROC-AUC needs both kinds.
    assert "n/a" in page.text


def test_reliability_is_shown_where_there_are_pairs_enough(tmp_path: Path) -> None:
    distances = [*np.linspace(0.1, 1.0, 20), *np.linspace(0.6, 1.5, 20)]
    evaluation = evaluate_model(
        "many",
        pair_distances=distances,
        pair_labels=[1] * 20 + [0] * 20,
        pair_groups=np.arange(40),
        retrieval=None,
        seed=0,
    )
    few = evaluated("few", (0.1, 0.2, 0.3, 0.9))
    write_report(
        tmp_path / "r.html",
        title="t",
        summary=[],
        evaluations=[few, evaluation],
        queries=[],
    )
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    labels = [str(a["aria-label"]) for a in page.all("div") if a.get("role") == "img"]
    shown = [one for one in labels if one.startswith("Share similar over probability")]
    assert len(shown) == 1 and ", many: " in shown[0]
    assert "40 pairs, ECE 0." in page.text
    assert {"href": "#reliability"} in page.all("a")
