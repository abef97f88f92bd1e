from __future__ import annotations

import math

import pytest

from simprod_tf.decider.evidence.code import NAMES


def test_a_code_is_shared_whatever_its_separators(told):
    found = told(["belkin f8n044-slv", "belkin sleeve f8n044slv silver"])
    assert found["shared_codes"] == 1
    assert found["longest_shared_code"] == len("f8n044slv")
    assert found["codes_conflict"] == 0
    assert math.isnan(found["codes_edit_ratio"])


def test_different_codes_are_in_conflict(told):
    found = told(["sony dsc-w120", "sony camera dscw170"])
    assert found["codes_conflict"] == 1
    assert found["codes_edit_ratio"] == pytest.approx(6 / 7)
    assert found["codes_common_prefix"] == pytest.approx(5 / 7)
    assert found["codes_one_in_other"] == 0
    assert found["largest_unmatched_code_of_lighter"] == pytest.approx(math.log(2))


def test_a_longer_code_holds_the_shorter(told):
    found = told(["panasonic kxtg9343", "panasonic phone kxtg9343t"])
    assert found["codes_one_in_other"] == 1
    assert found["codes_common_prefix"] == 1


def test_without_codes_nothing_is_known(told):
    found = told(["red mug", "blue mug tall"])
    assert math.isnan(found["codes_conflict"])
    assert math.isnan(found["codes_edit_ratio"])
    assert found["codes_of_lighter"] == found["shared_codes"] == 0


def test_a_code_in_the_others_description_is_found(told):
    long = (
        "this camera is known as dsc-w120 and takes pictures of twelve megapixels each"
    )
    found = told(["sony dscw120", "sony w camera abc99999x"], description=["", long])
    assert found["shared_codes"] == 0
    assert found["codes_of_lighter_found"] == 1
    assert found["longest_found_code"] == len("dscw120")
    assert found["codes_conflict"] == 1
    assert found["codes_conflict_everywhere"] == 0


def test_model_columns_are_compared(told):
    found = told(["camera", "sony camera"], modelno=["DSC-W120", "dscw120b"])
    assert found["models_known"] == 2
    assert found["model_ratio"] == pytest.approx(7 / 8)
    assert found["model_begins_alike"] == 1
    assert found["model_found"] == 0


def test_a_model_of_one_column_is_found_in_the_others_title(told):
    found = told(["camera", "sony camera dsc-w120"], modelno=["DSC W120", ""])
    assert found["models_known"] == 1
    assert found["model_found"] == 1
    assert math.isnan(found["model_ratio"])


def test_without_models_none_is_found(told):
    found = told(["camera", "sony camera"])
    assert math.isnan(found["model_found"])
    assert set(NAMES) <= set(found)
