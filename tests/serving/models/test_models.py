"""The models of a server: started, polled, reloaded and lent while all that goes on."""

from __future__ import annotations

import logging
import threading
import time

import grpc
import numpy as np
import pytest
from google.protobuf import text_format
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from simprod_tf.serving.models.models import Models
from simprod_tf.serving.models.servable import Servable
from simprod_tf.serving.status import ServingError

# Fails a test that hangs; none waits for it otherwise.
PATIENCE = 60.0
POLL = 0.02


def config_of(folders, extra=""):
    """Returns models by name, with a policy or labels for all of them."""
    models = " ".join(
        f'config {{ name: "{name}" base_path: "{folder}" model_platform: "tensorflow" '
        f"{extra} }}"
        for name, folder in folders.items()
    )
    text = f"model_config_list {{ {models} }}"
    return text_format.Parse(text, ModelServerConfig())


def until(condition):
    """Returns when a condition holds; the manager's threads have no events to show."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "the condition never came to hold"
        time.sleep(0.005)


def spec_of(name="shop", version=None, label=None):
    spec = ModelSpec(name=name)
    if version is not None:
        spec.version.value = version
    if label is not None:
        spec.version_label = label
    return spec


def refused(call, *arguments, **options):
    with pytest.raises(ServingError) as caught:
        call(*arguments, **options)
    return caught.value.code, caught.value.message


@pytest.fixture
def started():
    """`started(config, **options)` returns Models that serve; they are closed after."""
    opened = []

    def start(config, **options):
        options.setdefault("poll_seconds", POLL)
        opened.append(Models(config, **options))
        opened[-1].start(PATIENCE)
        return opened[-1]

    yield start
    for models in opened:
        models.close()


def version_of(models, **choice):
    with models.lease(spec_of(**choice)) as servable:
        return servable.version


def states(models, name="shop"):
    found = models.status(name, None)
    return {one.version: ModelVersionStatus.State.Name(one.state) for one in found}


def answer(models, **choice):
    with models.lease(spec_of(**choice)) as servable:
        (y,) = servable.run("serving_default", {"x": np.float32([4])}, ["y"])
    return float(y[0])


def test_requests_get_the_newest_the_numbered_or_the_labelled_version(
    started, tiny_model, tmp_path
):
    tiny_model(tmp_path, 1)
    tiny_model(tmp_path, 10, add=3.0)
    shop = {"shop": tmp_path}
    models = started(config_of(shop, "model_version_policy { all { } }"))
    assert models.names() == ["shop"]
    labels = 'version_labels { key: "stable" value: 1 }'
    models.reload(config_of(shop, f"model_version_policy {{ all {{ }} }} {labels}"))
    assert answer(models) == 4 / 2 + 3
    assert answer(models, version=1) == answer(models, label="stable") == 4 / 2 + 2
    assert refused(version_of, models, label="canary") == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "Unrecognized servable version label: canary",
    )
    assert refused(version_of, models, version=9) == (
        grpc.StatusCode.NOT_FOUND,
        "Servable not found for request: Specific(shop, 9)",
    )
    assert refused(version_of, models, name="mug") == (
        grpc.StatusCode.NOT_FOUND,
        "Servable not found for request: Latest(mug)",
    )
    assert refused(version_of, models, name="") == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "ModelSpec has no name specified.",
    )
    assert refused(models.status, "shop", 9)[1] == (
        "Could not find version 9 of model shop"
    )


def test_a_new_version_takes_over_without_a_failed_request(
    started, tiny_model, tmp_path
):
    tiny_model(tmp_path, 1)
    models = started(config_of({"shop": tmp_path}))
    stop, answers, errors = threading.Event(), [set(), set(), set()], []

    def ask(seen):
        try:
            while not stop.is_set():
                seen.add(answer(models))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=ask, args=(seen,)) for seen in answers]
    for thread in threads:
        thread.start()
    try:
        tiny_model(tmp_path, 2, add=3.0)
        until(lambda: states(models) == {2: "AVAILABLE", 1: "END"})
        until(lambda: all(5.0 in seen for seen in answers))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert errors == []
    assert set.union(*answers) == {4.0, 5.0}


def test_an_old_version_is_closed_when_its_last_request_is_done(
    started, tiny_model, tmp_path
):
    tiny_model(tmp_path, 1)
    models = started(config_of({"shop": tmp_path}))
    with models.lease(spec_of()) as old:
        tiny_model(tmp_path, 2, add=3.0)
        until(lambda: version_of(models) == 2)
        assert states(models) == {2: "AVAILABLE", 1: "UNLOADING"}
        (y,) = old.run("serving_default", {"x": np.float32([4])}, ["y"])
        assert y == 4
    until(lambda: states(models) == {2: "AVAILABLE", 1: "END"})


def test_a_broken_version_leaves_the_old_one_serving_until_it_is_mended(
    started, tiny_model, tmp_path, caplog
):
    tiny_model(tmp_path, 1)
    models = started(config_of({"shop": tmp_path}))
    (tmp_path / "aside").mkdir()
    (tmp_path / "aside" / "saved_model.pb").write_text("no model")
    with caplog.at_level(logging.ERROR, logger="simprod_tf"):
        (tmp_path / "aside").rename(tmp_path / "2")
        until(lambda: states(models).get(2) == "END" and caplog.records)
    assert answer(models) == 4
    (status,) = models.status("shop", 2)
    assert "2 cannot be loaded: " in status.status.error_message
    assert caplog.records[0].message.startswith("Cannot load shop version 2: ")
    (tmp_path / "2").rename(tmp_path / "broken")
    tiny_model(tmp_path, 2, add=3.0)
    until(lambda: states(models) == {2: "AVAILABLE", 1: "END"})


def test_a_version_that_appears_late_is_waited_for(tiny_model, tmp_path):
    models = Models(config_of({"shop": tmp_path}), poll_seconds=POLL)
    starting = threading.Thread(target=models.start, args=(PATIENCE,))
    starting.start()
    tiny_model(tmp_path, 1)
    starting.join()
    assert answer(models) == 4
    models.close()


def test_what_cannot_start_is_told_and_closed(tiny_model, tmp_path):
    empty, broken = tmp_path / "empty", tmp_path / "broken"
    for folder in (empty, broken / "1"):
        folder.mkdir(parents=True)
    (broken / "1" / "saved_model.pb").write_text("no model")
    tiny_model(tmp_path / "good", 1)
    for folder, poll, text in (
        (
            tmp_path / "none",
            POLL,
            "{name: shop} due to error: Could not find base path",
        ),
        (empty, 0.0, "{name: shop} due to error: No versions of servable shop found u"),
        (
            broken,
            POLL,
            f"{{name: shop version: 1}} due to error: {broken}/1 cannot be ",
        ),
    ):
        models = Models(
            config_of({"good": tmp_path / "good", "shop": folder}), poll_seconds=poll
        )
        code, message = refused(models.start, PATIENCE)
        assert code is grpc.StatusCode.UNKNOWN
        start = "1 servable(s) did not become available: {{"
        assert message.startswith(start + text)
        assert refused(version_of, models, name="good")[0] is grpc.StatusCode.NOT_FOUND


def test_a_start_that_lasts_too_long_says_what_is_missing(tmp_path):
    models = Models(config_of({"shop": tmp_path}), poll_seconds=POLL)
    code, message = refused(models.start, 0.1)
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert message == (
        "The models are not loaded after 0.1 s. No versions of servable shop found "
        f"under base path {tmp_path}"
    )


def test_labels_of_the_first_configuration_wait_only_where_allowed(
    started, tiny_model, tmp_path
):
    tiny_model(tmp_path, 1)
    labelled = config_of(
        {"shop": tmp_path}, 'version_labels { key: "stable" value: 1 }'
    )
    code, message = refused(Models(labelled).start)
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert message.startswith("Request to assign label to version 1 of model shop, whi")
    models = started(labelled, allow_labels_for_unavailable=True)
    assert version_of(models, label="stable") == 1


def test_reload_adds_moves_and_unloads_models(started, tiny_model, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    tiny_model(first, 1)
    tiny_model(second, 1, add=3.0)
    models = started(config_of({"shop": first}), poll_seconds=0.0)
    models.reload(config_of({"shop": first, "mug": second}), timeout=PATIENCE)
    assert (answer(models, name="shop"), answer(models, name="mug")) == (4, 5)
    models.reload(config_of({"shop": second}), timeout=PATIENCE)
    assert answer(models, name="shop") == 5
    assert refused(version_of, models, name="mug")[1] == (
        "Servable not found for request: Latest(mug)"
    )
    assert states(models, "mug") == {1: "END"}
    models.reload(config_of({"mug": first}), timeout=PATIENCE)
    assert (models.names(), answer(models, name="mug")) == (["mug"], 4)


def test_a_refused_reload_changes_nothing(started, tiny_model, tmp_path):
    tiny_model(tmp_path, 1)
    shop = {"shop": tmp_path}
    models = started(config_of(shop))
    label = 'version_labels { key: "stable" value: 2 }'
    twice = config_of(shop)
    twice.model_config_list.config.add().CopyFrom(twice.model_config_list.config[0])
    for config, code, text in (
        (twice, grpc.StatusCode.INVALID_ARGUMENT, "Illegal to list model shop multipl"),
        (
            config_of({"mug": "models/mug"}),
            grpc.StatusCode.INVALID_ARGUMENT,
            "Expected model mug to have an absolute path or URI; got base_path()=mode",
        ),
        (
            ModelServerConfig(),
            grpc.StatusCode.INVALID_ARGUMENT,
            "expected a model_config_list, got an empty configuration.",
        ),
        (
            config_of(shop, label),
            grpc.StatusCode.FAILED_PRECONDITION,
            "Request to assign label to version 2 of model shop, which is not current",
        ),
    ):
        found_code, message = refused(models.reload, config)
        assert (found_code, message[: len(text)]) == (code, text)
        assert (models.names(), version_of(models)) == (["shop"], 1)


def test_a_new_model_that_cannot_be_loaded_fails_the_reload_but_stays_listed(
    started, tiny_model, tmp_path
):
    shop, mug = tmp_path / "shop", tmp_path / "mug"
    tiny_model(shop, 1)
    models = started(config_of({"shop": shop}))
    code, message = refused(models.reload, config_of({"shop": shop, "mug": mug}))
    assert code is grpc.StatusCode.UNKNOWN
    assert message == (
        "1 model(s) did not become available: {{{name: mug} due to error: Could not "
        f"find base path {mug} for servable mug: No such file or directory}}, }}"
    )
    tiny_model(mug, 1)
    until(lambda: states_or_none(models, "mug") == {1: "AVAILABLE"})


def states_or_none(models, name):
    try:
        return states(models, name)
    except ServingError:
        return None


def test_a_reload_that_lasts_too_long_goes_on(started, tiny_model, tmp_path):
    tiny_model(tmp_path, 1)
    may_load = threading.Event()
    may_load.set()

    def load(name, version, folder):
        assert may_load.wait(PATIENCE)
        return Servable.load(name, version, folder)

    models = started(config_of({"shop": tmp_path}), load=load)
    may_load.clear()
    try:
        both = config_of({"shop": tmp_path, "mug": tmp_path})
        code, _ = refused(models.reload, both, timeout=0.05)
        assert code is grpc.StatusCode.DEADLINE_EXCEEDED
        # Nobody waits for a model that is being loaded.
        assert version_of(models, name="shop") == 1
        assert states(models, "mug") == {1: "LOADING"}
    finally:
        may_load.set()
    until(lambda: states(models, "mug") == {1: "AVAILABLE"})


def test_the_file_of_the_configuration_is_followed(
    started, tiny_model, tmp_path, caplog
):
    tiny_model(tmp_path / "shop", 1)
    path = tmp_path / "models.config"
    config = config_of({"shop": tmp_path / "shop"})
    path.write_text(text_format.MessageToString(config))
    models = started(config, config_path=path, config_poll_seconds=POLL)
    with caplog.at_level(logging.ERROR, logger="simprod_tf"):
        path.write_text("model_config_list { config { nam")
        until(lambda: caplog.records)
    assert caplog.records[0].message.startswith("Keeps its configuration: ")
    assert version_of(models) == 1
    both = config_of({"shop": tmp_path / "shop", "mug": tmp_path / "shop"})
    path.write_text(text_format.MessageToString(both))
    until(lambda: states_or_none(models, "mug") == {1: "AVAILABLE"})
    assert models.names() == ["shop", "mug"]


def test_the_file_is_not_read_again_where_its_poll_is_0(started, tiny_model, tmp_path):
    tiny_model(tmp_path / "shop", 1)
    path = tmp_path / "models.config"
    path.write_text("no configuration at all")
    models = started(config_of({"shop": tmp_path / "shop"}), config_path=path)
    assert "simprod-models-config" not in {one.name for one in threading.enumerate()}
    assert models.names() == ["shop"]


def test_folders_are_looked_at_once_where_their_poll_is_0(
    started, tiny_model, tmp_path
):
    tiny_model(tmp_path, 1)
    config = config_of({"shop": tmp_path})
    models = started(config, poll_seconds=0.0)
    tiny_model(tmp_path, 2, add=3.0)
    assert version_of(models) == 1
    models.reload(config, timeout=PATIENCE)
    assert version_of(models) == 2


def test_close_unloads_and_a_last_request_may_finish(tiny_model, tmp_path):
    tiny_model(tmp_path, 1)
    models = Models(config_of({"shop": tmp_path}), poll_seconds=POLL)
    models.start(PATIENCE)
    with models.lease(spec_of()) as servable:
        models.close()
        (y,) = servable.run("serving_default", {"x": np.float32([4])}, ["y"])
        assert y == 4
        assert states(models) == {1: "UNLOADING"}
    assert states(models) == {1: "END"}
    assert refused(version_of, models)[0] is grpc.StatusCode.NOT_FOUND
    assert refused(models.reload, config_of({"shop": tmp_path})) == (
        grpc.StatusCode.UNAVAILABLE,
        "The server is closing.",
    )
    models.close()


def test_before_the_start_labels_are_unavailable(tmp_path):
    models = Models(config_of({"shop": tmp_path}))
    assert refused(version_of, models, label="stable") == (
        grpc.StatusCode.UNAVAILABLE,
        "Model labels does not init yet.",
    )


def test_settings_that_make_no_sense_are_a_mistake(tmp_path):
    config = config_of({"shop": tmp_path})
    with pytest.raises(ValueError, match="must be 0 or more, got -1 and 0"):
        Models(config, poll_seconds=-1)
    with pytest.raises(ValueError, match="config_poll_seconds needs a config_path"):
        Models(config, config_poll_seconds=1.0)
    assert refused(Models, ModelServerConfig())[0] is grpc.StatusCode.INVALID_ARGUMENT
