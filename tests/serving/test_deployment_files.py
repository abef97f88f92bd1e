"""The files of serving/: parsed by their protos, checked against each other."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

ROOT = Path(__file__).resolve().parents[2]
SERVING = ROOT / "serving"
README = (SERVING / "README.md").read_text(encoding="utf-8")
IMAGE = "tensorflow/serving:2.15.1"
METRICS = "/monitoring/prometheus/metrics"
# What kubelet's and Docker's mounts put before the files' names.
CONFIG, MODELS = "/config/", "/models/"


def text_of(name):
    return (SERVING / name).read_text(encoding="utf-8")


def documents(name):
    return [one for one in yaml.safe_load_all(text_of(name)) if one is not None]


def model_config(name):
    return text_format.Parse(text_of(name), ModelServerConfig())


@pytest.fixture(scope="module")
def compose():
    (found,) = documents("docker-compose.yml")
    return found["services"]


@pytest.fixture(scope="module")
def kubernetes():
    return {one["kind"]: one for one in documents("kubernetes.yaml")}


@pytest.fixture(scope="module")
def pod(kubernetes):
    return kubernetes["Deployment"]["spec"]["template"]["spec"]


@pytest.fixture(scope="module")
def container(pod):
    (found,) = pod["containers"]
    return found


@pytest.mark.parametrize("name", ["models.config", "models.canary.config"])
def test_models_are_specific_versions_with_labels_on_them(name):
    models = model_config(name).model_config_list.config
    assert [one.name for one in models] == ["shop", "neighbours"]
    for one in models:
        assert one.base_path == MODELS + one.name
        assert one.model_platform == "tensorflow"
        versions = set(one.model_version_policy.specific.versions)
        assert set(one.version_labels) == {"stable", "canary"}
        assert set(one.version_labels.values()) <= versions


def test_the_first_configuration_needs_version_1_alone():
    for one in model_config("models.config").model_config_list.config:
        assert list(one.model_version_policy.specific.versions) == [1]


def test_batching_is_what_tensorflow_serving_accepts():
    from simprod_tf.serving.models.config import read_batching

    found = read_batching(SERVING / "batching.config")
    sizes = list(found.allowed_batch_sizes)
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == found.max_batch_size.value == 32
    assert found.batch_timeout_micros.value == 2000
    assert found.num_batch_threads.value == 4


def test_prometheus_scrapes_where_the_metrics_are(compose, kubernetes):
    from simprod_tf.serving.models.config import read_monitoring

    assert read_monitoring(SERVING / "monitoring.config") == METRICS
    (job,) = documents("prometheus.yml")[0]["scrape_configs"]
    assert job["metrics_path"] == METRICS
    (target,) = job["static_configs"][0]["targets"]
    host, port = target.split(":")
    assert host in compose
    assert f"127.0.0.1:{port}:{port}" in compose[host]["ports"]
    template = kubernetes["Deployment"]["spec"]["template"]["metadata"]
    assert template["annotations"]["prometheus.io/path"] == METRICS
    assert template["annotations"]["prometheus.io/port"] == port


def test_the_ssl_template_takes_pem_files_by_its_own_command(tmp_path):
    from simprod_tf.serving.models.config import read_ssl

    pems = {
        name: f"-----BEGIN {name}-----\nAb+/{name}==\n-----END {name}-----\n"
        for name in ("server.key", "server.crt", "clients-ca.crt")
    }
    for name, text in pems.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    shutil.copy(SERVING / "ssl.config.template", tmp_path)
    (command,) = re.findall(
        r"^#   (awk .*?> ssl\.config)$",
        text_of("ssl.config.template"),
        re.DOTALL | re.MULTILINE,
    )
    # Its comment signs go; what is left is a shell command over several lines.
    command = re.sub(r"^# ", "", command, flags=re.MULTILINE)
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True)
    found = read_ssl(tmp_path / "ssl.config")
    assert found.server_key == pems["server.key"]
    assert found.server_cert == pems["server.crt"]
    assert found.custom_ca == pems["clients-ca.crt"]
    assert found.client_verify


def test_all_files_name_the_same_image(compose, container):
    assert compose["tensorflow-serving"]["image"] == IMAGE
    assert container["image"] == IMAGE
    predictor = documents("kserve.yaml")[0]["spec"]["predictor"]
    assert predictor["model"]["runtimeVersion"] == IMAGE.split(":")[1]
    assert set(re.findall(r"tensorflow/serving:[\w.]+", README)) == {IMAGE}


def test_every_server_gets_the_same_flags_and_files_that_are_there(compose, container):
    readme = README.replace("\\\n", " ")
    (docker,) = re.findall(rf"{IMAGE} (--model_config_file=/config.*)", readme)
    flags = set(compose["tensorflow-serving"]["command"])
    assert flags == set(container["args"]) == set(docker.split())
    # Labels in the first configuration are refused without it.
    assert "--allow_version_labels_for_unavailable_models=true" in flags
    files = [flag.split("=")[1] for flag in flags if CONFIG in flag]
    assert len(files) == 2
    for path in files:
        assert (SERVING / path[len(CONFIG) :]).is_file()


def test_models_are_mounted_where_the_configuration_looks_and_read_only(
    compose, pod, container
):
    volumes = compose["tensorflow-serving"]["volumes"]
    assert volumes == ["../saved_models:/models:ro", ".:/config:ro"]
    assert volumes[0].split(":")[1] + "/" == MODELS
    mounts = {one["name"]: one for one in container["volumeMounts"]}
    assert {one["mountPath"] + "/" for one in mounts.values()} == {CONFIG, MODELS}
    assert all(one["readOnly"] for one in mounts.values())
    assert {one["name"] for one in pod["volumes"]} == set(mounts)


def test_the_config_map_of_the_head_has_the_files_that_the_pod_uses(pod, container):
    head = text_of("kubernetes.yaml").split("apiVersion")[0]
    files = {Path(path).name for path in re.findall(r"--from-file=(\S+)", head)}
    used = " ".join(container["args"] + container["readinessProbe"]["exec"]["command"])
    assert files == set(re.findall(rf"{CONFIG}([\w.]+)", used))
    (config,) = [one for one in pod["volumes"] if one["name"] == "config"]
    assert f"configmap {config['configMap']['name']} " in head


def test_ports_agree(compose, kubernetes, container):
    named = {one["name"]: one["containerPort"] for one in container["ports"]}
    assert named == {"grpc": 8500, "rest": 8501}
    service = kubernetes["Service"]["spec"]["ports"]
    assert {one["targetPort"]: one["port"] for one in service} == named
    assert container["livenessProbe"]["tcpSocket"]["port"] in named
    assert compose["tensorflow-serving"]["ports"] == [
        f"127.0.0.1:{port}:{port}" for port in named.values()
    ]


def test_service_and_autoscaler_choose_the_deployment(kubernetes):
    deployment = kubernetes["Deployment"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert kubernetes["Service"]["spec"]["selector"] == labels
    scaler = kubernetes["HorizontalPodAutoscaler"]["spec"]
    target = scaler["scaleTargetRef"]
    assert [target[key] for key in ("apiVersion", "kind")] == ["apps/v1", "Deployment"]
    assert target["name"] == deployment["metadata"]["name"]
    assert scaler["minReplicas"] <= deployment["spec"]["replicas"]
    assert scaler["minReplicas"] < scaler["maxReplicas"]


def test_a_stopping_pod_has_time_for_its_requests(pod, container):
    (sleep, seconds) = container["lifecycle"]["preStop"]["exec"]["command"]
    assert sleep == "sleep"
    assert pod["terminationGracePeriodSeconds"] > int(seconds)
    # A probe that hangs is over before the next one.
    for name in ("readinessProbe", "startupProbe", "livenessProbe"):
        assert container[name]["timeoutSeconds"] < container[name]["periodSeconds"]


def test_no_container_may_become_root(compose, pod, container):
    server = compose["tensorflow-serving"]
    assert server["read_only"]
    assert server["cap_drop"] == container["securityContext"]["capabilities"]["drop"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert not container["securityContext"]["allowPrivilegeEscalation"]
    assert container["securityContext"]["readOnlyRootFilesystem"]


def test_probes_ask_for_the_models_of_the_configuration(compose, container):
    names = [one.name for one in model_config("models.config").model_config_list.config]
    command = ["bash", "/config/ready.sh", *names]
    assert compose["tensorflow-serving"]["healthcheck"]["test"] == ["CMD", *command]
    for probe in ("readinessProbe", "startupProbe"):
        assert container[probe]["exec"]["command"] == command
    assert f"bash serving/ready.sh {' '.join(names)}" in README


@pytest.fixture(scope="module")
def status_pages():
    """A server of status pages; `pages[model]` is a model's state, told with 200."""
    pages = {}

    class Pages(BaseHTTPRequestHandler):
        # It keeps connections open unless it is asked to close them, as servers do.
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            name = self.path.split("/")[-1]
            form = '{\n "model_version_status": [\n  {\n   "version": "1",\n   %s,\n'
            body = (form % f'"state": "{pages.get(name)}"').encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port, pages
    server.shutdown()
    thread.join()
    server.server_close()


def readiness(command, port):
    command = [part.replace(CONFIG, f"{SERVING}/") for part in command]
    environment = {"REST_PORT": str(port), "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        command, env=environment, timeout=20, capture_output=True, check=False
    ).returncode


@pytest.mark.parametrize("state", ["START", "LOADING", "UNLOADING", "END"])
def test_a_pod_with_a_model_that_cannot_answer_is_not_ready(
    container, status_pages, state
):
    port, pages = status_pages
    pages.update(shop="AVAILABLE", neighbours=state)
    assert readiness(container["readinessProbe"]["exec"]["command"], port) == 1


def test_a_pod_whose_models_are_available_is_ready(container, status_pages):
    port, pages = status_pages
    pages.update(shop="AVAILABLE", neighbours="AVAILABLE")
    assert readiness(container["readinessProbe"]["exec"]["command"], port) == 0


def test_a_pod_that_does_not_listen_is_not_ready(container, status_pages):
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as closed:
        free = closed.server_port
    assert readiness(container["readinessProbe"]["exec"]["command"], free) == 1


def test_dockerfile_copies_what_is_there_and_starts_our_server():
    import typer

    from simprod_tf.cli import app

    lines = re.sub(r"\\\n\s*", " ", text_of("Dockerfile.scann")).splitlines()
    lines = [line.split(" ", 1) for line in lines if line and not line.startswith("#")]
    assert lines[0] == ["FROM", "python:3.11-slim"]
    for _, what in [line for line in lines if line[0] == "COPY"]:
        for name in what.split()[:-1]:
            assert (ROOT / name).exists(), name
    words = [yaml.safe_load(dict(lines)[key]) for key in ("ENTRYPOINT", "CMD")]
    started = words[0] + words[1]
    assert started[:2] == ["simprod", "serve"]
    command = typer.main.get_command(app).commands["serve"]
    known = {flag for one in command.params for flag in one.opts + one.secondary_opts}
    assert {word for word in started if word.startswith("--")} <= known
    assert dict(lines)["USER"] == "simprod"


def test_the_readme_shows_commands_and_signatures_that_are_there():
    import typer

    from simprod_tf.cli import app

    joined = README.replace("\\\n", " ").replace("`", "\n")
    commands = typer.main.get_command(app).commands
    shown = re.findall(r"simprod ([a-z]+(?:-[a-z]+)* .*)", joined)
    assert len(shown) >= 6
    for line in shown:
        known = {
            flag
            for one in commands[line.split()[0]].params
            for flag in one.opts + one.secondary_opts
        }
        assert set(re.findall(r"--[a-z][a-z-]*", line)) <= known, line
    for path in re.findall(r"`([\w.]+\.(?:sh|yaml|config|template))`", README):
        assert path == "ssl.config" or (SERVING / path).is_file(), path
