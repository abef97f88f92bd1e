import numpy as np
import pytest

from simprod_tf.decider.boosting import Boosting, BoostingSettings
from simprod_tf.errors import ModelError

SETTINGS = BoostingSettings(trees=20, leaves=4)
NAMES = ("one", "two", "three")


@pytest.fixture(scope="module")
def data():
    generator = np.random.default_rng(0)
    features = generator.normal(size=(300, 3)).astype(np.float32)
    features[generator.random(300) < 0.2, 2] = np.nan
    return features, (features[:, 0] + 0.3 * features[:, 1] > 0).astype(int)


@pytest.fixture(scope="module")
def boosting(data):
    return Boosting.fit(*data, SETTINGS, names=NAMES, seeds=[0, 1])


def test_it_learns_what_decides(boosting, data):
    features, labels = data
    assert np.mean((boosting.log_odds(features) > 0) == labels) > 0.9
    gains = dict(zip(NAMES, boosting.gains()))
    assert max(gains, key=gains.get) == "one"


def test_contributions_sum_to_the_log_odds(boosting, data):
    parts = boosting.contributions(data[0][:20])
    assert parts.shape == (20, 4)
    np.testing.assert_allclose(parts.sum(axis=1), boosting.log_odds(data[0][:20]))


def test_an_ensemble_is_the_mean_of_its_boosters(boosting, data):
    alone = [
        Boosting.fit(*data, SETTINGS, names=NAMES, seeds=[seed]).log_odds(data[0])
        for seed in (0, 1)
    ]
    np.testing.assert_allclose(boosting.log_odds(data[0]), np.mean(alone, axis=0))
    assert not np.allclose(*alone)


def test_texts_tell_the_same_boosters(boosting, data):
    again = Boosting.from_texts(boosting.texts())
    assert (again.log_odds(data[0]) == boosting.log_odds(data[0])).all()


def test_weights_count(data):
    features, labels = data
    weights = np.where(labels == 1, 20.0, 1.0)
    heavy = Boosting.fit(
        features, labels, SETTINGS, names=NAMES, seeds=[0], weights=weights
    )
    plain = Boosting.fit(features, labels, SETTINGS, names=NAMES, seeds=[0])
    assert heavy.log_odds(features).mean() > plain.log_odds(features).mean() + 0.5


def test_no_rows_have_no_scores(boosting):
    nothing = np.zeros((0, 3), np.float32)
    assert boosting.log_odds(nothing).shape == (0,)
    assert boosting.contributions(nothing).shape == (0, 4)


def test_a_text_that_is_no_booster_is_refused():
    with pytest.raises(ModelError, match="LightGBM cannot read"):
        Boosting.from_texts(["tree\nnonsense"])
    with pytest.raises(ValueError, match="at least one"):
        Boosting.from_texts([])
