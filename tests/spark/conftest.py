"""One Spark application of two local cores for all tests of a session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from simprod_tf.engine.embedded import Embedded
from simprod_tf.engine.spark import Spark

SETTINGS = {
    "spark.driver.memory": "1g",
    "spark.sql.shuffle.partitions": "2",
    "spark.ui.enabled": "false",
}


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spark]:
    with Spark(
        tmp_path_factory.mktemp("spark"), master="local[2]", settings=SETTINGS
    ) as engine:
        yield engine


@pytest.fixture
def embedded() -> Iterator[Embedded]:
    with Embedded() as engine:
        yield engine
