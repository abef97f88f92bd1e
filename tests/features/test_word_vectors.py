"""Word vectors: trained, loaded from each format, and refused."""

from __future__ import annotations

import gzip
import zlib

import numpy as np
import pytest
from gensim.models import FastText, KeyedVectors, Word2Vec

from simprod_tf.errors import InputError
from simprod_tf.features.word_vectors import (
    KINDS,
    NO_WORDS,
    WordVectors,
    load_word_vectors,
    train_word_vectors,
)

WORDS = ["red", "blue", "mug"]
VECTORS = np.array([[1, 0], [0.5, 0.25], [-1, 2]], np.float32)


def test_words_of_like_company_come_out_alike():
    rng = np.random.default_rng(0)
    topics = [[f"{topic}{i}" for i in range(20)] for topic in ("cup", "shoe")]
    titles = [list(rng.choice(topics[n % 2], 6)) for n in range(800)]
    found = train_word_vectors(titles, dim=16, epochs=5, seed=1)
    unit = found.vectors / np.linalg.norm(found.vectors, axis=1, keepdims=True)
    is_cup = np.array([word.startswith("cup") for word in found.words])
    within, across = unit[is_cup] @ unit[is_cup].T, unit[is_cup] @ unit[~is_cup].T
    assert within.mean() > across.mean() + 0.3


def crc(text):
    return zlib.crc32(text.encode("utf-8"))


def test_skipgram_is_gensims_word2vec():
    rng = np.random.default_rng(0)
    titles = [list(rng.choice(list("abcdefghij"), 5)) for _ in range(60)]
    oracle = Word2Vec(
        titles,
        vector_size=8,
        window=8,
        min_count=2,
        sg=1,
        sample=1e-2,
        seed=5,
        workers=1,
        epochs=3,
        hashfxn=crc,
    )
    found = train_word_vectors([*titles, []], dim=8, epochs=3, min_count=2, seed=5)
    assert list(found.words) == oracle.wv.index_to_key
    assert (found.vectors == oracle.wv.vectors).all()


def test_fasttext_is_gensims():
    titles = [["mugs", "red"], ["mug", "blue"]] * 20
    oracle = FastText(
        titles,
        vector_size=4,
        window=8,
        min_count=1,
        sg=1,
        sample=1e-2,
        seed=2,
        workers=1,
        epochs=2,
        hashfxn=crc,
        bucket=200_000,
    )
    found = train_word_vectors(titles, kind="fasttext", dim=4, epochs=2, seed=2)
    assert list(found.words) == oracle.wv.index_to_key
    assert (found.vectors == oracle.wv.vectors).all()


@pytest.mark.parametrize("kind", KINDS)
def test_training_is_repeatable_and_tells_each_epoch(kind):
    titles = [["red", "mug"], ["blue", "mug"]] * 10
    told = []
    first = train_word_vectors(titles, kind=kind, dim=4, epochs=3, seed=3)
    second = train_word_vectors(
        titles,
        kind=kind,
        dim=4,
        epochs=3,
        seed=3,
        progress=lambda *numbers: told.append(numbers),
    )
    assert first.words == second.words
    assert (first.vectors == second.vectors).all()
    assert told == [(1, 3), (2, 3), (3, 3)]
    other = train_word_vectors(titles, kind=kind, dim=4, epochs=3, seed=4)
    assert (first.vectors != other.vectors).any()


def test_unknown_trainings_are_refused():
    with pytest.raises(ValueError, match="one of skipgram, fasttext, got 'cbow'"):
        train_word_vectors([["a"]], kind="cbow")


def test_rare_words_and_empty_catalogues_have_no_vectors():
    found = train_word_vectors([["red", "mug"], ["mug"]], dim=4, min_count=2)
    assert found.words == ("mug",)
    assert train_word_vectors([["red"]], dim=4, min_count=2) is NO_WORDS
    assert train_word_vectors([[], []]) is NO_WORDS


def text_lines(header):
    lines = ["3 2"] if header else []
    lines += [f"{w} {v[0]} {v[1]}" for w, v in zip(WORDS, VECTORS)]
    return "\n".join(lines) + "\n"


@pytest.fixture
def keyed():
    vectors = KeyedVectors(2)
    vectors.add_vectors(WORDS, VECTORS)
    return vectors


@pytest.mark.parametrize(
    "name",
    ["v.bin", "v.bin.gz", "v.txt", "glove.txt", "v.vec", "v.txt.gz", "v.kv", "v.npz"],
)
def test_every_format_loads(tmp_path, keyed, name):
    path = tmp_path / name
    if name.endswith((".bin", ".bin.gz")):
        keyed.save_word2vec_format(str(path), binary=True)
    elif name == "v.kv":
        keyed.save(str(path))
    elif name == "v.npz":
        np.savez(path, words=np.array(WORDS), vectors=VECTORS.astype(np.float16))
    elif name == "v.txt.gz":
        path.write_bytes(gzip.compress(text_lines(True).encode()))
    else:
        path.write_text(text_lines(header=name != "glove.txt"))
    found = load_word_vectors(path)
    assert sorted(found.words) == sorted(WORDS)
    rows = [found.words.index(word) for word in WORDS]
    assert np.allclose(found.vectors[rows], VECTORS)
    kept = load_word_vectors(path, keep={"mug", "other"})
    assert kept.words == ("mug",)
    assert kept.vectors.tolist() == [[-1, 2]]


def test_bad_files_are_refused(tmp_path):
    for name, content, message in (
        ("none.bin", None, "there is no such file"),
        ("v.doc", b"x", "unknown kind of word vectors; use .bin"),
        ("v.bin", b"not a header", "cannot be read as word vectors"),
        ("v.kv", b"no pickle", "cannot be read as word vectors"),
        ("v.npz", b"PK no zip", "cannot be read as word vectors"),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message):
            load_word_vectors(tmp_path / name)


def test_vectors_of_other_words_are_refused(tmp_path):
    (tmp_path / "v.txt").write_text(text_lines(True))
    with pytest.raises(InputError, match="none of its words is in the catalogue"):
        load_word_vectors(tmp_path / "v.txt", keep={"shoe"})


def test_the_type_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="one vector a word, got 2 words"):
        WordVectors(("a", "b"), np.zeros((3, 2), np.float32))
    with pytest.raises(ValueError, match="a word stands there twice"):
        WordVectors(("a", "a"), np.zeros((2, 2), np.float32))
    with pytest.raises(ValueError, match="must be finite"):
        WordVectors(("a",), np.full((1, 2), np.nan, np.float32))
