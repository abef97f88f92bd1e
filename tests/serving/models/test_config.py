"""The configuration files: TensorFlow Serving's text protos, and faults of them."""

from __future__ import annotations

import pytest

from simprod_tf.errors import InputError
from simprod_tf.serving.models.config import (
    models_fault,
    models_of,
    read_batching,
    read_models_config,
    read_monitoring,
    read_ssl,
)

PEM = "-----BEGIN {0}-----\\nAAAA\\n-----END {0}-----\\n"


@pytest.fixture
def written(tmp_path):
    """`written(text)` writes a configuration file and returns its path."""

    def write(text: str):
        path = tmp_path / "some.config"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def model(
    extra: str = "", *, name: str = "shop", base_path: str = "/models/shop"
) -> str:
    return (
        f'model_config_list {{ config {{ name: "{name}" base_path: "{base_path}" '
        f'model_platform: "tensorflow" {extra} }} }}\n'
    )


def test_models_config_has_policy_and_labels(written):
    path = written(
        model(
            "model_version_policy { specific { versions: 3 versions: 5 } } "
            'version_labels { key: "stable" value: 3 } '
            'version_labels { key: "canary" value: 5 }'
        )
    )
    (shop,) = read_models_config(path).model_config_list.config
    assert (shop.name, shop.base_path) == ("shop", "/models/shop")
    assert list(shop.model_version_policy.specific.versions) == [3, 5]
    assert dict(shop.version_labels) == {"stable": 3, "canary": 5}


def test_the_deprecated_model_type_is_a_platform_too(written):
    path = written(model().replace('model_platform: "tensorflow"', "model_type: 1"))
    assert len(read_models_config(path).model_config_list.config) == 1


ONE = 'config { name: "shop" base_path: "/m" model_platform: "tensorflow" }'
TWICE = f"model_config_list {{ {ONE} {ONE} }}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "model_config_list {\n  config { nam: 1 } }",
            "Error parsing text-format tensorflow.serving.ModelServerConfig: 2:12 : "
            'Message type "tensorflow.serving.ModelConfig" has no field named "nam".',
        ),
        ("custom_model_config { }", "expected a model_config_list, got custom_model"),
        ("", "expected a model_config_list, got an empty configuration."),
        (TWICE, "Illegal to list model shop multiple times in config list"),
        (
            model(base_path="models/shop"),
            "Expected model shop to have an absolute path or URI; "
            "got base_path()=models/shop",
        ),
        (model(base_path=""), "Expected model shop to have an absolute path or URI; g"),
        (model(name=""), 'A model has no name; its base_path is "/models/shop".'),
        (
            model().replace('"tensorflow"', '"caffe"'),
            "Model shop requests unsupported platform caffe",
        ),
        (
            model(base_path="/models/\\000shop"),
            "Model shop has a base_path with a NUL character.",
        ),
        (
            model().replace('"tensorflow"', '""'),
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor",
        ),
        (
            model("model_version_policy { specific { } }"),
            "Model shop has a specific version policy without versions.",
        ),
    ],
)
def test_models_config_that_cannot_be_served_is_refused(written, text, reason):
    path = written(text)
    with pytest.raises(InputError) as caught:
        read_models_config(path)
    assert str(caught.value).startswith(f"{path}: {reason}")


@pytest.mark.parametrize("number", [2, 57, -1, -57])
def test_a_model_type_that_is_none_is_refused(number):
    config = models_of({})
    config.model_config_list.config.add(name="shop", base_path="/m", model_type=number)
    text = f"Model shop requests unsupported platform model_type {number}"
    assert models_fault(config) == text


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"models\.config: cannot be read: .*No such"):
        read_models_config(tmp_path / "models.config")


def test_models_of_makes_paths_absolute(tmp_path, monkeypatch):
    (tmp_path / "models" / "shop").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    config = models_of({"shop": "models/shop"})
    (shop,) = config.model_config_list.config
    assert shop.base_path == str(tmp_path / "models" / "shop")
    assert models_fault(config) is None


def test_models_of_nothing_is_an_empty_list():
    assert models_fault(models_of({})) is None


def test_models_of_refuses_a_missing_folder_and_an_empty_name(tmp_path):
    with pytest.raises(InputError, match="expected the folder with the versions of mo"):
        models_of({"shop": tmp_path / "none"})
    with pytest.raises(ValueError, match="A model needs a name"):
        models_of({"": tmp_path})


def test_models_of_refuses_a_folder_of_other_things_than_versions(tmp_path):
    run = tmp_path / "runs" / "both"
    run.mkdir(parents=True)
    models_of({"shop": run})
    for name in ("weights.h5", "manifest.json"):
        (run / name).touch()
    text = (
        r"versions of model shop, 1, 2, \.\.\., got manifest\.json, weights\.h5\. `sim"
    )
    with pytest.raises(InputError, match=text):
        models_of({"shop": run})
    (run / "7").mkdir()
    models_of({"shop": run})


def test_batching_parameters_have_values_or_are_absent(written):
    batching = read_batching(
        written(
            "max_batch_size { value: 8 } batch_timeout_micros { value: 0 }\n"
            "allowed_batch_sizes: [1, 4, 8] pad_variable_length_inputs: true"
        )
    )
    assert batching.max_batch_size.value == 8
    assert batching.HasField("batch_timeout_micros")
    assert not batching.HasField("num_batch_threads")
    assert list(batching.allowed_batch_sizes) == [1, 4, 8]
    assert batching.pad_variable_length_inputs


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("max_batch_size { value: 0 }", "max_batch_size must be at least 1, got 0."),
        (
            "num_batch_threads { value: -1 }",
            "num_batch_threads must be at least 1, got ",
        ),
        ("allowed_batch_sizes: [4, 2]", "allowed_batch_sizes must rise from 1 or more"),
        ("allowed_batch_sizes: [0, 2]", "allowed_batch_sizes must rise from 1 or more"),
        (
            "max_batch_size { value: 8 } allowed_batch_sizes: [2, 4]",
            "the last of allowed_batch_sizes, 4, must be max_batch_size, which is 8.",
        ),
        (
            "allowed_batch_sizes: 4",
            "the last of allowed_batch_sizes, 4, must be max_bat",
        ),
        (
            "max_batch_size: 8",
            "Error parsing text-format tensorflow.serving.BatchingParameters: 1:17",
        ),
    ],
)
def test_batching_that_makes_no_sense_is_refused(written, text, reason):
    path = written(text)
    with pytest.raises(InputError) as caught:
        read_batching(path)
    assert str(caught.value).startswith(f"{path}: {reason}")


def test_metrics_have_a_default_path_and_can_be_off(written):
    path = "prometheus_config { enable: true path: '/metrics' }"
    assert read_monitoring(written(path)) == "/metrics"
    default = read_monitoring(written("prometheus_config { enable: true }"))
    assert default == "/monitoring/prometheus/metrics"
    assert read_monitoring(written("prometheus_config { path: '/metrics' }")) is None
    with pytest.raises(InputError, match='must begin with "/", got "metrics"'):
        read_monitoring(written("prometheus_config { enable: true path: 'metrics' }"))


def test_ssl_holds_pem_texts(written):
    text = f'server_key: "{PEM.format("KEY")}" server_cert: "{PEM.format("CERT")}"'
    ssl = read_ssl(written(text))
    assert ssl.server_key == PEM.format("KEY").replace("\\n", "\n")
    assert not ssl.client_verify
    with pytest.raises(InputError, match="custom_ca must hold a PEM text itself"):
        read_ssl(written(f"{text} client_verify: true"))
    with pytest.raises(InputError, match="server_key must hold a PEM text itself"):
        read_ssl(written('server_key: "/etc/ssl/key.pem"'))
