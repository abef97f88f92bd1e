"""The tokeniser, worked by hand, and word ids."""

from __future__ import annotations

import subprocess
import sys

import pytest
import tensorflow as tf

from simprod_tf.features.text import (
    DROP,
    HASH,
    MAX_IDS,
    NGRAMS,
    WordIds,
    title_words,
    tokenize,
)


@pytest.mark.parametrize(
    ("title", "words"),
    [
        ("Red MUG, new!", "red mug new"),
        ("a\tb_c  d\u00a0e\u3000f", "a b c d e f"),
        ("ÜBER café", "über café"),
        ("- a -- b. c... d--e", "a b c d e"),
        ("日本 茶", "日本 茶"),
        ("don't", "don t"),
        ("  ", ""),
        ("!!!", ""),
        # Unicode.
        ("Bosch™ Dremel® ＡＢＣ ﬁne", "bosch dremel abc fine"),
        ("Cafe\u0301 STRASSE", "café strasse"),
        ("mug \u2600\ufe0f red", "mug red"),
        # Numbers and units.
        ("Mug 350 ml", "mug 350ml"),
        ("mug 350ml", "mug 350ml"),
        ("mug 350-ML", "mug 350ml"),
        ("0,35 L mug", "0.35l mug"),
        ("1 m 2 m (3 m)", "1m 2m 3m"),
        ("2 x 500 g", "2x 500g"),
        ("12-pack 12 Pack", "12pack 12pack"),
        ("5 ℓ 3 ㎏", "5l 3kg"),
        ("5 minutes 5 müsli 5 mñ", "5 minutes 5 müsli 5 mñ"),
        ("ps4 pack", "ps4 pack"),
        # Inches; but 3 in 1 is no length.
        ('15.6" 15.6 ” 15.6″', "15.6in 15.6in 15.6in"),
        ("15.6 inch 15.6-inches 15.6inch", "15.6in 15.6in 15.6in"),
        ("15.6 in, 10 in x 20 in", "15.6in 10in x 20in"),
        ("3 in 1", "3 in 1"),
        ("5 inches", "5in"),
        ("5 incisors 5 injections", "5 incisors 5 injections"),
        # Whole, then its parts.
        ("XTA-3510-73GB", "xta-3510-73gb xta 3510 73gb"),
        ("T-shirt", "t-shirt t shirt"),
        ("USB-C cable (2 m)", "usb-c usb c cable 2m"),
        ("MB463LL/A", "mb463ll/a mb463ll a"),
        ("a-b/c d", "a-b/c a b c d"),
        ("3-in-1", "3-in-1 3 in 1"),
        ("A-10-M", "a-10-m a 10 m"),
        ("v2.0 1.5-2.5", "v2.0 1.5-2.5 1.5 2.5"),
        ("a-b-c-d-e-f-g-h", "a-b-c-d-e-f-g-h a b c d e f g-h"),
    ],
)
def test_titles_become_words(title, words):
    assert title_words([title]) == [words.split()]


def test_titles_do_not_touch_each_other():
    titles = ["a 5", "ml b -", "", "- c", "", "5 in", "x", "TITLEEND"]
    together = [["a", "5"], ["ml", "b"], [], ["c"], [], ["5in"], ["x"], ["titleend"]]
    assert title_words(titles) == together
    assert title_words(titles, batch_size=1) == together
    assert title_words([]) == []


def test_broken_bytes_do_not_break_a_batch():
    words = tokenize(tf.constant([b"caf\xe9 mug", b"red"])).to_list()
    assert words == [[b"caf", b"mug"], [b"red"]]


def test_word_ids_follow_the_vocabulary_and_skip_unknown_words():
    ids = WordIds(["mug", "red"])(tf.constant(["red shiny mug", "shiny", "", "mug"]))
    assert ids.dtype == tf.int32
    assert ids.numpy().tolist() == [[2, 1], [0, 0], [0, 0], [1, 0]]


def test_there_is_a_column_even_without_an_id():
    assert WordIds(["mug"])(tf.constant(["shiny", ""])).numpy().tolist() == [[0], [0]]
    assert WordIds(["mug"])(tf.constant([], tf.string)).shape == (0, 1)
    assert WordIds([])(tf.constant(["red mug", " "])).numpy().tolist() == [[0], [0]]


def test_long_titles_are_cut_at_known_words():
    title = " ".join(["shiny"] * 300 + ["mug"] * 300)
    ids = WordIds(["mug"])(tf.constant([title, "mug"])).numpy()
    assert ids[0].tolist() == [1] * MAX_IDS
    assert ids[1].tolist() == [1] + [0] * (MAX_IDS - 1)


def farmhash_bucket(word, buckets):
    return int(tf.strings.to_hash_bucket_fast(word, buckets))


def test_the_hash_is_the_same_everywhere():
    # Fingerprint64 of pyfarmhash 0.5.1, modulo 1,000: ids in an export rest on it.
    buckets = tf.strings.to_hash_bucket_fast(["mug", "red", "über"], 1000)
    assert buckets.numpy().tolist() == [533, 910, 773]


def test_unknown_words_have_their_bucket():
    ids = WordIds(["mug", "red"], unknown=HASH, buckets=7)
    rows = ids(tf.constant(["red shiny mug", "", "shiny blue"])).numpy().tolist()
    shiny, blue = (3 + farmhash_bucket(word, 7) for word in ("shiny", "blue"))
    assert rows == [[2, shiny, 1], [0, 0, 0], [shiny, blue, 0]]


def ngrams(word, lengths=(3, 4, 5)):
    marked = f"<{word}>"
    return [marked[i : i + n] for n in lengths for i in range(len(marked) - n + 1)]


def test_unknown_words_have_the_ids_of_their_ngrams():
    assert ngrams("tee") == ["<te", "tee", "ee>", "<tee", "tee>", "<tee>"]
    ids = WordIds(["mug"], unknown=NGRAMS, buckets=1000)
    rows = ids(tf.constant(["tee mug a", "", "mug", "über"])).numpy().tolist()
    expected = [
        [1] + [2 + farmhash_bucket(gram, 1000) for gram in [*ngrams("tee"), "<a>"]],
        [],
        [1],
        [2 + farmhash_bucket(gram, 1000) for gram in ngrams("über")],
    ]
    assert [[i for i in row if i] for row in rows] == expected


@pytest.mark.parametrize(("unknown", "buckets"), [(DROP, 0), (HASH, 9), (NGRAMS, 9)])
def test_words_ready_made_have_the_ids_of_their_titles(unknown, buckets):
    ids = WordIds(["mug", "red"], unknown=unknown, buckets=buckets)
    titles = tf.constant(["red shiny mug", "", "t-shirt", "red"])
    assert (
        ids.of_words(tokenize(titles)).numpy().tolist() == ids(titles).numpy().tolist()
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"unknown": "guess"}, r"unknown must be one of \['drop', 'hash', 'ngrams'\]"),
        ({"buckets": 5}, "buckets must be 0 for 'drop'.*got 5 for 'drop'"),
        ({"unknown": HASH}, "at least 1 for 'hash' and 'ngrams'; got 0 for 'hash'"),
        ({"unknown": HASH, "buckets": -1}, "got -1 for 'hash'"),
        ({"buckets": -1}, "got -1 for 'drop'"),
    ],
)
def test_wrong_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        WordIds(["mug"], **arguments)


def test_a_word_twice_is_refused():
    with pytest.raises(ValueError, match="twice"):
        WordIds(["mug", "mug"])


TITLES = ["Red XTA-3510 mug 5 l", "ÉTÉ e\u0301te\u0301 ﬁ", "", "shiny™"]

LOAD = """
import sys
import tensorflow as tf
module = tf.saved_model.load(sys.argv[1])
print([ids.numpy().tolist() for ids in module(tf.constant(sys.argv[2:]))])
assert not any(name.startswith("simprod") for name in sys.modules)
"""


class Export(tf.Module):
    """What an export does with word ids, of each kind."""

    def __init__(self):
        super().__init__()
        words = ["mug", "xta", "été", "5l"]
        self.dropping = WordIds(words)
        self.hashing = WordIds(words, unknown=HASH, buckets=50)
        self.splitting = WordIds(words, unknown=NGRAMS, buckets=50)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, titles):
        return self.dropping(titles), self.hashing(titles), self.splitting(titles)


def test_tensorflow_alone_loads_them_and_gives_the_same_ids(tmp_path):
    module = Export()
    tf.saved_model.save(module, str(tmp_path))
    out = subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path), *TITLES],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    ).stdout
    here = [ids.numpy().tolist() for ids in module(tf.constant(TITLES))]
    assert here[0][1] == [3, 3, 0]
    assert out.strip() == str(here)
