"""The ways of matching that `matching.py` compares."""

from __future__ import annotations

from dataclasses import dataclass

from simprod_tf.matching.blending import Blending
from simprod_tf.matching.traits import KINDS
from simprod_tf.matching.views import IMAGE, TEXT


@dataclass(frozen=True)
class Option:
    """A way of matching.

    Attributes:
        k: neighbours of a product in each view.
        views: that propose candidates, beside "both".
        keys, accept_keys: shared keys propose candidates; and accept them.
        mutual: of candidates.
        union: accept by any of the views.
        veto: kinds of conflict.
        veto_first: the threshold is chosen on the pairs that the veto leaves.
        by_category: thresholds by category.
        blending: of the embeddings.
        prior: the promise is for the true prior of the candidates, or the estimated
            one where it is not known, with the highest precision that can be promised.
        linkage, max_size, mutual_groups: of groups.
    """

    k: int = 10
    views: tuple[str, ...] = ()
    keys: bool = False
    accept_keys: bool = False
    mutual: bool = False
    union: bool = False
    veto: tuple[str, ...] = ()
    veto_first: bool = False
    by_category: bool = False
    blending: Blending | None = None
    prior: bool = False
    linkage: str = "average"
    max_size: int = 50
    mutual_groups: bool = False


SIZES = ("quantity", "pack", "condition")
NOT_BRAND = tuple(kind for kind in KINDS if kind != "brand")
BOTH_VIEWS = (IMAGE, TEXT)
VETOES = {
    **{kind: (kind,) for kind in KINDS},
    "quantity, pack, condition": SIZES,
    "all but brand": NOT_BRAND,
    "all": KINDS,
}
OPTIONS: dict[str, Option] = {
    "default": Option(),
    **{f"k {k}": Option(k=k) for k in (5, 20, 50)},
    "+ image view": Option(views=(IMAGE,)),
    "+ text view": Option(views=(TEXT,)),
    "+ both views": Option(views=BOTH_VIEWS),
    "+ keys": Option(keys=True),
    "+ keys, accepted": Option(keys=True, accept_keys=True),
    "mutual candidates": Option(mutual=True),
    "union with image": Option(views=(IMAGE,), union=True),
    "union with text": Option(views=(TEXT,), union=True),
    "union with both": Option(views=BOTH_VIEWS, union=True),
    **{f"veto {name}": Option(veto=kinds) for name, kinds in VETOES.items()},
    **{
        f"veto {name}, then threshold": Option(veto=kinds, veto_first=True)
        for name, kinds in VETOES.items()
    },
    "thresholds by category": Option(by_category=True),
    "blending k 3": Option(blending=Blending(k=3)),
    "blending k 5": Option(blending=Blending(k=5)),
    "prior of the candidates": Option(prior=True),
    "the same, veto all, then threshold": Option(
        prior=True, veto=KINDS, veto_first=True
    ),
    "complete linkage": Option(linkage="complete"),
    "single linkage": Option(linkage="single"),
    "mutual edges for groups": Option(mutual_groups=True),
    "groups up to 10": Option(max_size=10),
    "groups up to 500": Option(max_size=500),
}
