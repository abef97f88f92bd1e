"""The data sets of `record.py`: a folder of a known layout -> products, judgements."""

from __future__ import annotations

from pathlib import Path

from record_pair_sets import CATALOGS, PAIR_READERS, WITH_PAIRS, PairSet
from record_search_sets import SEARCH_READERS, SearchSet

from simprod_tf.data.formats.layouts import recognise
from simprod_tf.errors import SimprodError


def layout_of(folder: Path) -> str:
    """Returns the layout of a folder, by its files.

    Raises:
        SimprodError: it is none that is known.
    """
    found = recognise(folder)
    if found in (*PAIR_READERS, *SEARCH_READERS):
        return found
    if any((folder / name).is_file() for name in CATALOGS):
        return WITH_PAIRS
    raise SimprodError(
        f"{folder}: no layout that can be judged. Expected one of "
        f"{', '.join([*PAIR_READERS, *SEARCH_READERS])}; the files of each are in "
        f"`simprod convert --help`, and for {WITH_PAIRS} they are catalog.csv (or "
        ".parquet) and pairs_train.csv, pairs_valid.csv or pairs_test.csv."
    )


def read_set(
    folder: Path, *, split: str, size: str | None = None
) -> PairSet | SearchSet:
    """Returns the data set in a folder.

    Args:
        folder: Of the data set, as its publishers lay it out.
        split: The part to judge: "valid" (or "val"), "test", or a further test of the
            folder's own, as WDC Products has.
        size: Of sets that come in several, such as "medium".

    Raises:
        SimprodError: the folder, or a file in it, is not of a known layout.
    """
    layout = layout_of(folder)
    # Absolute: the pictures' paths are made of it.
    if is_search(layout):
        return SEARCH_READERS[layout](folder.absolute(), split)
    return PAIR_READERS[layout](folder.absolute(), size)


def is_search(layout: str) -> bool:
    """Whether the sets of this layout are judged by searches, not by pairs."""
    return layout in SEARCH_READERS
