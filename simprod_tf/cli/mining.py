"""The sub-command `mine`: an event log becomes labelled pairs."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from simprod_tf.cli.console import Bars, bars, options, say
from simprod_tf.cli.engine_options import EngineChoice, EngineName, Master, SparkConf
from simprod_tf.cli.mining_words import (
    print_quality,
    read_line,
    summary,
    write_report,
)
from simprod_tf.errors import SimprodError

if TYPE_CHECKING:
    import pyarrow as pa

    from simprod_tf.data.events import EventLog, EventSettings
    from simprod_tf.data.mining import MiningSettings
    from simprod_tf.data.mining_quality import MiningQuality
    from simprod_tf.data.pairs import Pairs

_LOG, _VOTES, _LIMITS, _QUALITY = "The log", "Votes", "Limits", "Quality"


def mine(
    events: Annotated[
        Path,
        typer.Argument(
            help="Event log: CSV, TSV, JSONL (OTTO's too), Parquet, or a folder."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="Pairs to write: .csv or .parquet; or a folder of Parquet shards."
        ),
    ],
    session_column: Annotated[
        str,
        typer.Option(
            help="Column of the session, or of the customer.", rich_help_panel=_LOG
        ),
    ] = "session",
    id_column: Annotated[
        str, typer.Option(help="Column of the product's id.", rich_help_panel=_LOG)
    ] = "id",
    event_column: Annotated[
        str,
        typer.Option(help="Column that says what happened.", rich_help_panel=_LOG),
    ] = "event",
    time_column: Annotated[
        str,
        typer.Option(help="Column of the time: ISO or epoch.", rich_help_panel=_LOG),
    ] = "time",
    event_name: Annotated[
        Optional[list[str]],
        typer.Option(
            help="What an event's name means: `click=view`, `sale=purchase`, "
            "`basket=cart`, `refund=return` or `scroll=ignored`; may be repeated.",
            rich_help_panel=_LOG,
        ),
    ] = None,
    since: Annotated[
        Optional[str],
        typer.Option(
            help="Leave out events before this ISO time.", rich_help_panel=_LOG
        ),
    ] = None,
    until: Annotated[
        Optional[str],
        typer.Option(
            help="Leave out events from this ISO time on.", rich_help_panel=_LOG
        ),
    ] = None,
    session_gap_min: Annotated[
        int,
        typer.Option(
            help="Minutes without an event that end a session.", rich_help_panel=_VOTES
        ),
    ] = 30,
    negative_slots: Annotated[
        int,
        typer.Option(
            help="The product viewed this many views before a purchase "
            "is not similar to it.",
            rich_help_panel=_VOTES,
        ),
    ] = 5,
    max_lookback_min: Annotated[
        Optional[int],
        typer.Option(
            help="Minutes before a purchase within which a view counts.",
            rich_help_panel=_VOTES,
        ),
    ] = None,
    cart_weight: Annotated[
        float,
        typer.Option(
            help="Putting into the cart is a purchase with this much of a vote; "
            "0 ignores it.",
            rich_help_panel=_VOTES,
        ),
    ] = 0.0,
    min_support: Annotated[
        int,
        typer.Option(
            help="Votes, by weight, that a pair needs to be kept.",
            rich_help_panel=_VOTES,
        ),
    ] = 1,
    conflicts: Annotated[
        str,
        typer.Option(
            help="Pairs with votes for and against: `soft` keeps them, with less "
            "weight, `drop` does not.",
            rich_help_panel=_VOTES,
        ),
    ] = "soft",
    max_events_per_customer: Annotated[
        Optional[int],
        typer.Option(
            help="Leave out customers with more events, as bots.",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    max_votes_per_customer: Annotated[
        Optional[int],
        typer.Option(
            help="Count only this many votes of a customer, the earliest.",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    max_pairs_per_product: Annotated[
        Optional[int],
        typer.Option(
            help="Keep this many positives and as many negatives of a product, "
            "the strongest.",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    same_category: Annotated[
        Optional[str],
        typer.Option(
            help="Column of `--catalog`; products of one pair must agree in it.",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    catalog: Annotated[
        Optional[Path],
        typer.Option(help="Catalogue with the category.", rich_help_panel=_LIMITS),
    ] = None,
    same_category_negatives: Annotated[
        bool,
        typer.Option(
            "--same-category-negatives",
            help="Ask the same of dissimilar pairs.",
            rich_help_panel=_LIMITS,
        ),
    ] = False,
    hand_pairs: Annotated[
        Optional[Path],
        typer.Option(
            help="Hand-labelled pairs; prints how many mined pairs agree with them.",
            rich_help_panel=_QUALITY,
        ),
    ] = None,
    quality_slots: Annotated[
        Optional[str],
        typer.Option(
            help="Judge these `--negative-slots`, too: `1,2,3,5,8`.",
            rich_help_panel=_QUALITY,
        ),
    ] = None,
    report: Annotated[
        Optional[Path],
        typer.Option(
            help="JSON to write: settings, counts, quality.", rich_help_panel=_QUALITY
        ),
    ] = None,
    memory_mb: Annotated[
        int,
        typer.Option(help="Memory of the embedded database; more of it goes to disk."),
    ] = 600,
    engine: EngineName = "embedded",
    master: Master = None,
    spark_conf: SparkConf = None,
) -> None:
    """Mine pairs from what customers viewed and bought.

    The product viewed last before a purchase is similar to the one bought; the product
    viewed `--negative-slots` views earlier is not. Quantities do not matter; returns
    are ignored.

    Example: `simprod mine shop/events.parquet --out mined.parquet`

    Example: `simprod mine shop/events.parquet --out mined.parquet
    --hand-pairs shop/hand_pairs.csv --quality-slots 1,2,3,5,8`

    Example: `simprod mine shop/events.parquet --out mined --engine spark
    --master "local[2]" --spark-conf spark.driver.memory=2g`
    """
    from simprod_tf.data.events import EventSettings
    from simprod_tf.data.mining import PAIRS_KIND, MiningSettings
    from simprod_tf.data.tables import require_table_place

    require_table_place(out, kind=PAIRS_KIND)
    choice = EngineChoice(engine, master, spark_conf)
    _require_together(same_category, catalog, same_category_negatives)
    with options():
        event_settings = EventSettings(
            session=session_column,
            id=id_column,
            event=event_column,
            time=time_column,
            event_names=_event_names(event_name or []),
            since=since,
            until=until,
        )
        gate = "all" if same_category_negatives else "positives"
        settings = MiningSettings(
            session_gap_min=session_gap_min,
            negative_slots=negative_slots,
            min_support=min_support,
            max_lookback_min=max_lookback_min,
            cart_weight=cart_weight,
            max_events_per_customer=max_events_per_customer,
            max_votes_per_customer=max_votes_per_customer,
            max_pairs_per_product=max_pairs_per_product,
            same_category=gate if same_category else "off",
            conflicts=conflicts,
        )
        slots = _slots(quality_slots, negative_slots, hand_pairs)
    job = _Job(events, out, event_settings, settings, slots)
    counts, quality = job.run(
        choice,
        hand_pairs=hand_pairs,
        category=None if catalog is None else (catalog, str(same_category)),
        memory_mb=memory_mb,
    )
    if report is not None:
        write_report(report, event_settings, settings, counts, quality)
    if not counts["pairs"]:
        raise SimprodError(f"{events}: no pair could be mined.\n{read_line(counts)}")
    say(summary(counts, out))
    if hand_pairs is not None:
        print_quality(quality, hand_pairs)


@dataclass(frozen=True)
class _Job:
    events: Path
    out: Path
    event_settings: EventSettings
    settings: MiningSettings
    slots: list[int]

    def run(
        self,
        choice: EngineChoice,
        *,
        hand_pairs: Path | None,
        category: tuple[Path, str] | None,
        memory_mb: int,
    ) -> tuple[Mapping[str, int], list[MiningQuality]]:
        """Writes the pairs; returns the counts, and the quality for each slot."""
        from simprod_tf.data.events import read_events
        from simprod_tf.data.mining import mine_to_file, read_categories
        from simprod_tf.data.pairs import read_pairs

        hand = None if hand_pairs is None else read_pairs(hand_pairs, source="hand")
        categories = None if category is None else read_categories(*category)
        engine = choice.open(self.out, memory_mb=memory_mb)
        with engine, bars() as progress, self._folder(choice) as folder:
            log = read_events(
                self.events,
                engine=engine,
                settings=self.event_settings,
                folder=folder,
                progress=partial(progress, "Reading events"),
            )
            progress("Mining pairs", 0, 1)
            counts = mine_to_file(log, self.out, self.settings, categories=categories)
            progress("Mining pairs", 1, 1)
            quality = []
            if hand is not None:
                quality = self._judge(log, hand, categories, progress)
        return counts, quality

    def _judge(
        self, log: EventLog, hand: Pairs, categories: pa.Table | None, progress: Bars
    ) -> list[MiningQuality]:
        """Returns the quality for each number of slots, first for those just mined."""
        from simprod_tf.data.mining_quality import quality_by_slots, quality_of_mined

        own = self.settings.negative_slots
        found = [quality_of_mined(log, hand, negative_slots=own)]
        others = [slots for slots in self.slots if slots != own]
        for done, slots in enumerate(others):
            progress("Judging slots", done, len(others))
            found += quality_by_slots(
                log, hand, slots=[slots], settings=self.settings, categories=categories
            )
            progress("Judging slots", done + 1, len(others))
        return sorted(found, key=lambda one: one.negative_slots)

    def _folder(
        self, choice: EngineChoice
    ) -> contextlib.AbstractContextManager[Path | None]:
        """Returns where the parsed events are kept; one file needs no such place."""
        from simprod_tf.engine.units import unfinished

        if not choice.is_spark and not self.events.is_dir():
            return contextlib.nullcontext()
        # Files that have changed are told apart by the units' names.
        facts = {
            "events": str(self.events.absolute()),
            "log": asdict(self.event_settings),
        }
        return unfinished(self.out, {"job": "mine", **facts})


def _require_together(
    same_category: str | None, catalog: Path | None, negatives: bool
) -> None:
    if (same_category is None) != (catalog is None):
        raise typer.BadParameter("--same-category and --catalog go together.")
    if negatives and same_category is None:
        raise typer.BadParameter("--same-category-negatives needs --same-category.")


def _event_names(texts: list[str]) -> dict[str, str]:
    names = {}
    for text in texts:
        name, equals, kind = text.partition("=")
        if not equals:
            raise ValueError(f"an event name is given as name=view, got {text!r}.")
        names[name] = kind
    return names


def _slots(text: str | None, negative_slots: int, hand_pairs: Path | None) -> list[int]:
    """Returns the numbers of slots to judge: the mining's own at least."""
    if text is None:
        return [negative_slots]
    if hand_pairs is None:
        raise ValueError("--quality-slots needs --hand-pairs to judge by.")
    numbers = [part.strip() for part in text.split(",")]
    if not all(number.isdecimal() and int(number) >= 1 for number in numbers):
        raise ValueError(
            f"--quality-slots are whole numbers from 1 on, as 1,2,3, got {text!r}."
        )
    return sorted({negative_slots, *map(int, numbers)})
