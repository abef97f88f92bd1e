from __future__ import annotations

import pytest

from simprod_tf.decider.evidence.tokens import (
    codes,
    compounds,
    joined,
    plain_text,
    tokens,
)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Café Crème", "cafe creme"),
        ("Intel® Core™", "intel core"),
        ('"iMac 24" "Null"', '"imac 24" '),
        ("12,345 pages", "12345 pages"),
        ("1,5 l", "1,5 l"),
        ("Print Shop v22", "print shop 22"),
        ("Typing v. 17.0", "typing 17.0"),
        ("Architect Version 9", "architect 9"),
        ("server 2003", "server 2003"),
        ("daylite v3 .0", "daylite 3.0"),
    ],
)
def test_plain_text_drops_case_accents_fillers_and_version_marks(text, plain):
    assert " ".join(plain_text(text).split()) == " ".join(plain.split())


def test_language_tags_are_no_words():
    assert tokens(plain_text('"WD Red"@en "WD Rot"@de')) == ["wd", "red", "wd", "rot"]


def test_tokens_part_at_separators_but_not_in_decimals():
    assert tokens("dsc-w120 6.0 2.4ghz 5.5") == ["dsc", "w120", "6", "2", "4ghz", "5.5"]


def test_compounds_are_two_and_three_neighbours_with_their_places():
    found = compounds(["kx", "tg", "93", "kx", "tg"])
    assert found["kxtg"] == (0, 2)
    assert found["kxtg93"] == (0, 3)
    assert found["93kx"] == (2, 4)
    assert "kx" not in found
    assert "kxtg93kx" not in found


def test_compounds_of_one_token_are_none():
    assert compounds(["kx"]) == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("sony dsc-w120/b camera", ["dscw120b"]),
        ("637414-b21 hp xeon e5607", ["637414b21", "e5607"]),
        ("431943-003 146-gb", ["431943003", "146gb"]),
        ("encore 14111 jeopardy", ["14111"]),
        ("w120 twice w120", ["w120"]),
    ],
)
def test_codes_are_found_without_separators(text, found):
    assert codes(text)[: len(found)] == found


@pytest.mark.parametrize(
    "text",
    ["120gb", "7200rpm", "1080p", "2006", "office 12", "mp3 usb2", "1920x1080", "cs3"],
)
def test_sizes_years_and_standards_are_no_codes(text):
    assert codes(text) == []


def test_joined_drops_separators():
    assert joined("f8n044-slv/b_1") == "f8n044slvb1"
