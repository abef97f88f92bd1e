"""Settings of a training: defaults by loss, and what is out of range."""

from __future__ import annotations

import json

import pytest

from simprod_tf.training.objective import build_loss
from simprod_tf.training.settings import (
    FORMS,
    BatchSettings,
    EpochReport,
    FineTuning,
    Hardware,
    LossSettings,
    NegativeSettings,
    TrainingSettings,
)


def test_each_loss_has_a_form_and_a_margin_of_its_own():
    found = {
        name: (TrainingSettings(loss=LossSettings(name)).form, margin)
        for name, margin in ((name, LossSettings(name).own_margin) for name in FORMS)
    }
    assert found == {
        "contrastive": ("unique", 1.0),
        "double_margin": ("unique", 1.0),
        "npairs": ("unique", 1.0),
        "triplet_hard": ("groups", 0.3),
        "triplet_semihard": ("groups", 0.3),
        "arcface": ("groups", 0.3),
    }


def test_numbers_reach_the_loss():
    arcface = build_loss(LossSettings("arcface", margin=0.25, scale=16.0))
    assert (arcface.get_config()["margin"], arcface.scale) == (0.25, 16.0)
    for name in FORMS:
        build_loss(LossSettings(name))


def test_settings_are_plain_values():
    settings = TrainingSettings(loss=LossSettings("npairs", temperature=0.2), seed=3)
    read = json.loads(json.dumps(settings.to_json()))
    assert read["loss"]["temperature"] == 0.2
    assert (read["seed"], read["batch"]["form"]) == (3, None)


def test_a_report_has_the_loss_at_hand():
    assert EpochReport(1, 3, {"loss": 0.5, "val_pr_auc": 0.9}).loss == 0.5


@pytest.mark.parametrize(
    ("kind", "wrong", "message"),
    [
        (LossSettings, {"name": "hinge"}, "loss must be one of contrastive, .*'hinge'"),
        (LossSettings, {"margin": 0}, r"margin must be in \(0, 2\], got 0"),
        (LossSettings, {"margin": 2.1}, r"margin must be in \(0, 2\], got 2.1"),
        (
            LossSettings,
            {"name": "arcface", "margin": 1.6},
            r"arcface's margin is an angle below pi / 2, got 1.6",
        ),
        (LossSettings, {"temperature": 0}, "temperature must be above 0, got 0"),
        (LossSettings, {"scale": -1}, "scale must be above 0, got -1"),
        (LossSettings, {"ramp_epochs": -1}, "ramp_epochs must be at least 0.* -1 and"),
        (
            LossSettings,
            {"similar_margin": 2},
            r"similar_margin in \[0, 2\), got 5 and 2",
        ),
        (
            LossSettings,
            {"name": "double_margin", "similar_margin": 0.6, "margin": 0.5},
            "similar_margin must be below margin, got 0.6 and 0.5",
        ),
        (BatchSettings, {"size": 1}, "size must be at least 2, got 1"),
        (BatchSettings, {"per_group": 1}, "per_group must be at least 2, got 1"),
        (NegativeSettings, {"hard": -1}, "at least 0, got -1 and 0"),
        (NegativeSettings, {"random": -0.5}, "at least 0, got 0 and -0.5"),
        (NegativeSettings, {"weight": 0}, "weight must be above 0, got 0"),
        (NegativeSettings, {"refresh_epochs": 0}, "refresh_epochs must be at least 1"),
        (FineTuning, {"head_epochs": -1}, "head_epochs must be at least 0, got -1"),
        (FineTuning, {"tower_rate": -0.1}, "tower_rate must be at least 0, got -0.1"),
        (FineTuning, {"word_rate": -1}, "word_rate must be at least 0, got -1"),
        (Hardware, {"strategy": "tpu"}, "one of none, mirrored, multi-worker, got 't"),
        (Hardware, {"precision": "float16"}, "one of float32, mixed_float16, mixed_bf"),
        (TrainingSettings, {"epochs": 0}, "epochs must be at least 1, got 0"),
        (TrainingSettings, {"patience": 0}, "patience must be at least 1, got 0"),
        (TrainingSettings, {"mined_weight": 0}, "mined_weight must be above 0, got 0"),
        (TrainingSettings, {"monitor": "loss"}, "one of pr_auc, map_at_r, recall_at_1"),
        (
            TrainingSettings,
            {"loss": LossSettings("arcface"), "batch": BatchSettings("twin")},
            "must be one of groups, got 'twin'",
        ),
        (
            TrainingSettings,
            {"batch": BatchSettings("groups"), "negatives": NegativeSettings(hard=2)},
            "drawn negatives are pairs, and batches of groups bring their own",
        ),
        (
            TrainingSettings,
            {
                "loss": LossSettings("triplet_hard"),
                "negatives": NegativeSettings(random=1),
            },
            "drawn negatives are pairs",
        ),
    ],
)
def test_what_is_out_of_range_is_refused(kind, wrong, message):
    with pytest.raises(ValueError, match=message):
        kind(**wrong)
