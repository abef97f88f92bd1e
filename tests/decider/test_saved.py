import json
import shutil

import numpy as np
import pytest

from simprod_tf.decider.decider import Decider
from simprod_tf.errors import ModelError


@pytest.fixture
def folder(decider, tmp_path):
    decider.save(tmp_path / "decider")
    return tmp_path / "decider"


def test_what_is_saved_decides_the_same(decider, folder, products, pairs, bound):
    again = Decider.load(folder)
    assert again.fingerprint == decider.fingerprint
    assert again.settings == decider.settings
    assert again.views == ("both",)
    assert again.encoder_fingerprint == "e1"
    assert again.record_linkage
    assert again.best_f1_probability == decider.best_f1_probability
    assert again.num_pairs == decider.num_pairs
    assert again.out_of_fold is None
    found = again.bind(products, pairs[0]).probability(*pairs[0].T)
    assert (found == bound.probability(*pairs[0].T)).all()
    ids = products.catalog.ids[pairs[0]]
    assert again.trained_on(*ids.T).all()


def test_saving_twice_replaces_the_folder(decider, folder):
    decider.save(folder)
    assert Decider.load(folder).fingerprint == decider.fingerprint


def test_nothing_in_the_folder_is_a_pickle(folder):
    endings = {path.suffix for path in folder.iterdir()}
    assert endings == {".json", ".parquet", ".txt"}


@pytest.mark.parametrize(
    "name", ["vocabulary.parquet", "odds_1.parquet", "first_0.txt", "second_1.txt"]
)
def test_an_altered_or_missing_file_is_named(folder, name):
    path = folder / name
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match=f"{name} is not what was written"):
        Decider.load(folder)
    path.unlink()
    with pytest.raises(ModelError, match=f"{name} is missing"):
        Decider.load(folder)


def test_another_format_is_told(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(ModelError, match="format 99.*train the decider again"):
        Decider.load(folder)


def test_a_fingerprint_that_does_not_fit_is_told(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "fingerprint": "0"}))
    with pytest.raises(ModelError, match="its manifest says 0"):
        Decider.load(folder)


def test_a_manifest_without_its_fields_is_damage(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["settings"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="damaged decider"):
        Decider.load(folder)


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(ModelError, match="holds no decider"):
        Decider.load(tmp_path)


def test_a_decider_may_be_moved(folder, tmp_path, decider):
    shutil.move(folder, tmp_path / "elsewhere")
    assert Decider.load(tmp_path / "elsewhere").fingerprint == decider.fingerprint
    assert np.isfinite(decider.best_f1_probability)
