"""The YAML files of serving/: they fit the schemas of what they use."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml

SERVING = Path(__file__).resolve().parents[2] / "serving"


def documents(name):
    text = (SERVING / name).read_text(encoding="utf-8")
    return [one for one in yaml.safe_load_all(text) if one is not None]


# Schemas of what the files use; a key that is not named here is refused.


def one_of(*values):
    return {"enum": list(values)}


def record(required=(), **properties):
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def list_of(items):
    return {"type": "array", "items": items, "minItems": 1}


def whole(**properties):
    """A record that has every one of its keys."""
    return record(required=tuple(properties), **properties)


STRING, BOOL = {"type": "string"}, {"type": "boolean"}
COUNT = {"type": "integer", "minimum": 1}
NAME = {"type": "string", "pattern": "^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$"}
WORDS = list_of(STRING)
LABELS = {"type": "object", "additionalProperties": STRING, "minProperties": 1}
SECONDS = {"type": "string", "pattern": "^[1-9][0-9]*(ms|s|m)$"}
PUBLISHED = {"type": "string", "pattern": r"^(\d+(\.\d+){3}:)?\d{2,5}:\d{2,5}$"}
MOUNT = {"type": "string", "pattern": "^[^:]+:/[^:]*:ro$"}
# A tag of numbers: `latest` would be another server tomorrow.
PINNED = {"type": "string", "pattern": r"^[a-z0-9./-]+:v?\d+\.\d+\.\d+$"}
AMOUNT = {"type": "string", "pattern": r"^\d+(m|Ki|Mi|Gi)?$"}
RESOURCES = record(
    requests=whole(cpu=AMOUNT, memory=AMOUNT),
    limits=record(("memory",), cpu=AMOUNT, memory=AMOUNT),
)

# https://github.com/compose-spec/compose-spec/blob/main/spec.md
COMPOSE = whole(
    services={
        "type": "object",
        "additionalProperties": record(
            ("image",),
            image=PINNED,
            init=BOOL,
            command=WORDS,
            ports=list_of(PUBLISHED),
            volumes=list_of(MOUNT),
            user={"type": "string", "pattern": "^[1-9][0-9]*:[1-9][0-9]*$"},
            read_only=BOOL,
            cap_drop=WORDS,
            security_opt=WORDS,
            healthcheck=whole(
                test=WORDS,
                interval=SECONDS,
                timeout=SECONDS,
                retries=COUNT,
                start_period=SECONDS,
            ),
            depends_on={
                "type": "object",
                "additionalProperties": whole(
                    condition=one_of("service_started", "service_healthy")
                ),
            },
            restart=one_of("no", "always", "on-failure", "unless-stopped"),
        ),
    }
)

# https://prometheus.io/docs/prometheus/latest/configuration/configuration/
PROMETHEUS = whole(
    scrape_configs=list_of(
        whole(
            job_name=STRING,
            scrape_interval=SECONDS,
            metrics_path={"type": "string", "pattern": "^/"},
            static_configs=list_of(whole(targets=WORDS)),
        )
    )
)

# https://kubernetes.io/docs/reference/kubernetes-api/
PROBE = record(
    ("periodSeconds", "timeoutSeconds", "failureThreshold"),
    exec=whole(command=WORDS),
    tcpSocket=whole(port={"type": ["string", "integer"]}),
    periodSeconds=COUNT,
    timeoutSeconds=COUNT,
    failureThreshold=COUNT,
)
CONTAINER = whole(
    name=NAME,
    image=PINNED,
    args=WORDS,
    ports=list_of(whole(name=NAME, containerPort=COUNT)),
    readinessProbe=PROBE,
    startupProbe=PROBE,
    livenessProbe=PROBE,
    lifecycle=whole(preStop=whole(exec=whole(command=WORDS))),
    resources=RESOURCES,
    securityContext=whole(
        allowPrivilegeEscalation=BOOL,
        readOnlyRootFilesystem=BOOL,
        capabilities=whole(drop=WORDS),
    ),
    volumeMounts=list_of(whole(name=NAME, mountPath=STRING, readOnly=BOOL)),
)
POD = whole(
    automountServiceAccountToken=BOOL,
    securityContext=whole(
        runAsNonRoot=BOOL,
        runAsUser=COUNT,
        runAsGroup=COUNT,
        fsGroup=COUNT,
        seccompProfile=whole(type=one_of("RuntimeDefault", "Unconfined")),
    ),
    terminationGracePeriodSeconds=COUNT,
    containers=list_of(CONTAINER),
    volumes=list_of(
        record(
            ("name",),
            name=NAME,
            persistentVolumeClaim=whole(claimName=NAME, readOnly=BOOL),
            configMap=whole(name=NAME),
        )
    ),
)
KUBERNETES = {
    "Deployment": whole(
        apiVersion=one_of("apps/v1"),
        kind=STRING,
        metadata=whole(name=NAME, labels=LABELS),
        spec=whole(
            replicas=COUNT,
            selector=whole(matchLabels=LABELS),
            strategy=whole(
                type=one_of("RollingUpdate"),
                rollingUpdate=whole(
                    maxUnavailable={"type": "integer", "minimum": 0}, maxSurge=COUNT
                ),
            ),
            template=whole(metadata=whole(labels=LABELS, annotations=LABELS), spec=POD),
        ),
    ),
    "Service": whole(
        apiVersion=one_of("v1"),
        kind=STRING,
        metadata=whole(name=NAME, labels=LABELS),
        spec=whole(
            clusterIP=one_of("None"),
            selector=LABELS,
            ports=list_of(
                whole(name=NAME, port=COUNT, targetPort={"type": ["string", "integer"]})
            ),
        ),
    ),
    "HorizontalPodAutoscaler": whole(
        apiVersion=one_of("autoscaling/v2"),
        kind=STRING,
        metadata=whole(name=NAME),
        spec=whole(
            scaleTargetRef=whole(apiVersion=STRING, kind=STRING, name=NAME),
            minReplicas=COUNT,
            maxReplicas=COUNT,
            metrics=list_of(
                whole(
                    type=one_of("Resource"),
                    resource=whole(
                        name=one_of("cpu", "memory"),
                        target=whole(
                            type=one_of("Utilization"),
                            averageUtilization={**COUNT, "maximum": 100},
                        ),
                    ),
                )
            ),
        ),
    ),
}

# https://kserve.github.io/website/latest/reference/api/
KSERVE = whole(
    apiVersion=one_of("serving.kserve.io/v1beta1"),
    kind=one_of("InferenceService"),
    metadata=whole(name=NAME),
    spec=whole(
        predictor=whole(
            minReplicas={"type": "integer", "minimum": 0},
            maxReplicas=COUNT,
            canaryTrafficPercent={"type": "integer", "minimum": 0, "maximum": 100},
            model=whole(
                modelFormat=whole(name=one_of("tensorflow"), version=one_of("1", "2")),
                runtimeVersion=STRING,
                storageUri={"type": "string", "pattern": "^(pvc|s3|gs|https?)://"},
                resources=RESOURCES,
            ),
        )
    ),
)


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("docker-compose.yml", COMPOSE),
        ("prometheus.yml", PROMETHEUS),
        ("kserve.yaml", KSERVE),
    ],
)
def test_each_yaml_file_fits_its_schema(name, schema):
    (found,) = documents(name)
    jsonschema.validate(found, schema)


def test_kubernetes_objects_fit_their_schemas():
    kubernetes = {one["kind"]: one for one in documents("kubernetes.yaml")}
    assert set(kubernetes) == set(KUBERNETES)
    for kind, one in kubernetes.items():
        jsonschema.validate(one, KUBERNETES[kind])


def test_a_misspelt_key_does_not_fit():
    (found,) = documents("kserve.yaml")
    found["spec"]["predictor"]["canaryTraffic"] = 10
    with pytest.raises(jsonschema.ValidationError, match="canaryTraffic"):
        jsonschema.validate(found, KSERVE)
