"""Two products side by side with what speaks for and against: one HTML file."""

from __future__ import annotations

import os
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from simprod_tf.atomic import whole_file
from simprod_tf.evaluation.thumbnail import thumbnail_uri
from simprod_tf.matching.explain import Explanation
from simprod_tf.matching.views import DECIDER, LABELS

_TEMPLATE = Path(__file__).with_name("explanation.html")
# Distances lie between 0 and this, a decider's between 0 and 1: the bars' scale.
_FARTHEST = 2.0
# A decider has about a hundred features, of which few weigh anything.
_MOST = 25


def write_explanation(path: str | os.PathLike[str], explanation: Explanation) -> None:
    """Writes the explanation as one self-contained HTML file, whole or not at all.

    Args:
        path: of the HTML file; its folder is made if missing.
        explanation: what is shown.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    products = (explanation.this, explanation.that)
    page = environment.get_template(_TEMPLATE.name).render(
        found=explanation,
        products=products,
        pictures=[thumbnail_uri(one.image) if one.image else None for one in products],
        only=(explanation.this_tokens, explanation.that_tokens),
        labels=LABELS,
        farthest=[
            1.0 if one.view == DECIDER else _FARTHEST for one in explanation.standings
        ],
        strongest=explanation.contributions[:_MOST],
        by_decider=explanation.standings[0].view == DECIDER,
    )
    with whole_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
