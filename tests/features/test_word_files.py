"""Files of word vectors: what comes out of each, and what is refused."""

from __future__ import annotations

import gzip
import tracemalloc
import zipfile

import numpy as np
import pytest
from gensim.models import KeyedVectors, Word2Vec

from simprod_tf.errors import InputError
from simprod_tf.features import word_files
from simprod_tf.features.word_vectors import load_word_vectors

WORDS = ["Nike", "mug", "écru", "nike"]
VECTORS = np.array([[1, 0.5], [-2, 3], [0.25, 4], [5, -6]], np.float32)


def binary(words=WORDS, vectors=VECTORS, *, header=None, newline=b""):
    """Returns a word2vec binary file."""
    count, dim = vectors.shape
    parts = [f"{count} {dim}\n".encode() if header is None else header]
    for word, vector in zip(words, vectors):
        parts += [word.encode(), b" ", vector.astype("<f4").tobytes(), newline]
    return b"".join(parts)


def text(words=WORDS, vectors=VECTORS, *, header=True, end="\n"):
    """Returns a word2vec or GloVe text file."""
    lines = [" ".join(map(str, vectors.shape))] if header else []
    lines += [f"{w} {' '.join(map(str, v))}" for w, v in zip(words, vectors)]
    return "".join(line + end for line in lines).encode()


@pytest.fixture
def load(tmp_path):
    """Writes a file of this name and content, and loads it."""

    def load(name, content, **options):
        path = tmp_path / name
        path.write_bytes(content)
        return load_word_vectors(path, **options)

    return load


@pytest.mark.parametrize("block", [7, 64, 1 << 20])
@pytest.mark.parametrize("newline", [b"", b"\n"])
def test_binary_words_may_lie_across_blocks(load, monkeypatch, block, newline):
    monkeypatch.setattr(word_files, "_BLOCK", block)
    found = load("v.bin", binary(newline=newline))
    assert list(found.words) == WORDS
    assert found.vectors.tolist() == VECTORS.tolist()
    kept = load("v.bin", binary(newline=newline), keep={"nike", "écru", "red"})
    assert kept.words == ("nike", "écru")
    assert kept.vectors.tolist() == [[5, -6], [0.25, 4]]


@pytest.mark.parametrize("name", ["v.bin", "v.bin.gz", "v.txt", "v.vec.gz"])
def test_gensim_reads_the_same(tmp_path, name):
    rng = np.random.default_rng(0)
    words = [f"w{i}é" for i in range(3000)]
    written = KeyedVectors(20)
    written.add_vectors(words, rng.normal(size=(3000, 20)).astype(np.float32))
    path = tmp_path / name
    is_binary = ".bin" in name
    written.save_word2vec_format(str(path), binary=is_binary)
    oracle = KeyedVectors.load_word2vec_format(str(path), binary=is_binary)
    found = load_word_vectors(path, keep=words[::7])
    assert list(found.words) == words[::7]
    assert (found.vectors == oracle.vectors[::7]).all()


def test_memory_is_that_of_the_kept_words(load, tmp_path):
    words = [f"w{i}" for i in range(20_000)]
    content = binary(words, np.ones((20_000, 300), np.float32))
    (tmp_path / "v.bin").write_bytes(content)
    tracemalloc.start()
    load_word_vectors(tmp_path / "v.bin", keep=words[:100])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(content) > 24e6
    assert peak < 6e6


def test_extra_words_and_progress(load):
    told = []
    found = load(
        "v.bin", binary(), keep=set(), extra_words=2, progress=lambda *n: told.append(n)
    )
    assert found.words == ("nike", "mug")
    assert found.vectors.tolist() == [[5, -6], [-2, 3]]
    assert told[-1] == (len(binary()),) * 2
    told.clear()
    load("v.txt", text(), progress=lambda *n: told.append(n))
    assert told[-1] == (len(text()),) * 2


def test_text_with_other_line_ends_blank_lines_and_spaces_at_the_end(load):
    for end in ("\r\n", " \n", "\n\n"):
        found = load("v.vec", text(end=end), keep=["nike", "mug"])
        assert found.words == ("nike", "mug")
        assert found.vectors.tolist() == [[5, -6], [-2, 3]]


def test_text_words_with_spaces_are_left_out(load):
    # As in GloVe's 840B: the first token is a word that stands below on its own.
    content = b"the 1 2\nat name@domain.com 3 4\n. . . 5 6\nat 7 8\n"
    found = load("v.txt", content)
    assert found.words == ("the", "at")
    assert found.vectors.tolist() == [[1, 2], [7, 8]]


def test_damaged_binary_files_are_refused(load):
    far = b"9000000000000 300\n"
    for content, message in (
        (b"", "it is empty"),
        (b"not a header\n", "cannot be read as word vectors: its first line should be"),
        (b"4 two\n", "two numbers, words and dimension, and is b'4 two"),
        (b"4" * 5000 + b" 2\n", "its first line should be two numbers"),
        (binary(header=b"4 0\n"), "dimension must be 1 to 65536, got 0"),
        (binary(header=b"4 70000\n"), "dimension must be 1 to 65536, got 70000"),
        (binary(header=far), "promises 9,000,000,000,000 words of dimension 300, at"),
        (binary()[:-9], "promises 4 words of dimension 2, it has 3"),
        (binary()[:20], "promises 4 words of dimension 2, at least 36 bytes"),
        (binary(header=b"3 2\n"), "goes on after the 3 words of dimension 2"),
        (binary(vectors=-VECTORS, header=b"4 1\n"), "row 2: its word is not UTF-8"),
        (binary(vectors=VECTORS * np.nan), "the vector of 'Nike' is not finite"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            load("v.bin", content)
        assert "v.bin" in str(caught.value)


def test_a_binary_file_with_words_without_end_is_refused(load):
    content = b"2 1\n" + b"a" * 20_000
    with pytest.raises(InputError, match="promises 2 words of dimension 1, it has 0"):
        load("v.bin", content)


def test_damaged_packed_files_are_refused(load):
    packed = gzip.compress(binary())
    for content, message in (
        (b"", "v.bin.gz: it is empty"),
        (binary(), "cannot be read as word vectors: Not a gzipped file"),
        (packed[:-12], "cannot be read as word vectors: Compressed file ended"),
        (packed[:10] + b"\xff" * 30, "cannot be read as word vectors: Error -3"),
        (gzip.compress(binary(header=b"90000000 2\n")), "promises 90,000,000 words"),
    ):
        with pytest.raises(InputError, match=message):
            load("v.bin.gz", content)


def test_damaged_text_files_are_refused(load):
    long = text(["a", "b"], np.ones((2, 2), int), header=False)
    for content, message in (
        (b"", "it is empty"),
        (b"\n\n", "it is empty"),
        (b"5 2\n" + long, "promises 5 words, it has 2"),
        (b"1 2\n" + long, "promises 1 words, it has 2"),
        (b"99999999999 2\n" + long, "promises 99,999,999,999 words, it has 2"),
        (long + b"c 1", "row 3: expected a word and 2 numbers, got 1"),
        (long + b"c 1 2 3\n", "row 3: expected a word and 2 numbers, got 3"),
        (b"2 99999999\n" + long, "row 1: expected a word and 99999999 numbers, got 2"),
        (long + b"c 1 x\n", "row 3: a number was expected: .*'x'"),
        (long + b"\xff 1 2\n", "row 3: its word is not UTF-8"),
        (long + b"c nan 2\n", "the vector of 'c' is not finite"),
        (long + b"c 1e39 2\n", "the vector of 'c' is not finite"),
        (b"only\nwords\n", "its first line should be a word and numbers"),
        (b"2 0\na\nb\n", "its first line should be a word and numbers"),
        (binary(), "row 1: a number was expected"),
    ):
        with pytest.raises(InputError, match=message):
            load("v.txt", content)


def test_a_cut_text_file_is_refused_though_the_cut_word_is_not_kept(load):
    content = text(header=False)[:-5]
    with pytest.raises(InputError, match="row 4: expected a word and 2 numbers, got 1"):
        load("v.txt", content, keep={"mug"})


def test_a_file_without_lines_is_not_taken_in_whole(load, monkeypatch):
    monkeypatch.setattr(word_files, "_MAX_LINE", 1000)
    with pytest.raises(InputError, match="and is b'xxx"):
        load("v.txt", b"x" * 100_000)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "i4"])
def test_npz_of_any_number_is_read_in_blocks(tmp_path, monkeypatch, dtype):
    monkeypatch.setattr(word_files, "_BLOCK", 4)
    told: list[int] = []
    whole = np.rint(VECTORS)
    for words in (np.array(WORDS), np.array([word.encode() for word in WORDS])):
        np.savez_compressed(
            tmp_path / "v.npz", words=words, vectors=whole.astype(dtype)
        )
        found = load_word_vectors(
            tmp_path / "v.npz", keep={"nike", "mug"}, progress=lambda *n: told.extend(n)
        )
        assert found.words == ("nike", "mug")
        assert found.vectors.tolist() == [[5, -6], [-2, 3]]
        assert found.vectors.dtype == np.float32
        assert told[-2:] == [4, 4]


def test_damaged_npz_files_are_refused(tmp_path):
    path = tmp_path / "v.npz"
    words = np.array(WORDS)
    objects = np.array(WORDS, object)
    for arrays, message in (
        ({"words": words}, "cannot be read as word vectors: .*no item named 'vectors"),
        ({"words": words, "vectors": VECTORS[:3]}, r"got shapes \(4,\) and \(3, 2\)"),
        ({"words": words, "vectors": VECTORS[:, 0]}, r"got shapes \(4,\) and \(4,\)"),
        ({"words": words, "vectors": words[:, None]}, "`vectors` of numbers, got <U4"),
        (
            {"words": VECTORS[:, 0], "vectors": VECTORS},
            "`words` of text .* got float32",
        ),
        ({"words": objects, "vectors": VECTORS}, "`words` holds Python objects"),
        (
            {"words": words, "vectors": np.asfortranarray(VECTORS)},
            "`vectors` is stored by columns; save np.ascontiguousarray",
        ),
        ({"words": words, "vectors": VECTORS + np.inf}, "of 'Nike' is not finite"),
        ({"words": words, "vectors": VECTORS * 1e300}, "of 'Nike' is not finite"),
        (
            {"words": np.array([b"a", b"\xff"]), "vectors": VECTORS[:2]},
            "cannot be read as word vectors: 'utf-8' codec",
        ),
    ):
        np.savez(path, **arrays)
        with pytest.raises(InputError, match=message):
            load_word_vectors(path)


def test_npz_headers_that_promise_too_much_allocate_nothing(tmp_path):
    header = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }\n"
    path = tmp_path / "v.npz"
    for shape in ("(9000000000000, 300)", "(2, 9000000000000)"):
        with zipfile.ZipFile(path, "w") as archive:
            for name, kind, size in (
                ("words", "<U4", f"({shape[1:].split(',')[0]},)"),
                ("vectors", "<f4", shape),
            ):
                written = (header % (kind, size)).encode()
                start = b"\x93NUMPY\x01\x00" + len(written).to_bytes(2, "little")
                archive.writestr(f"{name}.npy", start + written + bytes(64))
        with pytest.raises(InputError, match="cut short"):
            load_word_vectors(path)


def keyed(words=WORDS, vectors=VECTORS):
    found = KeyedVectors(vectors.shape[1])
    found.add_vectors(words, vectors)
    return found


@pytest.mark.parametrize("separate", [True, False])
def test_keyed_vectors_are_read_mapped_or_not(tmp_path, separate):
    path = tmp_path / "v.kv"
    keyed().save(str(path), separately=["vectors"] if separate else [])
    assert (tmp_path / "v.kv.vectors.npy").exists() == separate
    found = load_word_vectors(path, keep={"nike", "mug", "red"})
    assert found.words == ("nike", "mug")
    assert found.vectors.tolist() == [[5, -6], [-2, 3]]
    assert not isinstance(found.vectors, np.memmap)


def test_damaged_keyed_vectors_are_refused(tmp_path):
    path = tmp_path / "v.kv"
    arrays = tmp_path / "v.kv.vectors.npy"
    keyed().save(str(path), separately=["vectors"])
    whole = arrays.read_bytes()
    for content in (whole[:-4], b"", whole[:30]):
        arrays.write_bytes(content)
        with pytest.raises(InputError, match=r"v\.kv: cannot be read as word vectors"):
            load_word_vectors(path)
    np.save(arrays, VECTORS[:2])
    with pytest.raises(InputError, match=r"4 words and vectors of shape \(2, 2\)"):
        load_word_vectors(path)
    arrays.unlink()
    with pytest.raises(InputError, match="cannot be read as word vectors"):
        load_word_vectors(path)
    pickled = path.read_bytes()
    for content in (b"", b"no pickle", pickled[: len(pickled) // 2], b"\x80\x04\x95"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="cannot be read as word vectors"):
            load_word_vectors(path)


def test_a_whole_model_is_not_keyed_vectors(tmp_path):
    model = Word2Vec([["a", "b"]] * 5, vector_size=4, min_count=1)
    model.save(str(tmp_path / "v.kv"))
    with pytest.raises(InputError, match="expected KeyedVectors, got Word2Vec: save"):
        load_word_vectors(tmp_path / "v.kv")


@pytest.mark.real_data
def test_real_word_vectors_are_kept_by_word(real_data):
    path = real_data / "word_vectors" / "glove6B_50d_subset.npz"
    found = load_word_vectors(path, keep={"milk", "juice", "xyzzyx"})
    with np.load(path) as arrays:
        oracle = dict(zip(arrays["words"], arrays["vectors"].astype(np.float32)))
    assert sorted(found.words) == ["juice", "milk"]
    for word, vector in zip(found.words, found.vectors):
        assert (vector == oracle[word]).all()
