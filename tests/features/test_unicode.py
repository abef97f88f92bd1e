"""Folding, against Python's `unicodedata`."""

from __future__ import annotations

import random
import sys
import unicodedata

import pytest
import tensorflow as tf

from simprod_tf.features.unicode import END, fold

IOTA_BELOW = "\u0345"
NONCHARACTERS = {
    *range(0xFDD0, 0xFDF0),
    *(p for p in range(0x110000) if p % 65536 > 65533),
}
EVERY = [
    chr(point)
    for point in range(sys.maxunicode + 1)
    if not 0xD800 <= point < 0xE000 and point not in NONCHARACTERS
]
ASSIGNED = [c for c in EVERY[:END] if unicodedata.category(c) not in ("Cn", "Co")]
MARKS = [c for c in ASSIGNED if unicodedata.combining(c) and c != IOTA_BELOW]
LATIN_MARKS = [c for c in MARKS if "\u0300" <= c <= "\u036f"]
CHANGED = [c for c in ASSIGNED if unicodedata.normalize("NFKD", c.casefold()) != c]
HANGUL = [*map(chr, range(0x1100, 0x1200)), *map(chr, range(0xAC00, 0xAC00 + 28 * 3))]


def nfkc(text):
    return unicodedata.normalize("NFKC", text)


def oracle(title):
    return nfkc(nfkc(title).casefold())


def d146(title):
    text = unicodedata.normalize("NFD", title).casefold()
    return nfkc(unicodedata.normalize("NFKD", text).casefold())


def folded(titles):
    return [row.decode("utf-8") for row in fold(tf.constant(titles, tf.string)).numpy()]


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Red MUG", "red mug"),
        ("ＦＵＬＬ ｗｉｄｔｈ　１２", "full width 12"),
        ("ﬁt ﬄ", "fit ffl"),
        ("STRASSE Straße ẞ", "strasse strasse ss"),
        ("İ", "i\u0307"),
        ("ΣΊΣΥΦΟΣ ς", "σίσυφοσ σ"),
        ("\u1112\u1161\u11ab \ud558\u11ab", "한 한"),
        ("カ\u3099 ｶﾞ", "ガ ガ"),
        ("m² ™ ℃ ½", "m2 tm °c 1\u20442"),
        ("e\u0301 E\u0301 é", "é é é"),
        ("a\u0301\u0323", "\u1ea1\u0301"),
        # Blocked: the second mark of a class stays out though the letter would take it.
        ("e\u0305\u0301", "e\u0305\u0301"),
        ("ᾼ", "αι"),
        ("α\u0345\u0301", "άι"),
        ("\u0301 a", "\u0301 a"),
        ("日本", "日本"),
        ("", ""),
    ],
)
def test_titles_fold(title, expected):
    assert oracle(title) == expected
    assert folded([title]) == [expected]


def test_every_code_point_alone_folds_as_in_python():
    assert folded(EVERY) == [oracle(c) for c in EVERY]


def test_nothing_beyond_the_tables_folds():
    assert all(
        oracle(c) == c and not unicodedata.combining(c) for c in EVERY if ord(c) >= END
    )


def random_titles(seed, letters, marks, count=1500):
    rng = random.Random(seed)
    return [
        "".join(
            rng.choice(rng.choice(letters))
            + "".join(rng.choice(rng.choice(marks)) for _ in range(rng.randint(0, 4)))
            for _ in range(rng.randint(1, 6))
        )
        for _ in range(count)
    ]


def test_marks_in_any_order_fold_as_in_python():
    titles = random_titles(0, [ASSIGNED, CHANGED, "aeiouAOKαω"], [MARKS, LATIN_MARKS])
    titles = [t for t in titles if IOTA_BELOW not in unicodedata.normalize("NFKD", t)]
    assert len(titles) > 1000
    assert folded(titles) == [oracle(title) for title in titles]


def test_letters_that_compose_fold_as_in_python():
    pairs = [
        unicodedata.normalize("NFD", c)
        for c in ASSIGNED
        if len(unicodedata.normalize("NFD", c)) > 1
    ]
    letters = [HANGUL, pairs, "".join(p[-1] for p in pairs)]
    titles = random_titles(1, letters, [LATIN_MARKS], count=1000)
    titles += random_titles(2, [HANGUL], [HANGUL], count=1000)
    titles = [t for t in titles if IOTA_BELOW not in unicodedata.normalize("NFKD", t)]
    assert folded(titles) == [oracle(title) for title in titles]


def test_the_iota_below_folds_as_unicode_defines():
    titles = random_titles(3, ["αωΑηᾳᾼᾴ\u1f80"], [[IOTA_BELOW], LATIN_MARKS])
    assert folded(titles) == [d146(title) for title in titles]
    # One that Python's order of steps has otherwise, as the docstring says.
    assert oracle("α\u0338\u0345") == "αι\u0338"
    assert folded(["α\u0338\u0345"]) == ["α\u0338ι"]


def test_folding_again_changes_nothing():
    titles = random_titles(4, [ASSIGNED, CHANGED], [[*MARKS, IOTA_BELOW]])
    once = folded(titles)
    assert folded(once) == once


@pytest.mark.parametrize(
    "broken", [b"caf\xe9", b"\xff", b"a\xc3", b"\xed\xa0\x80", b"\xf5b"]
)
def test_broken_bytes_become_replacement_characters(broken):
    expected = broken.decode("utf-8", errors="replace")
    assert fold(tf.constant([broken])).numpy()[0].decode("utf-8") == expected


def test_noncharacters_become_replacement_characters():
    assert folded(["a\ufdd0", "\U0010ffff"]) == ["a\ufffd", "\ufffd"]


def test_rows_keep_their_places():
    assert folded(["A", "É", "B", "E\u0301", ""]) == ["a", "é", "b", "é", ""]
    assert folded([]) == []


def test_a_title_of_many_marks_folds():
    title = "e" + "\u0316\u0301" * 20_000
    assert folded([title]) == ["é" + "\u0316" * 20_000 + "\u0301" * 19_999]


def test_blanks_are_spaces_first():
    assert fold(tf.constant(["Bosch™ A", "É℠"]), blanks="™℠").numpy().tolist() == [
        b"bosch  a",
        "é ".encode(),
    ]


def test_the_same_inside_a_graph():
    titles = ["A", "Éa\u0301\u0323", "ﬁ"]
    graph = tf.function(fold, input_signature=[tf.TensorSpec([None], tf.string)])
    assert graph(tf.constant(titles)).numpy().tolist() == [
        title.encode() for title in folded(titles)
    ]
