"""A small trained decider in matching: what it decides, and what it refuses.

48 kettles, each sold by two shops: kettle `n` is `a<n>` and `b<n>`. Each has a model
number and, as have the next two, a colour; so those are each other's rivals.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.data.pairs import Pairs, canonical_pairs
from simprod_tf.decider.boosting import BoostingSettings
from simprod_tf.decider.decider import Decider, DeciderSettings
from simprod_tf.errors import (
    FingerprintError,
    InputError,
    ModelError,
    SimprodError,
)
from simprod_tf.index import ExactIndex, Index
from simprod_tf.manifest import write_manifest
from simprod_tf.matching.views import Views, views_of
from simprod_tf.pipeline.decider import (
    decided_views,
    decider_products,
    tables_of,
    threshold_views,
    trained_on,
)
from simprod_tf.pipeline.decider_attention import (
    compared,
    require_attention_place,
    text_columns,
    train_attention,
)
from simprod_tf.pipeline.decider_training import (
    DeciderInputs,
    described,
    judge,
    train_decider,
)
from simprod_tf.pipeline.match import (
    Matched,
    MatchInputs,
    MatchOutputs,
    MatchSettings,
    match_run,
)
from simprod_tf.pipeline.match import described as matched_lines
from simprod_tf.pipeline.threshold import (
    ThresholdSettings,
    choose_decisions,
    labelled_rows,
)
from simprod_tf.pipeline.veto import in_index_order

KETTLES = 48
K = 4
COLOURS = ("red", "blue", "green", "steel", "black", "white", "copper", "ivory")
FEW = BoostingSettings(trees=15, least_rows=4)
SETTINGS = DeciderSettings(neighbours=K, folds=2, ensemble=1, first=FEW, second=FEW)
TRAINED, HELD_OUT = range(0, 24), range(24, KETTLES)


def catalog_of(shops: str = "ab") -> Catalog:
    """Returns the products, shop by shop, which is not the index's order."""
    ids = [f"{shop}{number}" for shop in shops for number in range(KETTLES)]
    titles = []
    for id in ids:
        number = int(id[1:])
        colour = COLOURS[number // 3 % len(COLOURS)]
        words = [f"acme{number // 6}", "kettle", colour, f"kx{7 * number + 100}"]
        titles.append(" ".join(words if id[0] == "a" else [*words[::-1], "new"]))
    empty = text_array([""] * len(ids))
    return Catalog(
        *(text_array(ids), text_array(titles), empty, empty),
        pa.table({"shop": [id[0] for id in ids], "land": ["x"] * len(ids)}),
    )


def index_of(fingerprint: str = "f", **more: Any) -> Index:
    """Returns an index on a circle: kettles of one number near, those beside next."""
    ids = [f"{shop}{number}" for number in range(KETTLES) for shop in "ba"]
    turns = np.radians([7.0 * int(id[1:]) + (id[0] == "b") for id in ids])
    points = np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return ExactIndex.build(ids, points, encoder_fingerprint=fingerprint, **more)


def labelled(numbers: range) -> Pairs:
    """Returns each kettle's own pair as similar, and those with the next two as not."""
    found = [(f"a{number}", f"b{number}", 1) for number in numbers]
    for apart in (1, 2):
        found += [(f"a{one}", f"b{one + apart}", 0) for one in numbers[:-apart]]
    return canonical_pairs(*zip(*found), source="hand")


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return catalog_of()


@pytest.fixture(scope="module")
def index() -> Index:
    return index_of()


@pytest.fixture(scope="module")
def decider(catalog: Catalog, index: Index) -> Decider:
    """Trained on half of the kettles, by words and by the index's embeddings."""
    inputs = DeciderInputs(catalog, labelled(TRAINED), index=index, k=K)
    return train_decider(inputs, SETTINGS).decider


@pytest.fixture(scope="module")
def plain(catalog: Catalog) -> Decider:
    """Trained without an index, to link the two shops."""
    inputs = DeciderInputs(catalog, labelled(TRAINED), tables="shop")
    return train_decider(inputs, SETTINGS).decider


def run(inputs: MatchInputs, folder: Path, **settings: Any) -> Matched:
    settings = {"k": K, **settings}
    out = MatchOutputs(folder / "matches.parquet", folder / "groups.csv")
    return match_run(inputs, out, MatchSettings(**settings))


def rows_of(folder: Path) -> dict[tuple[str, str], Mapping[str, Any]]:
    rows = pq.read_table(folder / "matches.parquet").to_pylist()
    return {(row["query_id"], row["id"]): row for row in rows}


def test_match_decides_by_the_probabilities_of_the_bound_decider(
    catalog: Catalog, index: Index, decider: Decider, tmp_path: Path
) -> None:
    inputs = MatchInputs(index, catalog=catalog, decider=decider)
    matched = run(inputs, tmp_path, keep="all")
    rows = rows_of(tmp_path)
    table = in_index_order(index, catalog)
    found = decided_views(decider, index, table, k=K)
    bound = decider.bind(decider_products(table, index), found.edges)
    # Each candidate of the graph is decided upon, in one direction at least.
    assert {frozenset(pair) for pair in rows} == {
        frozenset(index.ids[row] for row in pair) for pair in found.edges
    }
    starts, ends = (index.rows_of(list(ids)) for ids in zip(*rows))
    probability = bound.probability(starts, ends)
    stated = np.array([row["distance"] for row in rows.values()])
    np.testing.assert_allclose(stated, 1 - probability, atol=1e-6)
    similar = [row["decision"] == "similar" for row in rows.values()]
    np.testing.assert_array_equal(similar, probability >= decider.best_f1_probability)
    # Without a decision the probabilities are the decider's own.
    own = np.array([row["probability"] for row in rows.values()])
    np.testing.assert_allclose(own, probability, atol=1e-6)
    reasons = {tuple(row["reasons"]) for row in rows.values()}
    assert reasons == {("decider",), ()}
    assert matched.counts.num_similar == sum(similar) > KETTLES
    assert matched.groups is not None and matched.groups.num_groups >= KETTLES / 2


def test_asking_for_some_products_decides_alike(
    catalog: Catalog, index: Index, decider: Decider, tmp_path: Path
) -> None:
    inputs = MatchInputs(index, catalog=catalog, decider=decider)
    run(inputs, tmp_path, keep="all")
    every = rows_of(tmp_path)
    asked = ["b30", "a2"]
    run(dataclasses.replace(inputs, queries=asked), tmp_path, keep="all")
    some = rows_of(tmp_path)
    assert some == {pair: row for pair, row in every.items() if pair[0] in asked}


def test_save_and_load_give_the_same_table(
    catalog: Catalog, index: Index, decider: Decider, tmp_path: Path
) -> None:
    inputs = MatchInputs(index, catalog=catalog, decider=decider)
    run(inputs, tmp_path)
    before = pq.read_table(tmp_path / "matches.parquet")
    decider.save(tmp_path / "decider")
    loaded = Decider.load(tmp_path / "decider")
    run(dataclasses.replace(inputs, decider=loaded), tmp_path)
    assert pq.read_table(tmp_path / "matches.parquet").equals(before)
    assert loaded.fingerprint == decider.fingerprint


def test_a_threshold_is_chosen_on_what_match_decides_upon_and_kept(
    catalog: Catalog, index: Index, decider: Decider, tmp_path: Path
) -> None:
    held_out = labelled(HELD_OUT)
    table = in_index_order(index, catalog)
    views = threshold_views(decider, index, table, k=K, tables=None)
    decisions = choose_decisions(
        views,
        labelled_rows(index, held_out),
        ThresholdSettings(precision=0.6, prior="labelled", k=K),
        encoder_fingerprint="f",
        decider_fingerprint=decider.fingerprint,
        date="",
    )
    assert list(decisions.by_view) == ["decider"] and not decisions.refused
    chosen = decisions.deciding
    inputs = MatchInputs(
        index, decisions, catalog=catalog, pairs=held_out, decider=decider
    )
    judgement = run(inputs, tmp_path, keep="all").judgement
    # What was promised of the labelled pairs is what match does with them.
    assert judgement.decision is not None and judgement.trained_on == 0
    assert judgement.decision.num_accepted == chosen.num_accepted
    assert judgement.decision.precision == pytest.approx(chosen.precision)
    assert chosen.precision >= chosen.precision_lower_bound >= 0.6
    assert judgement.candidates is not None
    assert set(judgement.candidates.found_by) == {"both", "decider"}
    for row in rows_of(tmp_path).values():
        accepted = row["distance"] <= chosen.max_distance
        assert (row["decision"] == "similar") == accepted
        calibrated = chosen.probability(np.array([row["distance"]]))[0]
        assert row["probability"] == pytest.approx(calibrated, abs=1e-6)


def test_nothing_is_vetoed_unless_it_is_asked_for(
    catalog: Catalog, index: Index, decider: Decider, tmp_path: Path
) -> None:
    inputs = MatchInputs(index, catalog=catalog, decider=decider)
    every = run(inputs, tmp_path, max_distance=1.0)
    assert every.num_vetoed == 0 and {"decider"} == {*every.counts.by_reason}
    # By their model numbers all but a kettle's own two are in conflict.
    vetoed = run(inputs, tmp_path, max_distance=1.0, veto=("model",))
    assert vetoed.num_vetoed > 0
    assert {one[1:] == other[1:] for one, other in rows_of(tmp_path)} == {True}


def test_a_stated_distance_is_1_minus_the_probability(
    catalog: Catalog, index: Index, decider: Decider, tmp_path: Path
) -> None:
    inputs = MatchInputs(index, catalog=catalog, decider=decider)
    run(inputs, tmp_path, max_distance=0.2, keep="all")
    for row in rows_of(tmp_path).values():
        assert (row["decision"] == "similar") == (row["distance"] <= 0.2)
        assert row["probability"] == pytest.approx(1 - row["distance"])


def test_pairs_that_the_decider_was_trained_on_are_told(
    catalog: Catalog, index: Index, decider: Decider, tmp_path: Path
) -> None:
    pairs = labelled(range(20, 30))
    rows = labelled_rows(index, pairs).rows
    known = {*labelled(TRAINED).anchor_ids} | {*labelled(TRAINED).other_ids}
    expected = [
        a in known and b in known for a, b in zip(pairs.anchor_ids, pairs.other_ids)
    ]
    assert trained_on(decider, index.ids, rows).tolist() == expected
    inputs = MatchInputs(index, catalog=catalog, pairs=pairs, decider=decider)
    lines = matched_lines(run(inputs, tmp_path))
    told = f"{sum(expected)} of the labelled pairs were those that the decider was tra"
    assert any(told in line for line in lines)


def test_tables_are_linked_without_an_index_of_the_training(
    catalog: Catalog, plain: Decider, tmp_path: Path
) -> None:
    assert plain.views == () and plain.record_linkage
    inputs = MatchInputs(index_of("g"), catalog=catalog, decider=plain)
    run(inputs, tmp_path, tables="shop", keep="all")
    rows = rows_of(tmp_path)
    assert {one[0] + other[0] for one, other in rows} == {"ab", "ba"}
    right = {pair for pair, row in rows.items() if row["decision"] == "similar"}
    found = sum(one[1:] == other[1:] for one, other in right)
    assert found > 0.7 * 2 * KETTLES and found > 0.7 * len(right)


@pytest.mark.parametrize(
    ("changes", "settings", "error", "message"),
    [
        (
            {"index": index_of("g")},
            {},
            FingerprintError,
            "encoder f, got an index of g",
        ),
        ({"catalog": None}, {}, SimprodError, "titles and attributes: give --catalog"),
        ({"catalog": catalog_of("a")}, {}, SimprodError, "lacks 48 products of the in"),
        ({}, {"tables": "shop"}, SimprodError, "without tables: leave --tables out"),
        ({}, {"tables": "shelf"}, SimprodError, "tables: the catalogue has no column"),
        ({}, {"union": True}, SimprodError, "looks at both already: give --union or"),
    ],
)
def test_what_does_not_go_with_the_decider_is_refused(
    catalog: Catalog,
    index: Index,
    decider: Decider,
    tmp_path: Path,
    changes: dict[str, Any],
    settings: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    inputs = MatchInputs(index, catalog=catalog, decider=decider)
    with pytest.raises(error, match=message):
        run(dataclasses.replace(inputs, **changes), tmp_path, **settings)
    assert not (tmp_path / "matches.parquet").exists()


def test_tables_must_be_stated_where_they_were_learned_and_must_differ(
    catalog: Catalog, index: Index, plain: Decider, tmp_path: Path
) -> None:
    inputs = MatchInputs(index, catalog=catalog, decider=plain)
    with pytest.raises(SimprodError, match="link tables: name their column by --tabl"):
        run(inputs, tmp_path)
    with pytest.raises(SimprodError, match="all products are of one table by 'land'"):
        tables_of(catalog, "land")
    with pytest.raises(SimprodError, match="column of the catalogue: give --catalog"):
        tables_of(None, "land")


def test_a_view_that_the_index_lacks_is_named(catalog: Catalog, index: Index) -> None:
    viewed = index_of()
    viewed.attach({"text": index_of()})
    inputs = DeciderInputs(catalog, labelled(TRAINED), index=viewed, k=K)
    made = train_decider(inputs, SETTINGS).decider
    assert made.views == ("both", "text")
    with pytest.raises(SimprodError, match="'text', which the index lacks; `simprod i"):
        decided_views(made, index, in_index_order(index, catalog), k=K)


def test_a_product_that_a_view_lacks_has_zeros_there(catalog: Catalog) -> None:
    viewed = index_of()
    some = [id for id in viewed.ids if id != "a3"]
    vectors = viewed.embeddings_of(some)
    part = ExactIndex.build(some, vectors, encoder_fingerprint="f")
    viewed.attach({"image": part})
    found = decider_products(in_index_order(viewed, catalog), viewed)
    assert found.encoder_fingerprint == "f" and set(found.embeddings) == {
        *views_of(viewed)
    }
    row = viewed.rows_of(["a3"])
    assert not found.embeddings["image"][row].any()
    np.testing.assert_array_equal(found.embeddings["both"], viewed.embeddings)
    others = np.delete(np.arange(len(viewed)), row)
    np.testing.assert_array_equal(
        found.embeddings["image"][others], viewed.embeddings[others]
    )


def test_thresholds_without_a_decider_see_the_tables(
    catalog: Catalog, index: Index
) -> None:
    table = in_index_order(index, catalog)
    tables = tables_of(table, "shop")
    assert tables is not None
    views = threshold_views(None, index, table, k=K, tables=tables)
    rows = np.arange(len(index))
    nearest = views.nearest("both", rows, k=K)
    lines, places = np.nonzero(nearest >= 0)
    assert (tables[lines] != tables[nearest[lines, places]]).all()
    whole = threshold_views(None, index, table, k=K, tables=None)
    assert isinstance(whole, Views) and whole.names == ("both",)


def test_training_tells_what_was_learned_and_how_good_it_is(
    catalog: Catalog, index: Index
) -> None:
    told = []
    valid = labelled(range(20, KETTLES))
    trained = train_decider(
        DeciderInputs(
            catalog,
            labelled(range(0, 16)),
            mined=labelled(TRAINED).weighted(0.5),
            valid=valid,
            index=index,
            k=K,
        ),
        SETTINGS,
        progress=lambda *what: told.append(what),
    )
    assert (trained.num_pairs, trained.num_positives) == (24 + 23 + 22, 24)
    # 20 to 23 with themselves, the next and the one after that.
    assert trained.seen == 4 + 3 + 2
    assert {what[0] for what in told} == {
        *("Finding candidates", "Reading candidates", "Fitting trees"),
        "Judging held-out pairs",
    }
    # Two folds in both stages, and all pairs; the first is told before any work.
    fits = [what[1:] for what in told if what[0] == "Fitting trees"]
    assert fits == [(done, 5) for done in range(6)]
    assert trained.judged is not None
    assert trained.judged.metrics["f1"].value > 0.7
    lines = described(trained)
    assert lines[0].startswith("Learned from 69 pairs, 24 of them similar; F1 ")
    assert lines[1].startswith("Shares of what was learned: ")
    assert lines[2].startswith(f"{len(valid)} pairs held out, boosting: F1 ")
    assert lines[3] == (
        f"9 of these {len(valid)} pairs were trained on as well, which flatters it"
    )


def test_what_is_wrong_with_pairs_held_out_is_told_before_anything_is_learned(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Decider, "fit", None)
    pairs = labelled(TRAINED)
    strange = canonical_pairs(["a30", "a31"], ["b30", "z1"], [1, 1])
    with pytest.raises(SimprodError, match="1 products of the pairs held out are not"):
        train_decider(DeciderInputs(catalog, pairs, valid=strange), SETTINGS)
    within = canonical_pairs(["a30", "a31"], ["b30", "a32"], [1, 0])
    inputs = DeciderInputs(catalog, pairs, valid=within, tables="shop")
    with pytest.raises(SimprodError, match="1 of the pairs held out are of one table"):
        train_decider(inputs, SETTINGS)


def test_nothing_is_learned_of_held_out_pairs_that_other_labels_imply(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    def fit(*_: Any, **more: Any) -> Decider:
        given.update(more)
        raise SimprodError("no further")

    monkeypatch.setattr(Decider, "fit", fit)
    valid = labelled(HELD_OUT)
    with pytest.raises(SimprodError, match="no further"):
        train_decider(DeciderInputs(catalog, labelled(TRAINED), valid=valid), SETTINGS)
    rows = [catalog.rows_of(ids) for ids in (valid.anchor_ids, valid.other_ids)]
    np.testing.assert_array_equal(given["held_out"].T, rows)


def test_judging_counts_a_probability_at_the_limit_as_similar() -> None:
    pairs = canonical_pairs(list("abcd"), list("efgh"), [1, 1, 0, 0])
    found = judge("it", pairs, np.array([0.5, 0.25, 0.75, 0.125]), least=0.5)
    values = {name: one.value for name, one in found.metrics.items()}
    # Accepted: one right, one wrong. In order: wrong, right, right: (1/2 + 2/3) / 2.
    assert values == pytest.approx(
        {"f1": 0.5, "precision": 0.5, "recall": 0.5, "pr_auc": 7 / 12}
    )


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (
            labelled(range(0, 9)),
            "10 similar and 10 other pairs at least, got 9 similar",
        ),
        (
            canonical_pairs(
                [*labelled(TRAINED).anchor_ids, "z1"],
                [*labelled(TRAINED).other_ids, "z2"],
                [*labelled(TRAINED).labels, 1],
            ),
            "2 products of the labelled pairs are not in the catalogue .*'z1' among",
        ),
    ],
)
def test_pairs_that_nothing_can_be_learned_from_are_refused(
    catalog: Catalog, pairs: Pairs, message: str
) -> None:
    with pytest.raises(SimprodError, match=message):
        train_decider(DeciderInputs(catalog, pairs), SETTINGS)
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        DeciderInputs(catalog, pairs, k=0)


def test_the_better_of_two_is_named_with_an_interval() -> None:
    ids = [f"{number:02}" for number in range(40)]
    pairs = canonical_pairs(ids, [f"z{id}" for id in ids], [1, 0] * 20)
    right = pairs.labels * 0.8 + 0.1
    good = judge("boosting", pairs, right, least=0.5)
    bad = judge("attention", pairs, np.full(40, 0.9), least=0.5)
    # All taken for similar: precision 1/2, recall 1.
    assert compared(good, bad, pairs).startswith("Boosting wins by 0.333 (")
    told = compared(bad, good, pairs)
    assert told.endswith("): F1 1.000 against 0.667 of attention")
    assert "is not clearly better (+0.000 to +0.000 apart)" in compared(
        good, dataclasses.replace(good, name="attention"), pairs
    )


def test_the_attention_model_needs_pairs_held_out(
    catalog: Catalog, tmp_path: Path
) -> None:
    inputs = DeciderInputs(catalog, labelled(TRAINED))
    with pytest.raises(SimprodError, match="beside the boosting: give --valid"):
        train_attention(inputs, tmp_path / "attention")
    assert text_columns(catalog, "shop") == ("land",)


def test_the_attention_models_place_is_looked_at_first(tmp_path: Path) -> None:
    require_attention_place(tmp_path / "new")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: is a file; name a folder"):
        require_attention_place(tmp_path / "file")
    (tmp_path / "encoder" / "1").mkdir(parents=True)
    write_manifest(tmp_path / "encoder" / "1", {"kind": "exported encoder"})
    with pytest.raises(ModelError, match="not: exported pair decider"):
        require_attention_place(tmp_path / "encoder")


@pytest.mark.slow
def test_the_attention_model_is_fitted_judged_and_exported(
    catalog: Catalog, tmp_path: Path
) -> None:
    from simprod_tf.export.pair_decider import SavedPairDecider
    from simprod_tf.training.pair_decider_settings import PairDeciderSettings

    valid = labelled(HELD_OUT)
    found = train_attention(
        DeciderInputs(catalog, labelled(TRAINED), valid=valid),
        tmp_path / "attention",
        settings=PairDeciderSettings(epochs=1, vector_dim=8, vector_epochs=1),
    )
    assert found.judged.name == "attention" and found.folder.parent.name == "attention"
    saved = SavedPairDecider(tmp_path / "attention")
    sides = (valid.anchor_ids, valid.other_ids)
    titles = [catalog.titles[catalog.rows_of(ids)].tolist() for ids in sides]
    np.testing.assert_allclose(
        saved.probabilities(*titles), found.judged.probabilities, atol=1e-5
    )
