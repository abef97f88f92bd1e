"""A small linkage of two tables, learned once."""

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.data.catalog import Catalog
from simprod_tf.decider.boosting import BoostingSettings
from simprod_tf.decider.decider import Decider
from simprod_tf.decider.learning import DeciderSettings
from simprod_tf.decider.products import DeciderProducts

TREES = BoostingSettings(trees=15, leaves=4, learning_rate=0.2, least_rows=5)
SETTINGS = DeciderSettings(neighbours=3, folds=2, ensemble=2, first=TREES, second=TREES)
_MAKERS = ("acme", "borel", "cask", "dural", "elon", "fenn")
_THINGS = ("kettle", "lamp", "drill", "camera", "printer")


def make_products(seed=0, number=60):
    """Each thing stands in both tables, told a little differently."""
    generator = np.random.default_rng(seed)
    titles, tables = [], []
    for one in range(number):
        maker, thing = generator.choice(_MAKERS), generator.choice(_THINGS)
        model = f"{maker[0]}{thing[0]}{100 + one}"
        titles += [f"{maker} {thing} {model}", f"{thing} {model.upper()} by {maker}"]
        tables += ["left", "right"]
    ids = np.array([f"p{row:03}" for row in range(2 * number)], object)
    empty = np.full(2 * number, "", object)
    prices = [f"{price:.2f}" for price in generator.uniform(5, 90, 2 * number)]
    catalog = Catalog(
        ids, np.array(titles, object), empty, empty, pa.table({"price": prices})
    )
    vectors = generator.normal(size=(2 * number, 8)).astype(np.float32)
    vectors[1::2] = vectors[::2] + 0.3 * vectors[1::2]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[-1] = 0.0
    return DeciderProducts(
        catalog,
        {"both": vectors},
        encoder_fingerprint="e1",
        tables=np.array(tables),
    )


def make_pairs(products, seed=0):
    """The same things, and twice as many others; (rows, labels)."""
    number = len(products) // 2
    same = np.stack([2 * np.arange(number), 2 * np.arange(number) + 1], axis=1)
    generator = np.random.default_rng(seed)
    shifts = generator.integers(1, number, size=2 * number)
    left = np.tile(np.arange(number), 2)
    others = np.stack([2 * left, 2 * ((left + shifts) % number) + 1], axis=1)
    labels = np.r_[np.ones(number, int), np.zeros(2 * number, int)]
    return np.concatenate([same, others]), labels


@pytest.fixture(scope="session")
def products():
    return make_products()


@pytest.fixture(scope="session")
def pairs(products):
    return make_pairs(products)


@pytest.fixture(scope="session")
def decider(products, pairs):
    return Decider.fit(products, *pairs, settings=SETTINGS)


@pytest.fixture(scope="session")
def bound(decider, products, pairs):
    return decider.bind(products, pairs[0])


@pytest.fixture(scope="session")
def new_products():
    """Others of the same kind, of which the decider saw none."""
    return make_products(seed=1)


@pytest.fixture(scope="session")
def new_pairs(new_products):
    return make_pairs(new_products, seed=1)


@pytest.fixture(scope="session")
def settings():
    return SETTINGS
