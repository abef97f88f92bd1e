"""Everything of a catalogue's products that pairs need, worked out once a product."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.decider.evidence.fields import RecordText, record_texts
from simprod_tf.decider.evidence.grams import gram_rows
from simprod_tf.decider.evidence.ragged import Ragged
from simprod_tf.decider.evidence.tokens import codes, compounds, tokens
from simprod_tf.decider.evidence.vocabulary import Vocabulary
from simprod_tf.decider.evidence.words import Words
from simprod_tf.matching.traits import Trait, traits_of
from simprod_tf.matching.units import DIMENSIONS

Progress = Callable[[int, int], None]
# Products read between two reports: a second or less.
_REPORT_EVERY = 2048


@dataclass(frozen=True, eq=False)
class PreparedProducts:
    """What is known of P products; `prepare` makes it.

    Lists of words hold places in `words`, ascending, each once.

    Attributes:
        words: all words, with their IDF.
        title: tokens of the title.
        title_weight: [P] float64, the IDF of all of them.
        compounds: compounds of the title.
        compound_parts: [C, 3] int32, for each entry of `compounds` which entries of
            the product's `title` it is made of; of two parts, the last is there twice.
        first: [P] int32, the first token of the title, -1 where there is none.
        title_text: [P] str, the tokens of the title in their order.
        sorted_title: [P] str, the same, sorted.
        grams: [P, G] float32, the title's trigrams in rows of unit length.
        text: tokens of descriptions.
        whole: tokens of title, descriptions and all other columns.
        codes: codes of the title, and the model number.
        other_codes: codes of all else.
        model: the model number, where a column holds it.
        model_text: [P] str, the same.
        brand: tokens of the brand.
        brand_text: [P] str, the brand.
        quantities: places in `DIMENSIONS` of the title's quantities.
        quantity_values: [Q, 3] float64, for each the value, and the lowest and the
            highest that are the same.
        packs: how many pieces the title states.
        condition: [P] int32, a number for each condition, -1 where none is stated.
        price: [P] float64, NaN where none is known.
        gtin: [P] str, "" where none is known.
        others: [P, A] int32, for each further column a place in `other_text`, 0 where
            it is empty.
        other_text: [V] str, the values of further columns.
    """

    words: Words
    title: Ragged
    title_weight: np.ndarray
    compounds: Ragged
    compound_parts: np.ndarray
    first: np.ndarray
    title_text: np.ndarray
    sorted_title: np.ndarray
    grams: sp.csr_matrix
    text: Ragged
    whole: Ragged
    codes: Ragged
    other_codes: Ragged
    model: Ragged
    model_text: np.ndarray
    brand: Ragged
    brand_text: np.ndarray
    quantities: Ragged
    quantity_values: np.ndarray
    packs: Ragged
    condition: np.ndarray
    price: np.ndarray
    gtin: np.ndarray
    others: np.ndarray
    other_text: np.ndarray

    @classmethod
    def prepare(
        cls,
        catalog: Catalog,
        vocabulary: Vocabulary,
        *,
        progress: Progress | None = None,
    ) -> PreparedProducts:
        """Returns the products of a catalogue, in its row order.

        Args:
            catalog: the products; 100,000 take some 30 s.
            vocabulary: what tokens are worth.
            progress: called with (products read, products in all) now and then.
        """
        reader = _Reader()
        total = len(catalog)
        for read, record in enumerate(record_texts(catalog), start=1):
            reader.read(record)
            if progress and (read % _REPORT_EVERY == 0 or read == total):
                progress(read, total)
        return reader.prepared(vocabulary)

    def __len__(self) -> int:
        """Returns the number of products."""
        return len(self.price)


class _Reader:
    """Takes products one by one, and numbers their words."""

    def __init__(self) -> None:
        self._words: dict[str, int] = {}
        self._lists: dict[str, list[list[int]]] = defaultdict(list)
        self._texts: dict[str, list[str]] = defaultdict(list)
        self._numbers: dict[str, list[float]] = defaultdict(list)
        self._parts: list[tuple[int, ...]] = []
        self._quantities: list[tuple[float | str, float, float]] = []
        self._conditions: dict[float | str, int] = {}
        self._columns: dict[str, int] = {}
        self._values: dict[str, int] = {"": 0}
        self._cells: list[tuple[int, int, int]] = []

    def read(self, record: RecordText) -> None:
        parts = tokens(record.title)
        self._read_title(parts)
        more = " ".join([record.text, record.brand, *record.others.values()])
        own = {*codes(record.title), *([record.model] if record.model else [])}
        self._add("text", tokens(record.text))
        self._add("whole", [*parts, *tokens(more), *tokens(record.model)])
        self._add("codes", own)
        self._add("other_codes", set(codes(more)) - own)
        self._add("model", [record.model] if record.model else [])
        self._add("brand", tokens(record.brand))
        self._texts["model"].append(record.model)
        self._texts["brand"].append(record.brand)
        self._texts["gtin"].append(record.gtin)
        self._numbers["price"].append(record.price)
        self._read_traits(traits_of(record.raw_title, condition=record.condition))
        row = len(self._texts["gtin"]) - 1
        for name, value in record.others.items():
            column = self._columns.setdefault(name, len(self._columns))
            place = self._values.setdefault(value, len(self._values))
            self._cells.append((row, column, place))

    def prepared(self, vocabulary: Vocabulary) -> PreparedProducts:
        words = Words.of(list(self._words), vocabulary)
        lists = {name: Ragged.of(held) for name, held in self._lists.items()}
        for name in _LISTS:
            lists.setdefault(name, Ragged.of([]))
        texts = {name: text_array(self._texts[name]) for name in _TEXTS}
        title = lists["title"]
        size = len(self._numbers["price"])
        others = np.zeros((size, len(self._columns)), np.int32)
        if self._cells:
            rows, columns, places = np.array(self._cells).T
            others[rows, columns] = places
        return PreparedProducts(
            words=words,
            **lists,
            title_weight=title.sums(words.idf[title.values]),
            compound_parts=np.array(self._parts, np.int32).reshape(-1, 3),
            first=np.array(self._numbers["first"], np.int32),
            title_text=texts["title"],
            sorted_title=texts["sorted_title"],
            grams=gram_rows(title, words, vocabulary),
            model_text=texts["model"],
            brand_text=texts["brand"],
            quantity_values=np.array(self._quantities, np.float64).reshape(-1, 3),
            condition=np.array(self._numbers["condition"], np.int32),
            price=np.array(self._numbers["price"], np.float64),
            gtin=texts["gtin"],
            others=others,
            other_text=text_array(list(self._values)),
        )

    def _place(self, word: str) -> int:
        return self._words.setdefault(word, len(self._words))

    def _add(self, name: str, words: Iterable[str]) -> list[int]:
        places = sorted({self._place(word) for word in words})
        self._lists[name].append(places)
        return places

    def _read_title(self, parts: list[str]) -> None:
        title = self._add("title", parts)
        entries = {place: entry for entry, place in enumerate(title)}
        of_parts = [entries[self._place(part)] for part in parts]
        found = sorted((self._place(w), span) for w, span in compounds(parts).items())
        self._lists["compounds"].append([place for place, _ in found])
        for _, (begin, end) in found:
            made_of = of_parts[begin:end]
            self._parts.append(tuple([*made_of, made_of[-1]][:3]))
        self._numbers["first"].append(self._place(parts[0]) if parts else -1)
        self._texts["title"].append(" ".join(parts))
        self._texts["sorted_title"].append(" ".join(sorted(parts)))

    def _read_traits(self, traits: Iterable[Trait]) -> None:
        held: dict[str, list[Trait]] = defaultdict(list)
        for trait in traits:
            held[trait.kind].append(trait)
        quantities = held["quantity"]
        self._quantities += [(one.value, one.low, one.high) for one in quantities]
        self._lists["quantities"].append(
            [DIMENSIONS.index(one.dimension) for one in quantities]
        )
        self._lists["packs"].append([int(one.value) for one in held["pack"]])
        stated = held["condition"]
        number = -1
        if stated:
            number = self._conditions.setdefault(stated[0].value, len(self._conditions))
        self._numbers["condition"].append(number)


_LISTS = (
    *("title", "compounds", "text", "whole", "codes", "other_codes", "model", "brand"),
    *("quantities", "packs"),
)
_TEXTS = ("title", "sorted_title", "model", "brand", "gtin")
