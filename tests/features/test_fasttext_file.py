"""Facebook's fastText binary: the same vectors as gensim's reader, in less memory."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
from gensim.models import FastText
from gensim.models.fasttext import load_facebook_vectors, save_facebook_model

from simprod_tf.errors import InputError
from simprod_tf.features import word_files
from simprod_tf.features.word_vectors import load_word_vectors

TITLES = [["Nike", "shoe"], ["red", "shoe"], ["blue", "mug", "écru"]] * 4
# Of magic number, version and the arguments' integers and sampling.
ARGS_SIZE = 8 + 12 * 4 + 8


def written(path, **settings):
    """Writes a small fastText file."""
    model = FastText(
        TITLES, vector_size=6, min_count=1, bucket=50, epochs=2, workers=1, **settings
    )
    save_facebook_model(model, str(path))
    return path


@pytest.fixture
def path(tmp_path):
    return written(tmp_path / "ft.bin")


@pytest.mark.parametrize("block", [5, 1 << 20])
def test_listed_words_have_gensims_vectors(path, monkeypatch, block):
    monkeypatch.setattr(word_files, "_BLOCK", block)
    oracle = load_facebook_vectors(str(path))
    found = load_word_vectors(path)
    assert list(found.words) == oracle.index_to_key
    assert np.allclose(found.vectors, oracle.vectors, atol=1e-6)


def test_words_that_are_not_listed_have_the_vector_of_their_ngrams(path):
    oracle = load_facebook_vectors(str(path))
    told = []
    keep = {"nike", "shoe", "shoes", "bleu", "mug"}
    found = load_word_vectors(path, keep=keep, progress=lambda *n: told.append(n))
    assert set(found.words) == keep
    assert found.words[-2:] == ("bleu", "shoes")
    for word, vector in zip(found.words, found.vectors):
        # "nike" is listed as "Nike".
        spelling = "Nike" if word == "nike" else word
        assert np.allclose(vector, oracle[spelling], atol=1e-6)
    assert told[-1] == (5, 5)


def test_words_shorter_than_any_ngram_stay_unknown(tmp_path):
    path = written(tmp_path / "ft.bin", min_n=5, max_n=6)
    assert load_word_vectors(path, keep={"mug", "a", "ab"}).words == ("mug",)


def test_without_ngrams_only_listed_words_are_known(tmp_path):
    path = written(tmp_path / "ft.bin", min_n=1, max_n=0)
    oracle = load_facebook_vectors(str(path))
    found = load_word_vectors(path, keep={"mug", "mugs"})
    assert found.words == ("mug",)
    assert np.allclose(found.vectors[0], oracle["mug"], atol=1e-6)


def test_extra_words_come_from_the_files_beginning(path):
    first = load_facebook_vectors(str(path)).index_to_key[0]
    assert load_word_vectors(path, keep=set(), extra_words=1).words == (first,)


def test_damaged_files_are_refused_wherever_they_are_cut(path):
    content = path.read_bytes()
    matrix = content.rindex(struct.pack("<2q", 56, 6), 0, len(content) // 2)
    # The header, the vocabulary, the matrix's header, the matrix itself.
    for size in (8, 60, 90, ARGS_SIZE + 28 + 5, matrix + 3, matrix + 400):
        path.write_bytes(content[:size])
        with pytest.raises(InputError, match=r"ft\.bin: it is damaged or was cut"):
            load_word_vectors(path)


def changed(content, place, kind, value):
    return (
        content[:place]
        + struct.pack(kind, value)
        + content[place + struct.calcsize(kind) :]
    )


def test_headers_that_cannot_be_true_are_refused(path):
    content = path.read_bytes()
    bucket, entries = 8 + 8 * 4, ARGS_SIZE
    assert struct.unpack_from("<i", content, bucket) == (50,)
    assert struct.unpack_from("<3i", content, entries) == (6, 6, 0)
    many = changed(content, entries, "<i", 2**31 - 1)
    for wrong, message in (
        (changed(content, 8, "<i", -5), "damaged or was cut short"),
        (changed(content, 8, "<i", 2**30), "damaged or was cut short"),
        (changed(content, bucket, "<i", 2**31 - 1), "its matrix has .56, 6."),
        (changed(many, entries + 4, "<i", 2**31 - 1), "damaged or was cut short"),
        (changed(content, entries + 8, "<i", 1), "a classifier with labels"),
        (changed(content, entries + 20, "<q", 7), "its n-grams were pruned"),
    ):
        path.write_bytes(wrong)
        with pytest.raises(InputError, match=message):
            load_word_vectors(path)


def test_quantised_packed_and_infinite_files_are_refused(path):
    content = path.read_bytes()
    matrix = content.rindex(struct.pack("<2q", 56, 6), 0, len(content) // 2)
    path.write_bytes(content[: matrix - 1] + b"\x01" + content[matrix:])
    with pytest.raises(InputError, match="it is quantised; give the .bin"):
        load_word_vectors(path)
    path.write_bytes(content[: matrix + 16] + b"\xff" * 6000)
    with pytest.raises(InputError, match="the vector of 'shoe' is not finite"):
        load_word_vectors(path, keep={"shoe"})
    packed = path.parent / "ft.bin.gz"
    packed.write_bytes(gzip.compress(content))
    with pytest.raises(InputError, match="unpack this fastText file first"):
        load_word_vectors(packed)
