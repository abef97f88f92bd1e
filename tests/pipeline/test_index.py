"""A catalogue becomes an index with views; products come, are replaced, and go."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.errors import (
    FingerprintError,
    InputError,
    ModelError,
    RecallError,
    SimprodError,
)
from simprod_tf.index import ScannSettings, load_index, open_current, publish
from simprod_tf.index.build import build_index
from simprod_tf.matching.views import views_of
from simprod_tf.pipeline.index import (
    IndexSettings,
    index_catalog,
    update_index,
)

SETTINGS = IndexSettings(
    kind="exact", views=("image", "text"), attributes=("category", "price")
)
HALF = np.sqrt(0.5)


class Encoder:
    """Knows the titles a to d and the pictures a to d: a dimension each, of 8."""

    inputs = SimpleNamespace(vectors=())
    dim = 8

    def __init__(self, fingerprint="f1", broken=""):
        self.fingerprint = fingerprint
        self.manifest = {"decision": {"max_distance": 0.7}}
        self.broken = broken

    def encode(self, products, *, progress=None, **_):
        rows = np.zeros((len(products), self.dim), np.float32)
        for row, product in zip(rows, products):
            for text, first in ((product.title, 0), (product.image, 4)):
                if text and text == self.broken:
                    raise InputError("the picture cannot be decoded.", path=text)
                if text and text in "abcd":
                    row[first + "abcd".index(text)] = 1
            row /= max(np.linalg.norm(row), 1e-9)
        return rows


def shop(**products):
    """A catalogue of `id="title image category price"`; a dash stands for nothing."""
    cells = [
        [cell.replace("-", "") for cell in line.split()] for line in products.values()
    ]
    titles, images, categories, prices = zip(*cells)
    attributes = {"category": pa.array(categories), "price": pa.array(prices)}
    return Catalog(
        text_array(list(products)),
        text_array(titles),
        text_array(images),
        text_array([""] * len(products)),
        pa.table(attributes),
    )


SHOP = shop(
    both="a b mug 5",
    title="b - mug 30",
    picture="- c bag 12.5",
    # Of this one nothing is known, of the next one the picture alone.
    nothing="zzz - mug 1",
    odd="zzz b bag -",
)


@pytest.fixture
def index():
    return index_catalog(Encoder(), SHOP, SETTINGS).index


def content_of(index):
    """All that a change may change, comparable."""
    table = index.attributes
    return {
        name: (
            one.ids,
            one.embeddings.tolist(),
            table.to_pydict() if one is index else None,
        )
        for name, one in views_of(index).items()
    }


def prices_of(index):
    return dict(zip(index.ids, index.attributes["price"].to_pylist()))


def test_each_view_holds_the_products_that_it_knows():
    made = index_catalog(Encoder(), SHOP, SETTINGS)
    index = made.index
    assert made.unknown == ["nothing"]
    assert index.ids == ("both", "title", "picture", "odd")
    assert index.views["image"].ids == ("both", "picture", "odd")
    assert index.views["text"].ids == ("both", "title")
    whole = [HALF, 0, 0, 0, 0, HALF, 0, 0]
    np.testing.assert_allclose(index.embedding("both"), whole, atol=1e-6)
    assert index.views["image"].embedding("both").tolist() == [0, 0, 0, 0, 0, 1, 0, 0]
    assert index.views["text"].embedding("both").tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
    # The same picture, and different titles.
    query = index.embeddings_of(["both"])
    [[match]] = index.search(query, k=1, exclude=["both"])
    assert match.id == "odd"
    assert match.distance == pytest.approx(np.sqrt(2 - np.sqrt(2)), abs=1e-6)
    query = index.views["image"].embeddings_of(["both"])
    [[match]] = index.views["image"].search(query, k=1, exclude=["both"])
    assert (match.id, match.distance) == ("odd", 0)


def test_the_decision_and_the_attributes_go_with_the_index(index):
    assert index.extra == {"decision": {"max_distance": 0.7}}
    assert index.encoder_fingerprint == index.views["text"].encoder_fingerprint == "f1"
    assert prices_of(index) == {
        "both": 5.0,
        "title": 30.0,
        "picture": 12.5,
        "odd": None,
    }
    rows = index.rows_where("category = 'mug' AND price < 20")
    assert [index.ids[row] for row in rows] == ["both"]


def test_a_view_of_nothing_is_left_out():
    titles = shop(one="a - mug 1", other="b - mug 2")
    index = index_catalog(Encoder(), titles, SETTINGS).index
    assert list(index.views) == ["text"]


def test_what_cannot_be_indexed_is_refused(monkeypatch):
    with pytest.raises(SimprodError, match="knows nothing of any product"):
        index_catalog(Encoder(), shop(p="zzz - mug 1"), SETTINGS)
    with pytest.raises(SimprodError, match=r"no column 'size'; .* category, price"):
        index_catalog(Encoder(), SHOP, IndexSettings(attributes=("size",)))

    def missing(ids, *rest, **more):
        # The image's view holds three products.
        if len(ids) == 3:
            raise RecallError("the index reaches recall@10 0.5.")
        return build_index(ids, *rest, **more)

    monkeypatch.setattr("simprod_tf.pipeline.index.build_index", missing)
    with pytest.raises(RecallError, match="by image alone, the index reaches"):
        index_catalog(Encoder(), SHOP, SETTINGS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "hnsw"}, "kind is one of auto, exact, exact-tf, scann, got 'hnsw'"),
        ({"views": ("title",)}, "a view is image or text, got 'title'"),
        ({"recall": 1.5}, "recall lies above 0 and is at most 1, got 1.5"),
        (
            {"kind": "exact", "settings": ScannSettings(4, 2)},
            "settings of ScaNN are for kind scann or auto, got 'exact'",
        ),
    ],
)
def test_settings_are_refused_before_anything_is_embedded(settings, message):
    with pytest.raises(ValueError, match=message):
        IndexSettings(**settings)


def test_an_update_adds_replaces_and_removes(index):
    done = update_index(
        index,
        Encoder(),
        shop(
            new="c d lamp 7",
            both="a - mug 6",
            title="zzz - mug 30",
            never="zzz - mug 1",
        ),
    )
    assert (done.new, done.replaced, done.removed) == (1, 1, 1)
    assert done.unknown == ("title", "never")
    assert sorted(index.ids) == ["both", "new", "odd", "picture"]
    # This one has lost its picture, and the view by pictures its product.
    assert index.embedding("both").tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
    assert sorted(index.views["image"].ids) == ["new", "odd", "picture"]
    assert sorted(index.views["text"].ids) == ["both", "new"]
    assert index.views["text"].embedding("new").tolist() == [0, 0, 1, 0, 0, 0, 0, 0]
    assert prices_of(index) == {"both": 6, "new": 7, "odd": None, "picture": 12.5}


def test_an_update_leaves_what_a_fresh_build_would_hold(index):
    later = shop(both="c - mug 1", new="d a bag 2")
    update_index(index, Encoder(), later)
    index.remove(["odd", "title"])
    left = shop(both="c - mug 1", new="d a bag 2", picture="- c bag 12.5")
    fresh = index_catalog(Encoder(), left, SETTINGS).index
    for name, one in views_of(fresh).items():
        changed = views_of(index)[name]
        assert sorted(changed.ids) == sorted(one.ids)
        np.testing.assert_array_equal(
            changed.embeddings_of(one.ids), one.embeddings, strict=True
        )
    assert prices_of(index) == prices_of(fresh)


def test_a_bad_row_changes_nothing(index):
    before = content_of(index)
    message = (
        "product 'q' has price 'n/a', but the index holds price as double; correct it"
    )
    with pytest.raises(SimprodError, match=message):
        update_index(index, Encoder(), shop(both="c - mug 1", q="d - mug n/a"))
    titles = Catalog(*(text_array(["both"]) for _ in range(4)), pa.table({}))
    message = "the index has the attributes category, price: There is no column"
    with pytest.raises(SimprodError, match=message):
        update_index(index, Encoder(), titles)
    with pytest.raises(InputError, match="cannot be decoded"):
        update_index(
            index, Encoder(broken="d"), shop(title="zzz - mug 1", q="- d mug 1")
        )
    message = "The index belongs to encoder f1, .* f2"
    with pytest.raises(FingerprintError, match=message):
        update_index(index, Encoder("f2"), SHOP)
    assert content_of(index) == before


def test_attributes_keep_the_type_that_the_index_has():
    sizes = [("a", "a", "L", ""), ("b", "b", "42", "3")]
    lines = {id: f"{title} - {size} {price or '-'}" for id, title, size, price in sizes}
    index = index_catalog(Encoder(), shop(**lines), SETTINGS).index
    # A lone 42 would be a number, a lone 007 and nothing at all would be text.
    update_index(index, Encoder(), shop(c="c - 42 007"))
    update_index(index, Encoder(), shop(d="d - 1.50 -"))
    table = index.attributes
    assert table.schema.types == [pa.string(), pa.float64()]
    assert table["category"].to_pylist() == ["L", "42", "42", "1.50"]
    assert table["price"].to_pylist() == [None, 3, 7, None]


def test_removal_is_all_or_nothing_in_the_views_too(index):
    before = content_of(index)
    with pytest.raises(KeyError, match="holds no product 'nothing'"):
        index.remove(["both", "nothing"])
    assert content_of(index) == before
    index.remove(["both", "title"])
    assert sorted(index.ids) == ["odd", "picture"]
    assert sorted(index.views["image"].ids) == ["odd", "picture"]
    assert index.views["text"].ids == ()


def test_an_emptied_index_is_saved_and_filled_again(index, tmp_path):
    index.remove(index.ids)
    index.save(tmp_path / "index")
    loaded = load_index(tmp_path / "index")
    assert (len(loaded), loaded.rows_where("price < 9").tolist()) == (0, [])
    assert update_index(loaded, Encoder(), SHOP).new == 4
    fresh = content_of(index_catalog(Encoder(), SHOP, SETTINGS).index)
    assert content_of(loaded) == fresh


def test_a_saved_index_comes_back_with_its_views(index, tmp_path):
    index.save(tmp_path / "index")
    assert (tmp_path / "index" / "views" / "image" / "manifest.json").is_file()
    (tmp_path / "index").rename(tmp_path / "moved")
    loaded = load_index(tmp_path / "moved", encoder_fingerprint="f1")
    assert content_of(loaded) == content_of(index)
    update_index(loaded, Encoder(), shop(new="c d lamp 7"))
    loaded.save(tmp_path / "moved")
    again = load_index(tmp_path / "moved")
    assert content_of(again) == content_of(loaded)
    assert again.views["image"].drift().changed == pytest.approx(1 / 4)


@pytest.mark.parametrize("name", ["embeddings.npy", "ids.parquet", "manifest.json"])
def test_a_damaged_file_of_a_view_is_refused_by_name(index, tmp_path, name):
    index.save(tmp_path / "index")
    path = tmp_path / "index" / "views" / "text" / name
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ModelError, match=r"views/text.*" + name.split(".")[0]):
        load_index(tmp_path / "index")


def test_a_view_that_is_gone_is_missed(index, tmp_path):
    index.save(tmp_path / "index")
    for path in (tmp_path / "index" / "views" / "text").iterdir():
        path.unlink()
    with pytest.raises(ModelError, match="views/text holds no index"):
        load_index(tmp_path / "index")


def test_a_view_of_another_index_is_refused(index, tmp_path):
    index.save(tmp_path / "index")
    index.remove(["both"])
    index.save(tmp_path / "later")
    (tmp_path / "later" / "views").rename(tmp_path / "gone")
    (tmp_path / "index" / "views").rename(tmp_path / "later" / "views")
    message = "later is damaged: The view 'image' holds 1 products .* 'both' among them"
    with pytest.raises(ModelError, match=message):
        load_index(tmp_path / "later")


def test_views_are_published_and_opened(index, tmp_path):
    assert publish(index, tmp_path / "root") == 1
    update_index(index, Encoder(), shop(new="c d lamp 7"))
    assert publish(index, tmp_path / "root") == 2
    assert content_of(open_current(tmp_path / "root")) == content_of(index)
    first = load_index(tmp_path / "root" / "1")
    assert "new" not in first.views["image"]


def test_a_view_holds_no_stranger(index):
    stranger = index_catalog(Encoder(), shop(new="c - mug 1"), SETTINGS).index
    message = "view 'image' holds 1 products that the index lacks, 'new' among them"
    with pytest.raises(ValueError, match=message):
        index.attach({"image": stranger})
    assert index.views["image"].ids == ("both", "picture", "odd")
