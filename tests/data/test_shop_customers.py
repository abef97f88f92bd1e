"""Simulated customers: what behaviour noise means, and its limits."""

from __future__ import annotations

import numpy as np
import pytest

from simprod_tf.data.shop_customers import (
    EVENT_NAMES,
    count_events,
    simulate_customers,
)
from simprod_tf.data.shop_products import make_offers


@pytest.fixture(scope="module")
def offers():
    return make_offers(600, seed=5)


def simulate(offers, *, noise, sessions=20_500):
    return simulate_customers(
        offers, num_sessions=sessions, behaviour_noise=noise, seed=5
    )


@pytest.mark.parametrize("noise", [0.1, 0.3, 1.0])
def test_noise_is_the_share_of_wrong_last_views(offers, noise):
    counts = count_events(simulate(offers, noise=noise), offers)
    assert counts["num_sessions"] == 20_500
    assert counts["wrong_share_of_last_views"] == pytest.approx(noise, abs=0.02)


def test_without_noise_only_buyers_of_single_offers_are_astray(offers):
    events = simulate(offers, noise=0.0)
    share = count_events(events, offers)["wrong_share_of_last_views"]
    groups = np.array([offer.product.group for offer in offers])
    single = {group for group in groups if (groups == group).sum() == 1}
    bought = groups[events.offer[events.kind == EVENT_NAMES.index("purchase")]]
    assert share == pytest.approx(np.isin(bought, list(single)).mean(), abs=0.01)
    assert share < 0.1


def test_many_sessions_buy_nothing_and_none_buys_twice(offers):
    events = simulate(offers, noise=0.1, sessions=2000)
    buyers = events.session[events.kind == EVENT_NAMES.index("purchase")]
    assert len(buyers) == len(set(buyers.tolist()))
    assert 700 < len(buyers) < 1100


def test_some_products_are_far_more_popular(offers):
    events = simulate(offers, noise=0.1, sessions=5000)
    views = np.bincount(events.offer, minlength=len(offers))
    assert views.max() > 5 * np.median(views)
