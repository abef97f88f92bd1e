"""Embedding on Spark: the embeddings of one machine, whatever happens on the way."""

from __future__ import annotations

import fcntl
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simprod_tf.data.catalog import read_catalog
from simprod_tf.data.embedding_shards import CHANGED, SET_ASIDE, EmbeddingShards
from simprod_tf.errors import FingerprintError, InputError, SimprodError
from simprod_tf.pipeline import encode
from simprod_tf.pipeline.encode import EncodeSettings, encode_catalog

pytestmark = pytest.mark.slow

SMALL = EncodeSettings(rows_per_unit=7, max_set_aside=1)
WORDS = ("red", "blue", "mug", "cup", "lamp", "bag")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two encoders of random weights: of pictures and titles, and of all there is."""
    import tensorflow as tf

    from simprod_tf.export import export_encoder
    from simprod_tf.features.product_inputs import (
        CategoryInput,
        NumberInput,
        ProductInputs,
        TextInput,
        VectorInput,
    )
    from simprod_tf.model.encoder import EncoderSettings, build_head
    from simprod_tf.model.image_tower import build_image_tower
    from simprod_tf.model.source import (
        CategorySource,
        NumberSource,
        TextSource,
        VectorSource,
    )
    from simprod_tf.trained import TrainedEncoder

    tf.keras.utils.set_random_seed(1)
    vectors = np.random.default_rng(0).normal(size=(len(WORDS), 8)).astype(np.float32)
    text, settings = TextInput(WORDS), EncoderSettings(embedding_dim=16)
    root = tmp_path_factory.mktemp("models")

    def export(name, towers, inputs, *sources):
        seen = [VectorSource(one.name, one.dim, "image") for one in towers]
        head = build_head([*seen, TextSource(vectors), *sources], settings)
        export_encoder(TrainedEncoder(head, towers, inputs), root / name)
        return root / name

    return {
        "seen": export("seen", (build_image_tower("small"),), ProductInputs(text)),
        "all": export(
            "all",
            (),
            ProductInputs(
                text,
                (CategoryInput("kind", ("jug", "pan")),),
                (NumberInput("price"),),
                (VectorInput("clip", 3, "clip"),),
            ),
            CategorySource("kind", 2),
            NumberSource("price", (1.0, 5.0, 9.0)),
            VectorSource("clip", 3, "clip"),
        ),
    }


def title_of(number):
    return " ".join(WORDS[(number * step) % len(WORDS)] for step in (1, 2, 5))


@pytest.fixture
def shop(tmp_path, make_picture):
    """A catalogue in three files, with whatever is wrong in any; one whole file of it.

    a.csv names pictures, b.parquet holds them, c.jsonl has none.
    """
    folder = tmp_path / "shop"
    folder.mkdir()
    contents = {}
    for number in range(20):
        place = folder / f"p{number}.jpg"
        make_picture(number).save(place, quality=80)
        contents[number] = place.read_bytes()
    (folder / "p3.jpg").write_bytes(contents[3][:200])
    contents[13] = contents[13][:200]
    (folder / "p14.png").write_bytes(b"no picture")
    make_picture(15).save(folder / "p15.webp", lossless=True)

    lines = [f"s{n},{title_of(n) if n % 3 else ''},p{n}.jpg" for n in range(10)]
    lines[5] = f"s5,{title_of(5)},gone.jpg"
    lines.insert(4, "only one")
    (folder / "a.csv").write_text("\n".join(["id,title,image", *lines]) + "\n")
    held = {
        "id": [f"s{n}" for n in range(10, 20)],
        "title": [title_of(n) if n % 2 else None for n in range(10, 20)],
        "image": [contents[n] for n in range(10, 20)],
    }
    held["image"][4] = b"no picture"
    held["image"][5] = (folder / "p15.webp").read_bytes()
    held["image"][6] = None
    held["id"][9] = "s2"
    pq.write_table(pa.table(held), folder / "b.parquet", row_group_size=4)
    (folder / "c.jsonl").write_text(
        "".join(f'{{"id": "s{n}", "title": "{title_of(n)}"}}\n' for n in range(20, 33))
        + '{"id": "s33", "title": "unheard of"}\n{"id": "s0", "title": "mug"}\n'
    )

    good = [n for n in range(33) if n not in (3, 5, 13, 14, 16, 19)]
    rows = [
        f"s{n},{title_of(n) if n % (3 if n < 10 else 2) or n >= 20 else ''},"
        + ("" if n >= 20 else "p15.webp" if n == 15 else f"p{n}.jpg")
        for n in good
    ]
    whole = folder / "_whole.csv"
    whole.write_text("\n".join(["id,title,image", *rows]) + "\n")
    return folder


def content(folder):
    """Returns ids, embeddings as they are stored, and the reasons."""
    shards = EmbeddingShards.open(folder)
    table = pa.concat_tables(pq.read_table(file) for file in shards.files)
    stored = np.array(table["embedding"].to_pylist(), shards.dtype)
    reasons = pq.read_table(folder / SET_ASIDE).to_pylist()
    return table["id"].to_pylist(), stored, reasons


def on_one_machine(model, catalog):
    from simprod_tf.export import SavedEncoder
    from simprod_tf.pipeline.embed import embed_catalog

    return embed_catalog(SavedEncoder(model), read_catalog(catalog).catalog)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_embeddings_are_those_of_one_machine(
    spark, embedded, models, shop, tmp_path, dtype
):
    settings = EncodeSettings(dtype, 7, max_set_aside=1)
    found = []
    for engine in (spark, embedded):
        out = tmp_path / engine.name
        encode_catalog(engine, shop, model=models["seen"], out=out, settings=settings)
        found.append(content(out))
    (ids, stored, reasons), (same_ids, same, same_reasons) = found
    assert (ids, reasons) == (same_ids, same_reasons)
    within = 1e-5 if dtype == "float32" else 1e-3
    assert np.abs(stored.astype(np.float64) - same.astype(np.float64)).max() <= within

    expected = on_one_machine(models["seen"], shop / "_whole.csv")
    assert ids == expected.ids.tolist()
    assert expected.known.all()
    assert np.abs(stored.astype(np.float32) - expected.embeddings).max() <= within

    told = [(one["file"], one["row"], one["id"]) for one in reasons]
    assert told == [
        ("a.csv", 4, "s3"),
        ("a.csv", 5, ""),
        ("a.csv", 7, "s5"),
        ("b.parquet", 4, "s13"),
        ("b.parquet", 5, "s14"),
        ("b.parquet", 7, "s16"),
        ("b.parquet", 10, "s2"),
        ("c.jsonl", 14, "s33"),
        ("c.jsonl", 15, "s0"),
    ]
    texts = [one["reason"] for one in reasons]
    assert texts[0].startswith(f"{shop / 'p3.jpg'}: the picture cannot be decoded")
    assert texts[2].startswith(f"{shop / 'gone.jpg'}: the picture cannot be read")
    assert texts[3].startswith("product 's13': the picture cannot be decoded")
    assert texts[6] == "id 's2' stands already in a.csv, row 3"


def test_attributes_and_vectors_come_from_the_catalogue(
    spark, embedded, models, tmp_path
):
    count = 40
    rng = np.random.default_rng(1)
    table = pa.table(
        {
            "id": [f"s{n}" for n in range(count)],
            "title": [title_of(n) if n % 4 else None for n in range(count)],
            "kind": [("Jug", "pan ", None)[n % 3] for n in range(count)],
            "price": [None if n % 5 == 0 else float(n) for n in range(count)],
            "clip": pa.array(
                [None if n % 7 == 0 else rng.normal(size=3) for n in range(count)],
                pa.list_(pa.float32()),
            ),
        }
    )
    file = tmp_path / "a.parquet"
    pq.write_table(table, file)
    expected = on_one_machine(models["all"], _with_content(table, tmp_path))
    for engine in (spark, embedded):
        out = tmp_path / engine.name
        encode_catalog(engine, file, model=models["all"], out=out, settings=SMALL)
        ids, stored, reasons = content(out)
        known = expected.known
        assert ids == [id for id, one in zip(expected.ids, known) if one]
        assert np.abs(stored - expected.embeddings[known]).max() <= 1e-5
        assert len(reasons) == count - known.sum()


def _with_content(table, folder):
    """Writes the catalogue so that a row without a title is none that is refused."""
    titles = [one or "unheard" for one in table["title"].to_pylist()]
    place = folder / "whole.parquet"
    pq.write_table(table.set_column(1, "title", [titles]), place)
    return place


def test_what_has_not_changed_is_taken_from_the_last_run(
    spark, embedded, models, shop, tmp_path
):
    def encoded(engine, name, **more):
        out = tmp_path / name
        model = models["seen"]
        done = encode_catalog(
            engine, shop, model=model, out=out, settings=SMALL, **more
        )
        return out, done

    old, _ = encoded(embedded, "old")
    text = (shop / "a.csv").read_text()
    (shop / "a.csv").write_text(text.replace("s1,", "s100,").replace("red", "blue"))
    results = [
        encoded(engine, engine.name, previous=old) for engine in (spark, embedded)
    ]
    (one, done), (other, same) = results
    assert done == same
    assert 0 < done.num_reused < done.rows
    assert pq.read_table(one / CHANGED).equals(pq.read_table(other / CHANGED))
    changed = pq.read_table(one / CHANGED)["id"].to_pylist()
    assert len(changed) == done.rows - done.num_reused
    assert "s100" in changed
    fresh, _ = encoded(embedded, "fresh")
    for folder in (one, other):
        ids, stored, reasons = content(folder)
        expected_ids, expected, expected_reasons = content(fresh)
        assert (ids, reasons) == (expected_ids, expected_reasons)
        assert np.abs(stored - expected).max() <= 1e-5
    with pytest.raises(FingerprintError, match="belongs to encoder"):
        out = tmp_path / "e"
        encode_catalog(spark, shop, model=models["all"], out=out, previous=old)


def test_a_driver_that_was_killed_goes_on_and_loads_the_model_once_a_process(
    spark, models, shop, tmp_path, monkeypatch
):
    log = tmp_path / "log"
    work = encode.encode_piece

    # Within the test: it is pickled as a whole, since workers cannot import a test.
    def noted(job, unit):
        from simprod_tf.pipeline.encode_unit import _encoder

        before = _encoder.cache_info().misses
        record = work(job, unit)
        loads = _encoder.cache_info().misses - before
        with open(log, "a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(f"{unit.name} {os.getpid()} {loads}\n")
        return record

    each, ended = spark.each, []

    def dying(run, units, **more):
        if any(type(unit) is encode.EncodeUnit for unit in units) and not ended:
            ended.append(each(run, units[:3], **more))
            raise KeyboardInterrupt
        return each(run, units, **more)

    monkeypatch.setattr(encode, "encode_piece", noted)
    monkeypatch.setattr(spark, "each", dying)
    options = {"model": models["seen"], "out": tmp_path / "e", "settings": SMALL}
    with pytest.raises(KeyboardInterrupt):
        encode_catalog(spark, shop, **options)
    assert not (tmp_path / "e").exists()
    done = encode_catalog(spark, shop, **options)
    lines = [line.split() for line in log.read_text().splitlines()]
    # Each unit once, over both runs.
    units = sorted(name for name, _, _ in lines)
    assert units == [f"{number:06d}" for number in range(done.num_units)]
    loads = {}
    for _, pid, count in lines:
        loads[pid] = loads.get(pid, 0) + int(count)
    assert len(loads) < len(lines)
    assert set(loads.values()) <= {0, 1}


def test_what_a_unit_finds_wrong_ends_the_job_with_its_words(
    spark, models, shop, tmp_path
):
    def refused(message, **more):
        options = {"model": models["seen"], "out": tmp_path / "e", **more}
        with pytest.raises(SimprodError, match=message):
            encode_catalog(spark, shop, **options)
        assert not (tmp_path / "e").exists()

    refused("gone holds no SavedModel", model=tmp_path / "gone")
    damaged = bytearray((shop / "b.parquet").read_bytes())
    damaged[4:400] = b"\xff" * 396
    (shop / "b.parquet").write_bytes(damaged)
    refused(r"b\.parquet: the file cannot be read as PARQUET")
    (shop / "b.parquet").write_bytes(damaged[:500])
    with pytest.raises(InputError, match=r"b\.parquet: the file cannot be read"):
        encode_catalog(spark, shop, model=models["seen"], out=tmp_path / "e")
