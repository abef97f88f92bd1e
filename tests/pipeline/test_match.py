"""Matching of six products on a circle, each option worked by hand.

By the whole product they stand at 0, 10, 30, 90, 180 and 200 degrees; two that are d
degrees apart have the distance 2 sin(d / 2): 10: 0.174, 20: 0.347, 30: 0.518, 60: 1.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.data.pairs import Pairs, canonical_pairs
from simprod_tf.data.tables import read_table
from simprod_tf.errors import FingerprintError, SimprodError
from simprod_tf.index import ExactIndex, Index
from simprod_tf.matching.calibration import Calibration
from simprod_tf.matching.decision import Decision
from simprod_tf.matching.decisions import Decisions
from simprod_tf.pipeline.match import (
    GroupSettings,
    Matched,
    MatchInputs,
    MatchOutputs,
    MatchSettings,
    described,
    match_run,
)

WHOLE = {"mug1": 0, "mug2": 10, "mug3": 30, "cup": 90, "pan": 180, "pot": 200}
IMAGE = {"mug1": 0, "mug3": 5, "cup": 100, "pan": 200, "pot": 300}
TEXT = {"cup": 0, "pot": 4, "mug1": 120, "mug2": 240}
GTIN = "4006381333931"


def on_circle(angles: Mapping[str, float]) -> Index:
    turns = np.radians(np.array(list(angles.values()), np.float64))
    points = np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return ExactIndex.build(list(angles), points, encoder_fingerprint="f")


def decision(limit: float, by_category: dict[str, float] | None = None) -> Decision:
    return Decision(
        max_distance=limit,
        target_precision=0.9,
        precision=0.95,
        precision_lower_bound=0.9,
        recall=0.5,
        num_pairs=10,
        num_positives=5,
        num_accepted=5,
        labelled_prior=0.5,
        prior=0.5,
        prior_source="labelled",
        confidence=0.95,
        method="by hand",
        date="",
        encoder_fingerprint="f",
        calibration=Calibration(-1.0, 0.0),
        by_category=by_category or {},
    )


def decisions(both: float = 0.4, **others: float) -> Decisions:
    views = {"both": both, **others}
    return Decisions("f", {name: decision(limit) for name, limit in views.items()}, {})


@pytest.fixture(scope="module")
def index() -> Index:
    return on_circle(WHOLE)


@pytest.fixture(scope="module")
def viewed() -> Index:
    """The index with views: mug2 has no picture, mug3 and pan have no title."""
    index = on_circle(WHOLE)
    index.attach({"image": on_circle(IMAGE), "text": on_circle(TEXT)})
    return index


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    """The products, in another order than the index, and one that it lacks."""
    rows = [
        ("pot", "steel pot", "Q", "pan", ""),
        ("pan", "steel pan", "P", "pan", ""),
        ("new", "steel wok", "", "pan", ""),
        ("cup", "cup", "", "cup", f"{GTIN}"),
        ("mug3", "mug", "M", "mug", "n/a"),
        ("mug2", "blue mug 250 ml", "M", "mug", ""),
        ("mug1", "blue mug 350 ml", "M", "mug", f"{GTIN[:1]} {GTIN[1:]}"),
    ]
    ids, titles, groups, kinds, gtins = zip(*rows)
    return Catalog(
        *(text_array(ids), text_array(titles), text_array([""] * 7)),
        text_array(groups),
        pa.table({"kind": list(kinds), "gtin": list(gtins)}),
    )


class Run:
    """Runs matching into one folder, and reads what it wrote."""

    def __init__(self, folder: Path) -> None:
        self.out = MatchOutputs(
            folder / "matches.parquet", folder / "groups.parquet", folder / "b.csv"
        )

    def __call__(
        self,
        inputs: MatchInputs,
        *,
        linkage: str = "average",
        max_size: int = 50,
        **settings: Any,
    ) -> Matched:
        settings = {"k": 2, **settings}
        return match_run(
            inputs,
            self.out,
            MatchSettings(**settings),
            grouping=GroupSettings(linkage, max_size),
        )

    def similar(self) -> dict[tuple[str, str], str]:
        """Returns the reasons of each similar pair."""
        return {pair: why for pair, (what, why) in self.rows().items() if what}

    def rows(self) -> dict[tuple[str, str], tuple[bool, str]]:
        """Returns of each pair in the table whether it is similar, and the reasons."""
        return {
            (row["query_id"], row["id"]): (
                row["decision"] == "similar",
                " ".join(row["reasons"]),
            )
            for row in pq.read_table(self.out.matches).to_pylist()
        }

    def groups(self) -> set[str]:
        """Returns the groups as "name: products"."""
        table = pq.read_table(self.out.groups)
        members: dict[str, list[str]] = {}
        for row in table.to_pylist():
            members.setdefault(row["group"], []).append(row["id"])
        return {f"{name}: {' '.join(sorted(ids))}" for name, ids in members.items()}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def both_ways(**reasons: str) -> dict[tuple[str, str], str]:
    """Returns the reasons of pairs, named `one_other`, in both directions."""
    found = {}
    for name, why in reasons.items():
        one, other = name.split("_")
        found[one, other] = found[other, one] = why
    return found


PLAIN = both_ways(mug1_mug2="both", mug2_mug3="both", pan_pot="both")


def test_what_is_within_the_limit_is_similar(index: Index, run: Run) -> None:
    matched = run(MatchInputs(index, decisions()))
    assert (
        run.similar() == PLAIN == {pair: why for pair, (_, why) in run.rows().items()}
    )
    assert (matched.counts.num_similar, matched.counts.num_queries) == (6, 5)
    row = pq.read_table(run.out.matches).to_pylist()[0]
    assert (row["query_id"], row["id"], row["rank"]) == ("mug1", "mug2", 1)
    distance = 2 * np.sin(np.radians(5))
    assert row["distance"] == pytest.approx(distance, rel=1e-5)
    assert row["probability"] == pytest.approx(1 / (1 + np.exp(distance)), rel=1e-5)


def test_a_stated_distance_stands_in_for_a_decision(index: Index, run: Run) -> None:
    run(MatchInputs(index), max_distance=0.2)
    assert run.similar() == both_ways(mug1_mug2="both")
    assert pq.read_table(run.out.matches)["probability"].null_count == 2
    # The probabilities are those of the decision, if there is one.
    run(MatchInputs(index, decisions()), max_distance=0.2)
    assert run.similar() == both_ways(mug1_mug2="both")
    assert pq.read_table(run.out.matches)["probability"].null_count == 0


def test_all_candidates_are_kept_on_request(index: Index, run: Run) -> None:
    matched = run(MatchInputs(index, decisions()), keep="all")
    assert run.similar() == PLAIN
    assert (matched.counts.num_rows, matched.counts.num_similar) == (12, 6)
    assert run.rows()["mug1", "mug3"] == (False, "")
    assert described(matched)[0] == (
        "6 matches among 12 candidates; 5 products have one; reasons: both 6"
    )


def test_groups_hold_what_is_alike_as_a_whole(index: Index, run: Run) -> None:
    run(MatchInputs(index, decisions()))
    # As shares of 0.4: mug1-mug2 0.436; mug3 stands 0.868 and 1.294 from them: 1.081.
    assert run.groups() == {"mug1: mug1 mug2", "pan: pan pot"}
    bridges = read_table(run.out.bridges)
    assert bridges.table.column_names == [
        *("query_id", "id", "share_of_limit", "group", "other_group")
    ]
    assert bridges.strings("query_id") == ["mug2"]
    assert bridges.strings("id") == ["mug3"]
    assert bridges.strings("group") == ["mug1"]
    assert bridges.strings("other_group") == [""]
    assert float(bridges.strings("share_of_limit")[0]) == pytest.approx(0.868, abs=1e-3)


def test_single_linkage_chains_and_the_cap_parts(index: Index, run: Run) -> None:
    run(MatchInputs(index, decisions()), linkage="single")
    assert run.groups() == {"mug1: mug1 mug2 mug3", "pan: pan pot"}
    matched = run(MatchInputs(index, decisions()), linkage="single", max_size=2)
    assert run.groups() == {"mug1: mug1 mug2", "pan: pan pot"}
    assert described(matched)[-1] == (
        "2 groups with 4 products; 1 accepted pairs lie between groups; 1 groups were "
        "above the cap"
    )


def test_a_union_accepts_by_picture_or_title_alone(viewed: Index, run: Run) -> None:
    chosen = decisions(0.4, image=0.2, text=0.2)
    run(MatchInputs(viewed, chosen))
    assert run.similar() == PLAIN
    run(MatchInputs(viewed, chosen), union=True)
    # 5 degrees apart by picture: 0.087. 4 by title: 0.070.
    alone = both_ways(mug1_mug3="image", cup_pot="text")
    assert run.similar() == {**PLAIN, **alone}
    # mug1-mug3 now stands at the limit: (0.868 + 1) / 2 is within it.
    assert run.groups() == {"mug1: mug1 mug2 mug3", "pan: pan pot"}


def test_limits_by_category_are_the_querys(
    index: Index, catalog: Catalog, run: Run
) -> None:
    by = decision(0.4, {"mug": 0.6, "cup": 1.01})
    chosen = Decisions("f", {"both": by}, {}, "kind")
    run(MatchInputs(index, chosen, catalog), veto=())
    # mug1-mug3: 0.518. The cup sees mug3 at 1.0, which does not see the cup.
    assert run.similar() == {
        **both_ways(mug1_mug2="both", mug2_mug3="both", mug1_mug3="both"),
        **both_ways(pan_pot="both"),
        ("cup", "mug3"): "both",
    }


def test_a_shared_key_proposes_and_on_request_is_accepted(
    index: Index, catalog: Catalog, run: Run
) -> None:
    matched = run(
        MatchInputs(index, decisions(), catalog), keys=True, keep="all", veto=()
    )
    assert run.rows()["mug1", "cup"] == run.rows()["cup", "mug1"] == (False, "")
    assert matched.counts.num_rows == 14
    assert described(matched)[1] == (
        "Keys (gtin): 1 shared by several products, 1 of 3 values are none, 0 "
        "placeholders left out"
    )
    run(MatchInputs(index, decisions(), catalog), accept_keys=True, veto=())
    assert run.similar() == {**PLAIN, **both_ways(mug1_cup="key:gtin")}


def test_a_conflict_vetoes(index: Index, catalog: Catalog, run: Run) -> None:
    told: list[tuple[str, int, int]] = []
    matched = match_run(
        MatchInputs(index, decisions(), catalog),
        run.out,
        MatchSettings(k=2, veto=("quantity",), keep="all"),
        progress=lambda *what: told.append(what),
    )
    # In both directions.
    assert described(matched)[0].endswith(
        "; 2 more are within the threshold, but vetoed"
    )
    assert run.similar() == both_ways(mug2_mug3="both", pan_pot="both")
    # mug1 holds 350 ml, mug2 250 ml; mug3 says nothing.
    assert run.rows()["mug1", "mug2"] == (False, "both veto:quantity")
    assert run.groups() == {"mug2: mug2 mug3", "pan: pan pot"}
    assert ("Reading titles", 6, 6) in told
    assert told.index(("Matching products", 6, 6)) < told.index(
        ("Grouping products", 0, 1)
    )
    assert told[-1] == ("Grouping products", 1, 1)
    run(MatchInputs(index, decisions(), catalog), veto=("brand", "pack"))
    assert run.similar() == PLAIN


def test_mutual_drops_what_is_a_candidate_one_way_alone(index: Index, run: Run) -> None:
    run(MatchInputs(index, decisions()), k=1)
    # mug3's nearest is mug2, whose nearest is mug1.
    assert set(run.similar()) == set(PLAIN) - {("mug2", "mug3")}
    run(MatchInputs(index, decisions()), k=1, mutual=True, keep="all")
    assert run.similar() == both_ways(mug1_mug2="both", pan_pot="both")
    assert run.rows()["mug3", "mug2"] == (False, "both veto:one-sided")


def table_of(**groups: str) -> pa.Table:
    rows = [(id, name) for name, ids in groups.items() for id in ids.split()]
    ids, names = zip(*rows)
    return pa.table({"id": list(ids), "group": list(names)})


def test_groups_keep_their_names_from_run_to_run(index: Index, run: Run) -> None:
    previous = table_of(G7="mug1 mug2 gone", G8="cup pan")
    run(MatchInputs(index, decisions(), previous=previous))
    assert run.groups() == {"G7: mug1 mug2", "G8: pan pot"}


def test_new_products_join_earlier_groups_and_nothing_else_changes(
    index: Index, run: Run
) -> None:
    previous = table_of(G="mug1 mug2", H="cup pan")
    # Shares of 0.6: 0.579 and 0.863.
    inputs = MatchInputs(index, decisions(0.6), queries=["mug3"], previous=previous)
    run(inputs)
    assert {query for query, _ in run.similar()} == {"mug3"}
    assert run.groups() == {"G: mug1 mug2 mug3", "H: cup pan"}
    # Too far, it founds no group alone.
    run(dataclasses.replace(inputs, decisions=decisions(0.4)))
    assert run.groups() == {"G: mug1 mug2", "H: cup pan"}


def test_a_changed_product_leaves_its_group_as_does_one_that_is_gone(
    index: Index, run: Run
) -> None:
    previous = table_of(G="mug1 mug2 mug3 gone", H="pan pot")
    run(MatchInputs(index, decisions(), queries=["mug3"], previous=previous))
    assert run.groups() == {"G: mug1 mug2", "H: pan pot"}
    run(MatchInputs(index, decisions(), queries=["pan"], previous=table_of(G="pan")))
    # pot, which is in no group, counts as new, too; G is no more.
    assert run.groups() == {"pan: pan pot"}


def labelled(*pairs: tuple[str, str, int]) -> Pairs:
    anchors, others, labels = zip(*pairs)
    return canonical_pairs(anchors, others, labels, source="hand")


PAIRS = labelled(
    *(("mug1", "mug2", 1), ("mug2", "mug3", 1), ("mug1", "mug3", 0)),
    *(("mug1", "pan", 1), ("pan", "pot", 0), ("mug1", "zzz", 1)),
)


def test_candidates_decision_and_groups_are_judged_apart(
    index: Index, catalog: Catalog, run: Run
) -> None:
    matched = run(MatchInputs(index, decisions(), catalog, PAIRS), veto=())
    judged = matched.judgement
    assert judged.candidates is not None and judged.decision is not None
    assert judged.grouped is not None and judged.groups is not None
    # mug1 and pan stand across the circle.
    assert judged.candidates.recall == pytest.approx(2 / 3)
    assert judged.left_out == 1
    # Accepted: mug1-mug2, mug2-mug3, and pan-pot, which are not similar.
    assert judged.decision.precision == pytest.approx(2 / 3)
    assert judged.decision.recall == pytest.approx(2 / 3)
    assert judged.grouped.precision == 1 / 2
    assert judged.grouped.recall == pytest.approx(1 / 3)
    # True groups: the mugs, pan, pot; found: mug1 mug2, mug3, pan pot.
    assert judged.groups.b_cubed_precision == pytest.approx(4 / 5)
    assert judged.groups.b_cubed_recall == pytest.approx((5 / 3 + 2) / 5)
    assert described(matched)[2:] == [
        "Labelled pairs: 0.667 of the 3 similar ones are candidates (both 0.667); 1 "
        "pairs are not in the index",
        "Decision: precision 0.667, recall 0.667 of the labelled pairs",
        "After grouping: precision 0.500, recall 0.333 of the labelled pairs",
        "Groups against the catalogue's own: B-cubed precision 0.800, recall 0.733, F1 "
        "0.765; the largest holds 2",
    ]


def test_of_queries_alone_their_own_pairs_and_groups_are_judged(
    index: Index, catalog: Catalog, run: Run
) -> None:
    judged = run(
        MatchInputs(index, decisions(), catalog, PAIRS, queries=["mug3", "mug2"])
    ).judgement
    assert judged.candidates is not None and judged.groups is not None
    # mug1-pan cannot be found by these.
    assert (judged.candidates.num_positives, judged.candidates.recall) == (2, 1)
    assert judged.left_out == 0
    assert judged.groups.num_products == 2
    with pytest.raises(SimprodError, match="none of the 6 labelled pairs has one of"):
        run(MatchInputs(index, decisions(), pairs=PAIRS, queries=["cup"]))


def test_tables_are_written_as_csv_too(index: Index, tmp_path: Path) -> None:
    out = MatchOutputs(tmp_path / "m.csv", tmp_path / "g.csv")
    settings = MatchSettings(k=1, mutual=True, keep="all")
    match_run(MatchInputs(index, decisions()), out, settings)
    read = read_table(out.matches)
    assert read.strings("query_id") == list(WHOLE)
    assert read.strings("id") == ["mug2", "mug1", "mug2", "mug3", "pot", "pan"]
    assert read.strings("rank") == ["1"] * 6
    assert read.strings("reasons")[1:3] == ["both", "both;veto:one-sided"]
    assert read.strings("decision")[2:4] == ["different", "different"]
    assert read_table(out.groups or "").strings("id") == ["mug1", "mug2", "pan", "pot"]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["g.csv", "m.csv"]


UNION = MatchSettings(union=True)


@pytest.mark.parametrize(
    ("inputs", "settings", "message"),
    [
        ({}, MatchSettings(), "there is no threshold: choose one with `simprod thres"),
        ({"decisions": decisions()}, UNION, "needs an index with views: `simprod ind"),
        (
            {"decisions": decisions()},
            MatchSettings(keys=True),
            "keys are read from the catalogue: give --catalog",
        ),
        (
            {"decisions": decisions()},
            MatchSettings(veto=("pack",)),
            r"conflicts \(pack\) are read from the catalogue: give --catalog",
        ),
        (
            {"decisions": Decisions("f", {"both": decision(1, {"a": 1})}, {}, "kind")},
            MatchSettings(),
            "thresholds go by 'kind', which is read from the catalogue",
        ),
        (
            {"decisions": decisions(), "previous": pa.table({"id": ["a"]})},
            MatchSettings(),
            "the table of groups must have a column 'group', got id",
        ),
    ],
)
def test_what_is_not_there_is_named(
    index: Index,
    run: Run,
    inputs: dict[str, Any],
    settings: MatchSettings,
    message: str,
) -> None:
    with pytest.raises(SimprodError, match=message):
        match_run(MatchInputs(index, **inputs), run.out, settings)
    assert not run.out.matches.parent.joinpath("matches.parquet").exists()


def test_a_union_without_thresholds_of_views_is_refused(
    viewed: Index, run: Run
) -> None:
    with pytest.raises(SimprodError, match="a stated distance is one for whole prod"):
        run(MatchInputs(viewed, decisions(image=0.2)), union=True, max_distance=0.4)
    refused = dataclasses.replace(decisions(), refused={"image": "Too few labels."})
    with pytest.raises(
        SimprodError, match="too, and there is none; .* --decision. image: Too few lab"
    ):
        run(MatchInputs(viewed, refused), union=True)


def test_thresholds_of_another_encoder_are_refused(index: Index, run: Run) -> None:
    stranger = dataclasses.replace(decision(0.4), encoder_fingerprint="g")
    chosen = Decisions("g", {"both": stranger}, {})
    for stated in ({}, {"max_distance": 0.4}):
        with pytest.raises(FingerprintError, match="for the encoder g, got f"):
            run(MatchInputs(index, chosen), **stated)


def test_a_catalogue_without_the_products_or_keys_is_refused(
    index: Index, catalog: Catalog, run: Run
) -> None:
    some = catalog.take(catalog.rows_of(["mug1", "pan", "new"]))
    with pytest.raises(SimprodError, match="lacks 4 products of the index, 'mug2' amo"):
        run(MatchInputs(index, decisions(), some))
    plain = dataclasses.replace(catalog, attributes=catalog.attributes.select(["kind"]))
    with pytest.raises(SimprodError, match="no column of keys; they are called gtin, "):
        run(MatchInputs(index, decisions(), plain), keys=True)


def test_queries_that_the_index_lacks_are_refused(index: Index, run: Run) -> None:
    with pytest.raises(KeyError, match="zzz"):
        run(MatchInputs(index, decisions(), queries=["mug1", "zzz"]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"veto": ("colour",)}, "a conflict is one of quantity, pack, .*'colour'"),
        ({"keep": "some"}, "keep is one of similar, all, got 'some'"),
        ({"k": 0}, "k must be at least 1, got 0"),
    ],
)
def test_settings_that_there_are_not_are_refused(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        MatchSettings(**settings)


def test_groupings_that_there_are_not_are_refused() -> None:
    with pytest.raises(ValueError, match="average, complete, single, got 'centroid'"):
        GroupSettings("centroid")
    with pytest.raises(ValueError, match="max_size must be at least 1, got 0"):
        GroupSettings(max_size=0)


def test_an_interruption_leaves_the_old_tables(index: Index, run: Run) -> None:
    run(MatchInputs(index, decisions()))
    before = {one.name: one.read_bytes() for one in run.out.matches.parent.iterdir()}

    def interrupt(what: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        match_run(
            MatchInputs(index, decisions(0.9)),
            run.out,
            MatchSettings(k=2),
            progress=interrupt,
        )
    after = {one.name: one.read_bytes() for one in run.out.matches.parent.iterdir()}
    assert after == before and len(before) == 3


def test_it_loads_no_tensorflow() -> None:
    code = (
        "import sys, simprod_tf.pipeline.match, simprod_tf.pipeline.threshold; "
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


KILLED = """
import os, signal, sys
from pathlib import Path
from simprod_tf.index.build import load_index
from simprod_tf.pipeline.match import MatchInputs, MatchOutputs, MatchSettings
from simprod_tf.pipeline.match import match_run

def kill(what, done, total):
    os.kill(os.getpid(), signal.SIGKILL)

folder = Path(sys.argv[1])
match_run(
    MatchInputs(load_index(folder / "index")),
    MatchOutputs(folder / "matches.parquet"),
    MatchSettings(max_distance=2),
    progress=kill,
)
"""


@pytest.mark.slow
def test_a_kill_half_way_leaves_the_old_table(index: Index, run: Run) -> None:
    folder = run.out.matches.parent
    index.save(folder / "index")
    run(MatchInputs(index, decisions()))
    before = run.out.matches.read_bytes()
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder)], env=environment, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert run.out.matches.read_bytes() == before
    run(MatchInputs(index, decisions(0.2)))
    assert run.similar() == both_ways(mug1_mug2="both")
