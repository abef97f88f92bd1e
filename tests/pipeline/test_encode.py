"""A catalogue is embedded piece by piece; what cannot be is set aside with reasons."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simprod_tf.data.embedding_shards import CHANGED, SET_ASIDE, EmbeddingShards
from simprod_tf.engine.embedded import Embedded
from simprod_tf.errors import FingerprintError, InputError, ModelError, SimprodError
from simprod_tf.export.encoder import KIND
from simprod_tf.manifest import write_manifest
from simprod_tf.pipeline import encode_unit
from simprod_tf.pipeline.encode import EncodeSettings, encode_catalog

DIM = 4
# Few products, of which many are bad on purpose.
SMALL = EncodeSettings(rows_per_unit=2, max_set_aside=1)


def embedding_of(title, picture=b""):
    """What the encoder below says: nothing of "unheard", else its own to each."""
    if title == "unheard":
        return np.zeros(DIM, np.float32)
    seed = sum(title.encode()) + 1000 * len(picture)
    row = np.random.default_rng(seed).normal(size=DIM)
    return (row / np.linalg.norm(row)).astype(np.float32)


class Encoder:
    """Stands for a SavedEncoder; notes what it was asked."""

    def __init__(self):
        self.asked = []
        self.tables = []
        self.full_at = None

    def encode_pictures(self, products, pictures, *, tables):
        self.tables.append(tables)
        for product in products:
            if product.title == self.full_at:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.asked.append(product.id)
        rows = [embedding_of(p.title, b) for p, b in zip(products, pictures)]
        faults = ["odd" if picture == b"GIF8 odd" else "" for picture in pictures]
        return SimpleNamespace(embeddings=np.stack(rows), faults=faults)


@pytest.fixture
def encoder(monkeypatch):
    made = Encoder()
    monkeypatch.setattr(encode_unit, "_encoder", lambda folder, fingerprint: made)
    return made


def make_model(folder, *, fingerprint="f1", towers=("small",), outputs=(), **inputs):
    version = folder / "1"
    version.mkdir(parents=True)
    (version / "saved_model.pb").touch()
    taken = {"text": {}, "categories": [], "numbers": [], "vectors": [], **inputs}
    content = {
        "kind": KIND,
        "fingerprint": fingerprint,
        "dim": DIM,
        "towers": list(towers),
        "inputs": taken,
        "signatures": {"embed": {"outputs": dict.fromkeys(outputs or ["valid"])}},
        "decision": {"max_distance": 0.5},
    }
    write_manifest(version, content)
    return folder


@pytest.fixture
def model(tmp_path):
    return make_model(tmp_path / "model")


@pytest.fixture(scope="module")
def engine():
    """One for all: to open a database takes longer than most of the tests."""
    with Embedded(threads=1) as made:
        yield made


@pytest.fixture
def run(engine):
    def encoded(catalog, *, model, out, settings=SMALL, **more):
        return encode_catalog(
            engine, catalog, model=model, out=out, settings=settings, **more
        )

    return encoded


def content(folder):
    """Returns the embeddings of a folder by id, in its order."""
    shards = EmbeddingShards.open(folder)
    return {id: row for file in shards.files for id, row in zip(*shards.read(file))}


def aside(folder):
    rows = pq.read_table(folder / SET_ASIDE).to_pylist()
    return [tuple(row.values()) for row in rows]


def test_every_product_has_its_embedding_in_the_catalogues_order(
    run, tmp_path, model, encoder
):
    titles = ["mug", "cup", "pan", "pot", "can"]
    catalog = tmp_path / "a.csv"
    catalog.write_text("id,title\n" + "".join(f"{t[0]}{t},{t}\n" for t in titles))
    done = run(catalog, model=model, out=tmp_path / "e")
    assert (done.rows, done.num_set_aside, done.num_units) == (5, 0, 3)
    found = content(tmp_path / "e")
    assert list(found) == [f"{t[0]}{t}" for t in titles]
    for title, row in zip(titles, found.values()):
        assert np.array_equal(row, embedding_of(title))
    shards = EmbeddingShards.open(tmp_path / "e")
    assert shards.rows == (2, 2, 1)
    assert shards.encoder_fingerprint == "f1"
    assert shards.decision == {"max_distance": 0.5}
    assert aside(tmp_path / "e") == []
    # Without --previous nothing is said about changes; nothing is left behind.
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.csv", "e", "model"]
    assert not (tmp_path / "e" / CHANGED).exists()


def test_bad_rows_of_many_files_are_set_aside_with_reasons(
    run, tmp_path, model, encoder
):
    catalog = tmp_path / "c"
    catalog.mkdir()
    (catalog / "a.csv").write_text(
        "id,title,image\na,mug,\nb,cup\na,again,\n,nameless,\nc,,\n"
    )
    table = {"id": ["d", "a", "e"], "title": ["unheard", "third", "pan"]}
    pq.write_table(pa.table(table), catalog / "b.parquet")
    (catalog / "c.jsonl").write_text(
        '{"id": "f", "title": "pot", "image": "gone.jpg"}\n[1]\n'
        '{"id": "e", "title": "late"}\n'
    )
    done = run(catalog, model=model, out=tmp_path / "e")
    assert list(content(tmp_path / "e")) == ["a", "e"]
    assert (done.rows, done.num_set_aside) == (2, 9)
    gone = f"{catalog / 'gone.jpg'}: the picture cannot be read: No such file"
    assert aside(tmp_path / "e") == [
        ("a.csv", 2, "", "2 columns instead of 3"),
        ("a.csv", 3, "a", "id 'a' stands already in row 1"),
        ("a.csv", 4, "", "the id is empty"),
        ("a.csv", 5, "c", "product 'c' has neither title nor image"),
        ("b.parquet", 1, "d", encode_unit.UNKNOWN),
        ("b.parquet", 2, "a", "id 'a' stands already in a.csv, row 1"),
        ("c.jsonl", 1, "f", f"{gone} or directory."),
        ("c.jsonl", 2, "", "not a JSON object"),
        ("c.jsonl", 3, "e", "id 'e' stands already in b.parquet, row 3"),
    ]
    assert encoder.asked == ["a", "d", "e"]


def test_pictures_may_stand_in_the_catalogue(run, tmp_path, model, encoder, picture):
    good = picture.read_bytes()
    pq.write_table(
        pa.table(
            {
                "id": list("abcd"),
                "title": ["x", "y", "z", "w"],
                "image": [good, b"GIF8 odd", None, b"junk"],
            }
        ),
        tmp_path / "a.parquet",
    )
    run(tmp_path / "a.parquet", model=model, out=tmp_path / "e")
    found = content(tmp_path / "e")
    assert list(found) == ["a", "c"]
    assert np.array_equal(found["a"], embedding_of("x", good))
    reasons = [row[3] for row in aside(tmp_path / "e")]
    assert reasons[0] == "product 'b': the picture cannot be decoded: odd"
    assert reasons[1].startswith("product 'd': the picture cannot be decoded: it is")


def test_an_encoder_without_pictures_reads_none(run, tmp_path, encoder):
    model = make_model(tmp_path / "model", towers=())
    (tmp_path / "a.csv").write_text("id,title,image\na,mug,gone.jpg\n")
    run(tmp_path / "a.csv", model=model, out=tmp_path / "e")
    assert list(content(tmp_path / "e")) == ["a"]


def test_vectors_come_from_the_catalogues_column(run, tmp_path, encoder):
    vectors = [{"name": "clip", "dim": 2, "column": "Clip"}]
    model = make_model(tmp_path / "model", vectors=vectors)
    lists = pa.array([[1.0, 2.0], None], pa.list_(pa.float32()))
    pq.write_table(pa.table({"id": ["a", "b"], "Clip": lists}), tmp_path / "a.parquet")
    done = run(tmp_path / "a.parquet", model=model, out=tmp_path / "e")
    # Neither title nor image, yet not bad: the vectors tell of them.
    assert done.rows == 2
    (tables,) = encoder.tables
    assert tables["clip"].ids == ["a", "b"]
    assert tables["clip"].vectors.tolist() == [[1, 2], [0, 0]]


def test_float16_takes_half_the_room_and_is_as_near_as_it_can_be(
    run, tmp_path, model, encoder
):
    (tmp_path / "a.csv").write_text("id,title\na,mug\n")
    settings = EncodeSettings("float16", max_set_aside=1)
    run(tmp_path / "a.csv", model=model, out=tmp_path / "e", settings=settings)
    part = tmp_path / "e" / "part-00000.parquet"
    assert pq.read_schema(part).field("embedding").type == pa.list_(pa.float16(), DIM)
    assert np.abs(content(tmp_path / "e")["a"] - embedding_of("mug")).max() < 2**-11


def test_only_what_is_new_or_changed_is_embedded_again(
    run, tmp_path, model, encoder, picture
):
    shop = tmp_path / "shop"
    shop.mkdir()
    (shop / "x.jpg").write_bytes(picture.read_bytes())
    catalog = shop / "a.csv"
    lines = ["a,mug,x.jpg", "b,cup,", "c,pan,", "d,unheard,"]
    catalog.write_text("\n".join(["id,title,image", *lines]) + "\n")
    run(catalog, model=model, out=tmp_path / "old")
    first = content(tmp_path / "old")

    # In another order and other pieces; c has a new title, e is new, d learns a word.
    lines = ["e,pot,", "c,lid,", "b,cup,", "a,mug,x.jpg", "b,twice,", "d,can,"]
    catalog.write_text("\n".join(["id,title,image", *lines]) + "\n")
    encoder.asked.clear()
    settings = EncodeSettings(rows_per_unit=4, max_set_aside=1)
    new, old = tmp_path / "new", tmp_path / "old"
    done = run(catalog, model=model, out=new, settings=settings, previous=old)
    assert encoder.asked == ["e", "c", "d"]
    assert (done.rows, done.num_reused, done.num_set_aside) == (5, 2, 1)
    found = content(new)
    assert list(found) == ["e", "c", "b", "a", "d"]
    for id in "ab":
        assert np.array_equal(found[id], first[id])
    assert np.array_equal(found["c"], embedding_of("lid"))
    assert pq.read_table(new / CHANGED).to_pydict() == {"id": ["e", "c", "d"]}

    # The picture's time is part of it; and the folder itself may be the new one.
    os.utime(shop / "x.jpg", ns=(1, 1))
    encoder.asked.clear()
    done = run(catalog, model=model, out=new, settings=settings, previous=new)
    assert encoder.asked == ["a"]
    assert done.num_reused == 4
    assert pq.read_table(new / CHANGED).to_pydict() == {"id": ["a"]}


def test_reuse_equals_a_run_from_nothing_in_float16(run, tmp_path, model, encoder):
    catalog = tmp_path / "a.csv"
    catalog.write_text("id,title\na,mug\nb,cup\nc,pan\n")
    half = EncodeSettings("float16", 2, max_set_aside=1)
    old, half_new, fresh = (tmp_path / name for name in ("old", "new", "fresh"))
    run(catalog, model=model, out=old)
    run(catalog, model=model, out=half_new, settings=half, previous=old)
    run(catalog, model=model, out=fresh, settings=half)
    for name in ("part-00000.parquet", "part-00001.parquet"):
        assert pq.read_table(half_new / name).equals(pq.read_table(fresh / name))
    with pytest.raises(InputError, match="holds float16, of which no float32 can be"):
        run(catalog, model=model, out=tmp_path / "e", previous=half_new)


def test_an_interrupted_run_goes_on_with_the_piece_it_was_at(
    run, tmp_path, model, encoder
):
    catalog = tmp_path / "a.csv"
    catalog.write_text("id,title\na,mug\nb,cup\nc,pan\nd,pot\ne,can\n")
    encoder.full_at = "pot"
    with pytest.raises(OSError, match="No space left"):
        run(catalog, model=model, out=tmp_path / "e")
    assert not (tmp_path / "e").exists()
    assert encoder.asked == ["a", "b", "c"]
    encoder.full_at = None
    encoder.asked.clear()
    run(catalog, model=model, out=tmp_path / "e")
    assert encoder.asked == ["c", "d", "e"]
    assert list(content(tmp_path / "e")) == list("abcde")
    assert not (tmp_path / "e.unfinished").exists()


def test_parts_that_went_with_a_killed_publication_are_made_again(
    run, tmp_path, model, encoder, monkeypatch
):
    catalog = tmp_path / "a.csv"
    catalog.write_text("id,title\na,mug\nb,cup\nc,pan\n")

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("simprod_tf.pipeline.encode.write_success", killed)
        with pytest.raises(KeyboardInterrupt):
            run(catalog, model=model, out=tmp_path / "e")
    assert not (tmp_path / "e").exists()
    run(catalog, model=model, out=tmp_path / "e")
    assert list(content(tmp_path / "e")) == list("abc")


def test_other_settings_or_a_changed_catalogue_begin_anew(
    run, tmp_path, model, encoder
):
    catalog = tmp_path / "a.csv"
    catalog.write_text("id,title\na,mug\nb,cup\nc,pan\n")
    encoder.full_at = "pan"
    with pytest.raises(OSError, match="No space left"):
        run(catalog, model=model, out=tmp_path / "e")
    encoder.full_at = None
    encoder.asked.clear()
    catalog.write_text("id,title\na,mug\nb,pot\nc,pan\n")
    run(catalog, model=model, out=tmp_path / "e")
    assert encoder.asked == ["a", "b", "c"]


def test_embeddings_of_another_encoder_are_not_reused(run, tmp_path, model, encoder):
    catalog = tmp_path / "a.csv"
    catalog.write_text("id,title\na,mug\n")
    run(catalog, model=model, out=tmp_path / "old")
    other = make_model(tmp_path / "other", fingerprint="f2")
    with pytest.raises(FingerprintError, match="old belongs to encoder f1, but enc"):
        run(catalog, model=other, out=tmp_path / "e", previous=tmp_path / "old")


def test_models_that_cannot_do_it_are_refused(run, tmp_path):
    (tmp_path / "a.csv").write_text("id,title\na,mug\n")

    def refused(model, message):
        with pytest.raises(ModelError, match=message):
            run(tmp_path / "a.csv", model=model, out=tmp_path / "e")

    refused(tmp_path / "none", "none holds no SavedModel")
    vectors = [{"name": "clip", "dim": 2, "column": ""}]
    model = make_model(tmp_path / "m1", vectors=vectors)
    refused(model, "takes vectors 'clip' from a file of their own")
    model = make_model(tmp_path / "m2", outputs=["embedding"])
    refused(model, "does not say which picture cannot be used; export it again")


def test_a_damaged_file_of_the_catalogue_is_named(run, tmp_path, model, encoder):
    catalog = tmp_path / "c"
    catalog.mkdir()
    for name in ("a", "b"):
        table = pa.table({"id": [name], "title": ["mug"]})
        pq.write_table(table, catalog / f"{name}.parquet")
    (catalog / "b.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match=r"b\.parquet: the file cannot be read as PAR"):
        run(catalog, model=model, out=tmp_path / "e")


def test_too_many_products_set_aside_stop_the_job(run, tmp_path, model, encoder):
    catalog, out = tmp_path / "a.csv", tmp_path / "e"
    catalog.write_text("id,title\na,mug\nb,unheard\nc,unheard\nd,pan\n")
    settings = EncodeSettings(rows_per_unit=2, max_set_aside=0.4)
    message = r"2 of 4 products cannot be embedded, more than 40% of them; the first"
    with pytest.raises(SimprodError, match=message):
        run(catalog, model=model, out=out, settings=settings)
    assert not out.exists()
    listed = pq.read_table(tmp_path / "e.set_aside.parquet")
    assert listed["id"].to_pylist() == ["b", "c"]
    asked = list(encoder.asked)
    done = run(catalog, model=model, out=out, settings=SMALL)
    assert (done.rows, done.num_set_aside) == (2, 2)
    # What was embedded is taken up.
    assert encoder.asked == asked


def test_nothing_that_can_be_embedded_is_an_error(run, tmp_path, model, encoder):
    catalog = tmp_path / "a.csv"
    catalog.write_text("id,title\na,unheard\nb,unheard\n")
    message = "none of the 2 products can be embedded; the first one: it has no pict"
    with pytest.raises(SimprodError, match=message):
        run(catalog, model=model, out=tmp_path / "e")
    pq.write_table(pa.table({"id": pa.array([], pa.string())}), tmp_path / "b.parquet")
    with pytest.raises(InputError, match="no product is in it"):
        run(tmp_path / "b.parquet", model=model, out=tmp_path / "e")


def test_nothing_of_anybody_elses_is_overwritten(run, tmp_path, model, encoder):
    catalog = tmp_path / "c"
    catalog.mkdir()
    (catalog / "a.csv").write_text("id,title\na,mug\n")

    def refused(out, message):
        with pytest.raises(InputError, match=message):
            run(catalog, model=model, out=out)

    refused(tmp_path / "e.parquet", "embeddings are a folder of Parquet files")
    refused(tmp_path / "model", "holds files that are no embeddings")
    refused(catalog / "e", "lies in the catalogue's folder")
    run(catalog, model=model, out=tmp_path / "e")
    # Embeddings are replaced by others.
    (catalog / "a.csv").write_text("id,title\nb,cup\n")
    run(catalog, model=model, out=tmp_path / "e")
    assert list(content(tmp_path / "e")) == ["b"]


def test_settings_that_there_are_not_are_refused():
    with pytest.raises(ValueError, match="dtype is one of float16, float32, got 'int8"):
        EncodeSettings(dtype="int8")
    with pytest.raises(ValueError, match="rows_per_unit must be 1 or more, got 0"):
        EncodeSettings(rows_per_unit=0)
    with pytest.raises(
        ValueError, match="max_set_aside is a share, from 0 to 1, got 2"
    ):
        EncodeSettings(max_set_aside=2)
