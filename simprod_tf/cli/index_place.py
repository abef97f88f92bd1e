"""How the sub-commands that make and change an index write it, and what they say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from simprod_tf.cli.console import say
from simprod_tf.errors import InputError

if TYPE_CHECKING:
    from simprod_tf.index.base import Index


def drifted(index: Index) -> str:
    """Returns what changes have done since the training, in words."""
    drift = index.drift()
    changed = f"{drift.changed:.1%} of the products came since the training"
    if index.is_exact:
        return f"{changed}; nothing is missed, the search is exact"
    return (
        f"{changed}; recall@10 {drift.recall:.3f}, "
        f"of those {drift.recall_of_changed:.3f}"
    )


def state_of(place: Path) -> tuple[Path, str | None]:
    """Returns what tells whether somebody else has changed an index meanwhile."""
    from simprod_tf.index.versions import resolved
    from simprod_tf.manifest import MANIFEST_NAME, file_sha256

    folder = resolved(place)
    manifest = folder / MANIFEST_NAME
    return folder, file_sha256(manifest) if manifest.is_file() else None


def write_back(
    index: Index, place: Path, *, state: tuple[Path, str | None], keep: int
) -> None:
    """Saves a changed index where it came from; says when it should be compacted.

    Raises:
        InputError: it is no longer what it was when it was loaded.
    """
    from simprod_tf.index.versions import is_root

    if state_of(place) != state:
        raise InputError(
            "another process has changed this index meanwhile, which would be lost; "
            "nothing was written. Run the command again.",
            path=place,
        )
    if is_root(place):
        publish_version(index, place, keep=keep)
    else:
        save(index, place)
    drifts = [one.drift() for one in (index, *index.views.values())]
    fallen = [one.fallen_to for one in drifts if one.fallen_to is not None]
    if fallen:
        say(
            f"Its recall has fallen to {min(fallen):.3f}: `simprod compact {place}` "
            "trains it anew."
        )


def save(index: Index, place: Path) -> None:
    """Saves an index, and says where."""
    index.save(place)
    say(f"Written to {place}")


def publish_version(index: Index, root: Path, *, keep: int) -> None:
    """Adds a version and switches to it, and says what old ones went."""
    from simprod_tf.index.versions import prune, publish

    number = publish(index, root)
    gone = prune(root, keep=keep)
    say(
        f"Version {number} is current in {root}"
        + (f"; deleted: {', '.join(map(str, gone))}" if gone else "")
    )


def described(index: Index) -> str:
    """Returns how many products there are, and how well they are found."""
    from simprod_tf.index.scann import ScannIndex

    parts = [f"{len(index)} products"]
    tuned = index.tuned if isinstance(index, ScannIndex) else None
    if tuned is None:
        parts.append("exact")
    else:
        parts.append(
            f"recall@10 {tuned.recall:.3f} measured on {tuned.num_queries} of them"
        )
    parts += [f"{len(one)} by {name} alone" for name, one in index.views.items()]
    return ", ".join(parts)


def say_unknown(unknown: Sequence[str]) -> None:
    """Says which products are left out."""
    if unknown:
        say(
            f"{len(unknown)} products left out, since they have no picture and no word "
            f"that the encoder knows: {', '.join(unknown[:5])}"
            + (", ..." if len(unknown) > 5 else "")
        )
