"""Which versions of a folder are served, and how they come and go while it changes."""

from __future__ import annotations

import shutil

import grpc
import pytest

NOT_FOUND = grpc.StatusCode.NOT_FOUND
ALL = "model_version_policy { all { } }"


@pytest.mark.parametrize(
    ("policy", "served"),
    [
        ("", {3}),
        ("model_version_policy { latest { } }", {3}),
        ("model_version_policy { latest { num_versions: 2 } }", {2, 3}),
        ("model_version_policy { latest { num_versions: 9 } }", {1, 2, 3}),
        (ALL, {1, 2, 3}),
        ("model_version_policy { specific { versions: 1 versions: 3 } }", {1, 3}),
        # One that is not there is not waited for.
        ("model_version_policy { specific { versions: 2 versions: 9 } }", {2}),
    ],
)
def test_the_policy_chooses(target, new_model, policy, served):
    model = new_model()
    for version in (1, 2, 3):
        model.put(version)
    model.serve(policy)
    target.until(lambda: model.states() == dict.fromkeys(served, "AVAILABLE"))
    assert model.answer()[0] == max(served)


def test_a_version_that_appears_takes_over(target, new_model):
    model = new_model()
    model.put(1)
    model.serve()
    assert model.answer() == (1, 2.0)
    model.put(2, add=3.0)
    target.until(lambda: model.states() == {1: "END", 2: "AVAILABLE"})
    assert model.answer() == (2, 3.0)
    text = target.refused(NOT_FOUND, model.answer, version=1)
    assert text.startswith(f"Servable not found for request: Specific({model.name}, 1)")


def test_some_version_answers_at_every_moment_of_a_change(target, new_model):
    model = new_model()
    model.put(1)
    model.serve()
    seen = {model.answer()}
    model.put(2, add=3.0)

    def changed():
        seen.add(model.answer())
        return (2, 3.0) in seen

    target.until(changed)
    assert seen == {(1, 2.0), (2, 3.0)}


def test_an_older_version_that_appears_changes_nothing(target, new_model):
    model, later = new_model(), new_model()
    model.put(5)
    later.put(1)
    target.reload(model.config(), later.config())
    model.put(3)
    looked_again(target, later)
    assert model.states() == {5: "AVAILABLE"}


def test_several_at_once_are_all_served_under_the_policy_all(target, new_model):
    model = new_model()
    model.put(1)
    model.serve(ALL)
    for version in (2, 3):
        model.put(version)
    target.until(
        lambda: model.states() == {1: "AVAILABLE", 2: "AVAILABLE", 3: "AVAILABLE"}
    )


def test_a_folder_that_is_renamed_is_another_version(target, new_model):
    model = new_model()
    folder = model.put(1)
    model.serve()
    folder.rename(folder.with_name("3"))
    target.until(lambda: model.states() == {1: "END", 3: "AVAILABLE"})
    assert model.answer() == (3, 2.0)


def test_a_version_that_is_removed_goes_while_another_serves(target, new_model):
    model = new_model()
    model.put(1)
    newest = model.put(2, add=3.0)
    model.serve(ALL)
    target.until(lambda: model.states() == {1: "AVAILABLE", 2: "AVAILABLE"})
    shutil.rmtree(newest)
    target.until(lambda: model.states() == {1: "AVAILABLE", 2: "END"})
    assert model.answer() == (1, 2.0)


def looked_again(target, other):
    """Returns once the server has looked at all folders after now.

    A look that is under way finds a new version of `other`, perhaps; the look that
    finds the one after that began later than now.
    """
    for newest in (max(other.states()) + 1, max(other.states()) + 2):
        other.put(newest)
        target.until(lambda newest=newest: other.states().get(newest) == "AVAILABLE")


def test_the_last_version_serves_on_when_its_folder_is_emptied(target, new_model):
    model, later = new_model(), new_model()
    folder = model.put(1)
    later.put(1)
    target.reload(model.config(), later.config())
    shutil.rmtree(folder)
    looked_again(target, later)
    assert model.states() == {1: "AVAILABLE"}
    assert model.answer() == (1, 2.0)


def test_only_folders_with_numbers_for_names_are_versions(target, new_model):
    model = new_model()
    model.put(1)
    for name in ("v2", "3.tmp", "-4", "best"):
        model.put(name, add=3.0)
    model.serve(ALL)
    assert model.states() == {1: "AVAILABLE"}


def test_leading_zeros_count_for_nothing(target, new_model):
    model = new_model()
    model.put("007", add=3.0)
    model.serve()
    assert model.states() == {7: "AVAILABLE"}
    assert model.answer(version=7) == (7, 3.0)


def no_model(folder):
    (folder / "saved_model.pb").write_bytes(b"no SavedModel")


def no_variables(folder):
    shutil.rmtree(folder / "variables")


@pytest.mark.parametrize("damage", [no_model, no_variables])
def test_a_broken_version_leaves_the_old_one_serving(target, new_model, damage):
    model = new_model()
    model.put(1)
    model.serve()
    model.put(2, add=3.0, extra=damage)
    target.until(lambda: model.states() == {1: "AVAILABLE", 2: "END"})
    (failed,) = target.status(model.name, version=2)
    assert failed.status.error_code != 0
    assert failed.status.error_message
    assert model.answer() == (1, 2.0)
    model.put(3, add=3.0)
    target.until(lambda: model.states().get(3) == "AVAILABLE")
    assert model.answer() == (3, 3.0)
