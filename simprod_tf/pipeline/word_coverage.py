"""What trainings' vocabularies know of titles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from simprod_tf.errors import ModelError
from simprod_tf.evaluation.report_data import WordCoverage
from simprod_tf.features.text import title_words
from simprod_tf.features.word_weights import coverage


def word_coverages(
    runs: Mapping[str, str | Path], titles: Sequence[str]
) -> list[WordCoverage]:
    """Returns the coverage of titles by each vocabulary; models that share one, once.

    Args:
        runs: By model, the folder that `simprod train` wrote. Models without words
            are left out.
        titles: As in the catalogue.

    Raises:
        ModelError: a folder's vocabulary cannot be read.
    """
    models: dict[tuple[str, ...], list[str]] = {}
    for name, folder in runs.items():
        models.setdefault(_vocabulary(folder), []).append(name)
    models.pop((), None)
    tokens = title_words(titles) if models else []
    found = []
    for vocabulary, names in models.items():
        known = coverage(tokens, vocabulary)
        found.append(
            WordCoverage(
                tuple(names),
                len(vocabulary),
                known.num_tokens,
                known.known_tokens,
                known.num_titles,
                known.known_titles,
                known.unknown,
            )
        )
    return found


def _vocabulary(folder: str | Path) -> tuple[str, ...]:
    path = Path(folder) / "vocabulary.txt"
    try:
        return tuple(path.read_text(encoding="utf-8").split("\n")[:-1])
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}.") from error
