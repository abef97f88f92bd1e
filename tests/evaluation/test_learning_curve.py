from __future__ import annotations

import numpy as np
import pytest

from simprod_tf.errors import InputError
from simprod_tf.evaluation.learning_curve import read_learning_curve


def test_a_history_is_read_in_the_order_of_its_epochs(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text('"epoch","loss","val_map_at_r"\n2,0.5,0.75\n1,1.5,\n')
    found = read_learning_curve("hand", path)
    assert found.model == "hand"
    assert found.epochs.tolist() == [1, 2]
    np.testing.assert_array_equal(found.measures["loss"], [1.5, 0.5])
    np.testing.assert_array_equal(found.measures["val_map_at_r"], [np.nan, 0.75])


def test_a_training_without_epochs_has_an_empty_curve(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text('"epoch"\n')
    found = read_learning_curve("raw", path)
    assert len(found.epochs) == 0 and found.measures == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step,loss\n1,2\n", "column 'epoch' is missing; the columns are: step, loss"),
        ("epoch,loss\n1,low\n", "column 'loss' must hold numbers: .*low"),
    ],
)
def test_what_is_no_history_is_refused(tmp_path, text, message):
    path = tmp_path / "history.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=f"history.csv: {message}"):
        read_learning_curve("m", path)


def test_a_missing_history_is_told(tmp_path):
    with pytest.raises(InputError, match="history.csv: there is no such file"):
        read_learning_curve("m", tmp_path / "history.csv")
