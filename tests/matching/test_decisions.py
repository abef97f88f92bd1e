"""Decisions of several views: as limits, and as one file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.errors import FingerprintError, InputError, ModelError, SimprodError
from simprod_tf.matching.calibration import Calibration
from simprod_tf.matching.decision import Decision
from simprod_tf.matching.decisions import (
    Decisions,
    read_decisions,
    trained_decisions,
    write_decisions,
)

WHOLE = Decision(
    max_distance=0.5,
    target_precision=0.9,
    precision=0.95,
    precision_lower_bound=0.91,
    recall=0.6,
    num_pairs=100,
    num_positives=40,
    num_accepted=25,
    labelled_prior=0.4,
    prior=0.1,
    prior_source="given",
    confidence=0.95,
    method="by hand",
    date="2024-05-01",
    encoder_fingerprint="f",
    calibration=Calibration(knots=((0.1, 2.0), (0.9, -3.0))),
)
BY_CATEGORY = dataclasses.replace(WHOLE, by_category={"mug": 0.7, "": 0.2})
CATALOG = Catalog(
    *(text_array(["a", "b", "c"]), text_array(["x"] * 3), text_array([""] * 3)),
    text_array([""] * 3),
    pa.table({"kind": ["mug", None, "pan"]}),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of decisions."""
    decisions = Decisions("f", {"both": WHOLE, "text": BY_CATEGORY}, {}, "kind")
    write_decisions(decisions, tmp_path / "decision.json")
    return tmp_path / "decision.json"


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    decisions = Decisions(
        "f", {"both": WHOLE, "text": BY_CATEGORY}, {"image": "too few"}, "kind"
    )
    write_decisions(decisions, tmp_path / "deep" / "decision.json")
    assert read_decisions(tmp_path / "deep" / "decision.json") == decisions


def test_limits_are_one_for_all_or_each_products_own() -> None:
    plain = Decisions("f", {"both": WHOLE}, {}, "kind")
    assert plain.limits(None) == {"both": 0.5}
    limits = Decisions("f", {"both": WHOLE, "text": BY_CATEGORY}, {}, "kind").limits(
        CATALOG
    )
    assert limits["both"] == 0.5
    np.testing.assert_array_equal(limits["text"], [0.7, 0.2, 0.5])


def test_limits_by_category_need_the_column() -> None:
    decisions = Decisions("f", {"both": BY_CATEGORY}, {}, "kind")
    with pytest.raises(SimprodError, match="go by 'kind', .* give --catalog"):
        decisions.limits(None)
    other = dataclasses.replace(decisions, category="shelf")
    with pytest.raises(
        SimprodError,
        match="go by 'shelf', and the catalogue has no column 'shelf'; the columns "
        "are: group, kind",
    ):
        other.limits(CATALOG)


def test_another_encoder_is_refused_by_any_view() -> None:
    stranger = dataclasses.replace(WHOLE, encoder_fingerprint="g")
    decisions = Decisions("f", {"both": WHOLE, "text": stranger}, {})
    Decisions("f", {"both": WHOLE}, {}).require_for("f")
    with pytest.raises(FingerprintError, match="for the encoder g, got f"):
        decisions.require_for("f")


def test_a_decision_for_whole_products_must_be_there() -> None:
    with pytest.raises(ValueError, match="There is no decision for 'both'"):
        Decisions("f", {"text": WHOLE}, {})


def test_what_training_chose_is_a_decision_on_whole_products() -> None:
    assert trained_decisions(WHOLE.to_json(), "f") == Decisions(
        "f", {"both": WHOLE}, {}
    )
    for none in (None, {}, {"refused": "there were no validation pairs."}):
        assert trained_decisions(none, "f") is None
    with pytest.raises(ModelError, match="A saved decision has the fields"):
        trained_decisions({"max_distance": 1}, "f")


def test_a_file_that_holds_no_decisions_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "none.json"
    with pytest.raises(InputError, match=r"none.json: there is no such file"):
        read_decisions(path)
    for text in ("[]", '{"max_distance": 0.5}', '{"kind": "index"}'):
        path.write_text(text)
        with pytest.raises(InputError, match="no decisions; `simprod threshold` makes"):
            read_decisions(path)
    path.write_text('{"kind": ')
    with pytest.raises(InputError, match=r"none.json: cannot be read as JSON"):
        read_decisions(path)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"decisions": {}}, "There is no decision for 'both'"),
        ({"decisions": {"both": {}}}, "A saved decision has the fields"),
        ({"decisions": None}, "NoneType"),
        ({"refused": 3}, "int"),
    ],
)
def test_damaged_decisions_are_refused_by_name(
    path: Path, changes: dict[str, object], why: str
) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **changes}))
    with pytest.raises(InputError, match=rf"decision.json: .*damaged.*{why}.*again"):
        read_decisions(path)


def test_a_missing_field_and_an_impossible_value_are_damage(path: Path) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in content.items() if k != "category"}))
    with pytest.raises(InputError, match=r"damaged decisions \('category'\); choose"):
        read_decisions(path)
    content["decisions"]["both"]["max_distance"] = -1
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="max_distance must be >= 0, got -1"):
        read_decisions(path)


BY_DECIDER = Decisions("f", {"decider": WHOLE}, {}, "", (), decider_fingerprint="d1")


def test_a_deciders_decisions_come_back_as_they_were(tmp_path: Path) -> None:
    write_decisions(BY_DECIDER, tmp_path / "decision.json")
    found = read_decisions(tmp_path / "decision.json")
    assert found == BY_DECIDER
    assert found.deciding == WHOLE and found.limits(None) == {"decider": 0.5}
    found.require_for("f", decider="d1")


@pytest.mark.parametrize(
    ("decisions", "decider", "message"),
    [
        (BY_DECIDER, "d2", "for the pair decider d1, got the pair decider d2"),
        (
            BY_DECIDER,
            "",
            "for the pair decider d1, got distances of embeddings; .*give",
        ),
        (
            Decisions("f", {"both": WHOLE}, {}),
            "d2",
            "for distances of embeddings, got the pair decider d2; .*`simprod thresh",
        ),
    ],
)
def test_another_decider_is_refused(
    decisions: Decisions, decider: str, message: str
) -> None:
    with pytest.raises(FingerprintError, match=message):
        decisions.require_for("f", decider=decider)


def test_a_deciders_decision_needs_its_encoder_too_and_is_none_on_embeddings() -> None:
    with pytest.raises(FingerprintError, match="chosen for the encoder f, got g"):
        BY_DECIDER.require_for("g", decider="d1")
    with pytest.raises(FingerprintError, match="got distances of embeddings"):
        _ = BY_DECIDER.whole
    with pytest.raises(ValueError, match="There is no decision for 'decider'"):
        Decisions("f", {"both": WHOLE}, {}, decider_fingerprint="d1")
    with pytest.raises(ValueError, match="There is no decision for 'both'"):
        Decisions("f", {"decider": WHOLE}, {})


def test_a_file_from_before_there_were_deciders_is_read(tmp_path: Path) -> None:
    chosen = Decisions("f", {"both": WHOLE}, {})
    write_decisions(chosen, tmp_path / "decision.json")
    content = json.loads((tmp_path / "decision.json").read_text())
    del content["decider_fingerprint"]
    (tmp_path / "decision.json").write_text(json.dumps(content))
    assert read_decisions(tmp_path / "decision.json") == chosen
