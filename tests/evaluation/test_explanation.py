from __future__ import annotations

import re
from dataclasses import dataclass
from html.parser import HTMLParser

import pytest
from PIL import Image

from simprod_tf.data.catalog import Product
from simprod_tf.evaluation.explanation import write_explanation
from simprod_tf.matching.explain import explain
from simprod_tf.matching.views import DECIDER, IMAGE, TEXT, WHOLE


@dataclass(frozen=True)
class Contribution:
    """As a decider's are."""

    feature: str
    value: float
    log_odds: float
    stated: str = ""


class Page(HTMLParser):
    """Elements in order, those still open, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def page(tmp_path):
    Image.new("RGB", (300, 200), "green").save(tmp_path / "green.png")
    this = Product(
        "a<1>", "Mug <b>400 g</b>", str(tmp_path / "green.png"), attributes={"x": "<y>"}
    )
    that = Product("b", "Mug 200 g", str(tmp_path / "gone.png"))
    found = explain(
        this,
        that,
        distances={WHOLE: 0.25, IMAGE: 1.5},
        thresholds={WHOLE: 0.5, IMAGE: 0.5},
        tokens=(["mug", "<b>"], ["mug", "200g"]),
        missing={TEXT: "b has no title"},
    )
    write_explanation(tmp_path / "out" / "explanation.html", found)
    return Page((tmp_path / "out" / "explanation.html").read_text(encoding="utf-8"))


def test_the_page_stands_alone_and_is_well_formed(page):
    assert page.open == []
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "iframe", "b"}
    for _, attributes in page.elements:
        assert "href" not in attributes
        assert re.match(
            "data:image/jpeg;base64,", attributes.get("src", "data:image/jpeg;base64,")
        )


def test_both_pictures_stand_there_or_a_box_in_their_place(page):
    pictures = [attributes for tag, attributes in page.elements if tag == "img"]
    assert [one["alt"] for one in pictures] == ["Mug <b>400 g</b>"]
    boxes = [a for _, a in page.elements if a.get("class") == "no-picture"]
    assert [box["aria-label"] for box in boxes] == ["No picture of Mug 200 g"]


def test_distances_words_and_traits_are_told(page):
    text = " ".join(page.text.split())
    assert "a<1> and b: similar" in text
    assert "0.250, 0.250 below the threshold 0.500" in text
    assert "1.500, 1.000 above the threshold 0.500" in text
    assert "not known: b has no title" in text
    assert "A line is a threshold. Whole products decide" in text
    for label in ("Whole products", "Pictures alone", "Titles alone"):
        assert label in text
    assert "quantity400 g200 gconflict" in text
    assert "Of both titles mug Of a<1> alone <b> Of b alone 200g" in text
    assert "x: <y>" in text
    # 0.25 and 1.5 of 2, on a scale of 200; the threshold at 50.
    paths = [a["d"] for tag, a in page.elements if tag == "path"]
    assert paths == ["M0 7H200", "M0 7H25.0", "M50.0 0V14"] + [
        "M0 7H200", "M0 7H150.0", "M50.0 0V14",
    ]  # fmt: skip


def test_without_pictures_traits_and_threshold_it_says_so(tmp_path):
    found = explain(Product("a"), Product("b"), distances={}, thresholds={})
    write_explanation(tmp_path / "e.html", found)
    text = " ".join(
        Page((tmp_path / "e.html").read_text(encoding="utf-8")).text.split()
    )
    assert "a and b: undecided" in text
    assert "No quantity, pack, model number, brand or condition" in text
    assert "A line is a threshold" not in text


def test_what_a_decider_weighs_is_shown_and_its_distance_on_its_own_scale(tmp_path):
    added = [Contribution("title_overlap", 0.512345, -2.0, "0.5123")]
    added += [Contribution("price", float("nan"), 0.25, "not known")]
    added += [Contribution("all pairs", float("nan"), -1.0)]
    added += [Contribution(f"feature{number}", 0.0, 0.0) for number in range(29)]
    found = explain(
        Product("a", "mug"),
        Product("b", "cup"),
        distances={DECIDER: 0.5, WHOLE: 0.5},
        thresholds={DECIDER: 0.25},
        contributions=added,
    )
    write_explanation(tmp_path / "page.html", found)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "title overlap" in page.text and "0.5123" in page.text
    assert "-2.000" in page.text and "+0.250" in page.text
    assert '<th scope="row">price</th><td>not known</td>' in text
    assert '<th scope="row">all pairs</th><td></td>' in text
    assert "The 25 strongest of 32." in page.text
    assert "The pair decider decides" in page.text
    # A half of 1 by the decider, a quarter of 2 by whole products, of 200 units.
    assert "M0 7H100.0" in text and "M0 7H50.0" in text
