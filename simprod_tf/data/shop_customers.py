"""Simulated customers of the synthetic shop: sessions of views, carts, purchases.

A customer comes for one product, looks around, narrows down, compares sellers and
perhaps buys. The last view before a purchase is therefore mostly another offer of the
bought product, and what was viewed some slots earlier mostly is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simprod_tf.data.shop_products import FAMILIES, Offer, stream

EVENT_NAMES = ("view", "cart", "purchase")
_VIEW, _CART, _PURCHASE = range(3)
_MAX_VIEWS = 20
_BLOCK = 20_000
_BUYING_SHARE = 0.45
_START_US = 1_704_067_200_000_000  # 2024-01-01T00:00:00Z
_SPAN_US = 60 * 24 * 3600 * 1_000_000
# Share of views of the wanted product, by the views that still follow. The last
# view's share is `1 - behaviour_noise` instead.
_NARROWING = np.array([0.0, 0.5, 0.2] + [0.03] * (_MAX_VIEWS - 3))
# What a customer sees who does not see the wanted product: a near-miss of the same
# line, another product of the category, a complement, or something popular.
_ASTRAY_LATE = (0.60, 0.10, 0.15, 0.15)
_ASTRAY_EARLY = (0.10, 0.35, 0.20, 0.35)


@dataclass(frozen=True)
class Events:
    """The event log, in the order of time; four arrays of one length.

    `session`: int64 numbers; `offer`: int64 positions in the list of offers; `kind`:
    int8 positions in EVENT_NAMES; `time_us`: int64 microseconds since 1970, UTC.
    """

    session: np.ndarray
    offer: np.ndarray
    kind: np.ndarray
    time_us: np.ndarray


@dataclass(frozen=True)
class _Members:
    """Which members each set has: those of set s are values[start[s]:][:count[s]]."""

    values: np.ndarray
    start: np.ndarray
    count: np.ndarray

    def pick(self, sets: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Returns one member, uniformly, of each set asked for."""
        place = (rng.random(sets.shape) * self.count[sets]).astype(np.int64)
        return self.values[self.start[sets] + place]

    def pick_other(
        self, sets: np.ndarray, avoided: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Like `pick`, but moves on from a member to avoid; a set of one stays."""
        place = (rng.random(sets.shape) * self.count[sets]).astype(np.int64)
        picked = self.values[self.start[sets] + place]
        following = self.values[self.start[sets] + (place + 1) % self.count[sets]]
        return np.where(picked == avoided, following, picked)


def simulate_customers(
    offers: Sequence[Offer], *, num_sessions: int, behaviour_noise: float, seed: int
) -> Events:
    """Returns the event log of `num_sessions` sessions.

    Args:
        offers: what can be viewed and bought.
        num_sessions: how many customers come.
        behaviour_noise: the share of purchases whose last view of another offer is
            of another product, in [0, 1]. Products with a single offer set its floor.
        seed: same seed, same events.
    """
    shop = _Shop(offers, behaviour_noise=behaviour_noise, seed=seed)
    blocks = []
    for number, first in enumerate(range(0, num_sessions, _BLOCK)):
        size = min(_BLOCK, num_sessions - first)
        rng = stream(seed, "sessions", number)
        blocks.append(_block(shop, first, size, rng))
    columns = [np.concatenate(column) for column in zip(*blocks)]
    order = np.argsort(columns[3], kind="stable")
    return Events(*(column[order] for column in columns))


def count_events(events: Events, offers: Sequence[Offer]) -> dict[str, float]:
    """Returns counts, and how often the last-view rule would be wrong.

    Counted over purchases whose last view is of another id: once over the purchases,
    and once over the different pairs, where right ones repeat more than wrong ones.
    """
    not_cart = events.kind != _CART
    # Sessions overlap in time: bring each one's events together again.
    order = np.argsort(events.session[not_cart], kind="stable")
    offer, kind = events.offer[not_cart][order], events.kind[not_cart][order]
    bought = np.flatnonzero(kind == _PURCHASE)
    # Every purchase follows a view of its session: the row before it.
    votes = np.sort(np.stack([offer[bought - 1], offer[bought]], 1), 1)
    votes = votes[votes[:, 0] != votes[:, 1]]
    return {
        "num_sessions": len(np.unique(events.session)),
        "num_events": len(events.kind),
        "num_purchases": len(bought),
        "num_last_views_of_another_id": len(votes),
        "wrong_share_of_last_views": _wrong_share(votes, offers),
        "wrong_share_of_last_view_pairs": _wrong_share(
            np.unique(votes, axis=0), offers
        ),
    }


def _wrong_share(pairs: np.ndarray, offers: Sequence[Offer]) -> float:
    """Returns the share of pairs, [N, 2] offers, that are of different products."""
    if not len(pairs):
        return 0.0
    group = np.array([offer.product.group for offer in offers])
    return float((group[pairs[:, 0]] != group[pairs[:, 1]]).mean())


class _Shop:
    """The offers as the customers see them: by product, line, category, popularity."""

    def __init__(
        self, offers: Sequence[Offer], *, behaviour_noise: float, seed: int
    ) -> None:
        groups = sorted({offer.product.group for offer in offers})
        numbers = {group: number for number, group in enumerate(groups)}
        products = {numbers[offer.product.group]: offer.product for offer in offers}
        ordered = [products[number] for number in range(len(groups))]
        families = {family: number for number, family in enumerate(FAMILIES)}
        lines = [product.line for product in ordered]

        self.group_of = np.array([numbers[offer.product.group] for offer in offers])
        self.offers = _members(self.group_of, len(groups))
        self.line_of = np.unique(lines, return_inverse=True)[1]
        self.line = _members(self.line_of, int(self.line_of.max()) + 1)
        self.family_of = np.array([families[product.family] for product in ordered])
        self.family = _members(self.family_of, len(families))
        # Each product has one complement that the shop shows beside it.
        complements = [
            families[FAMILIES[product.family].complement] for product in ordered
        ]
        complement = np.array(complements)
        # A very small shop may sell nothing in a category.
        sold = self.family.count[complement] > 0
        complement = np.where(sold, complement, self.family_of)
        self.shown_beside = self.family.pick(complement, stream(seed, "complements"))
        # Zipf's law, flattened for the bestsellers.
        rank = stream(seed, "popularity").permutation(len(groups))
        popularity = 1.0 / (rank + 5.0)
        wish = np.sqrt(popularity) * self.offers.count
        self._popular = np.cumsum(popularity) / popularity.sum()
        self._wanted = np.cumsum(wish) / wish.sum()
        # A product with a single offer cannot be compared with itself: its buyers
        # are all astray, which leaves less of the noise for the other buyers.
        single = float(wish[self.offers.count == 1].sum() / wish.sum())
        left = (behaviour_noise - single) / max(1e-9, 1 - single)
        self.last_view_share = 1 - max(0.0, left)

    def pick_popular(
        self, shape: tuple[int, int], rng: np.random.Generator
    ) -> np.ndarray:
        """Returns products, [S, V], by their popularity."""
        return np.searchsorted(self._popular, rng.random(shape))

    def pick_wanted(self, size: int, rng: np.random.Generator) -> np.ndarray:
        """Returns the products, [S], for which customers come."""
        return np.searchsorted(self._wanted, rng.random(size))


def _members(set_of: np.ndarray, num_sets: int) -> _Members:
    count = np.bincount(set_of, minlength=num_sets)
    start = np.concatenate([[0], np.cumsum(count)[:-1]])
    return _Members(np.argsort(set_of, kind="stable"), start, count)


def _block(
    shop: _Shop, first: int, size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns session, offer, kind and time of the events of `size` sessions."""
    buys = rng.random(size) < _BUYING_SHARE
    length = np.where(buys, 2 + rng.poisson(6.5, size), 1 + rng.poisson(4.0, size))
    length = np.minimum(length, _MAX_VIEWS)
    wanted = shop.pick_wanted(size, rng)
    bought = shop.offers.pick(wanted, rng)
    # Columns: 20 views, the last one nearest to the purchase; another look at the
    # offer that will be bought; the cart; the purchase.
    offer = np.concatenate(
        [_views(shop, wanted, bought, rng)[:, ::-1], np.repeat(bought[:, None], 3, 1)],
        1,
    )
    happens = np.concatenate(
        [
            np.arange(_MAX_VIEWS)[::-1] < length[:, None],
            (buys & (rng.random(size) < 0.25))[:, None],
            ((buys & (rng.random(size) < 0.7)) | (rng.random(size) < 0.05))[:, None],
            buys[:, None],
        ],
        1,
    )
    kind = np.array([_VIEW] * (_MAX_VIEWS + 1) + [_CART, _PURCHASE], dtype=np.int8)
    pause = 2_000_000 + (rng.exponential(40.0, offer.shape) * 1e6).astype(np.int64)
    start = _START_US + (rng.random(size) * _SPAN_US).astype(np.int64)
    time = start[:, None] + np.cumsum(np.where(happens, pause, 0), 1)
    session = np.repeat(np.arange(first, first + size)[:, None], offer.shape[1], 1)
    kinds = np.repeat(kind[None, :], size, 0)
    return session[happens], offer[happens], kinds[happens], time[happens]


def _views(
    shop: _Shop, wanted: np.ndarray, bought: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Returns [S, 20] viewed offers; column v is followed by v further views."""
    shape = (len(wanted), _MAX_VIEWS)
    share = np.where(np.arange(_MAX_VIEWS) == 0, shop.last_view_share, _NARROWING)
    target = np.repeat(wanted[:, None], _MAX_VIEWS, 1)
    comparable = shop.offers.count[target] > 1
    on_target = comparable & (rng.random(shape) < share)
    product = np.where(on_target, target, _astray(shop, target, rng))
    return shop.offers.pick_other(product, bought[:, None], rng)


def _astray(shop: _Shop, target: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns products other than `target`, [S, V]: what else customers look at."""
    family = shop.family_of[target]
    near_miss = shop.line.pick_other(shop.line_of[target], target, rng)
    similar = shop.family.pick_other(family, target, rng)
    # A line of one product has no near-miss: another one of the category instead.
    near_miss = np.where(near_miss == target, similar, near_miss)
    matching = shop.shown_beside[target]
    popular = shop.pick_popular((target.shape[0], target.shape[1]), rng)
    late = np.arange(_MAX_VIEWS) < 3
    bounds = np.where(late[:, None], np.cumsum(_ASTRAY_LATE), np.cumsum(_ASTRAY_EARLY))
    chosen = (rng.random(target.shape)[:, :, None] > bounds[None, :, :3]).sum(2)
    seen = np.choose(chosen, [near_miss, similar, matching, popular])
    return np.where(seen == target, (seen + 1) % len(shop.family_of), seen)
