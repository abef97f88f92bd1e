"""Versions are lent to requests, and closed only when nobody uses them."""

from __future__ import annotations

from types import SimpleNamespace

import grpc
import pytest

from simprod_tf.serving.models.servable_pool import ServablePool
from simprod_tf.serving.status import ServingError


def version(number):
    return SimpleNamespace(name="shop", version=number)


@pytest.fixture
def idle_calls():
    """What the pool calls when a retired version falls idle: a list that grows."""
    return []


@pytest.fixture
def pool(idle_calls):
    """A pool that serves versions 3 and 10 of shop."""
    pool = ServablePool(lambda: idle_calls.append(1))
    pool.add(version(10))
    pool.add(version(3))
    return pool


def test_the_newest_or_the_named_version_is_lent(pool):
    with pool.lease("shop", None) as newest, pool.lease("shop", 3) as third:
        assert (newest.version, third.version) == (10, 3)


@pytest.mark.parametrize(
    ("name", "number", "request_text"),
    [("shop", 9, "Specific(shop, 9)"), ("mug", None, "Latest(mug)")],
)
def test_what_does_not_serve_is_not_found(pool, name, number, request_text):
    with pytest.raises(ServingError) as caught, pool.lease(name, number):
        pass
    assert caught.value.code is grpc.StatusCode.NOT_FOUND
    assert caught.value.message == f"Servable not found for request: {request_text}"


def test_a_retired_version_is_idle_after_its_last_request(pool, idle_calls):
    with pool.lease("shop", None) as lent:
        with pool.lease("shop", None):
            pool.retire("shop", 10)
            with pool.lease("shop", None) as newest:
                assert newest.version == 3
        assert pool.take_idle() == []
        assert idle_calls == []
    assert idle_calls == [1]
    assert pool.take_idle() == [lent]
    assert pool.take_idle() == []


def test_a_request_that_fails_gives_its_version_back(pool):
    with pytest.raises(ZeroDivisionError), pool.lease("shop", 3):
        raise ZeroDivisionError
    pool.retire("shop", 3)
    assert [one.version for one in pool.take_idle()] == [3]


def test_a_version_of_the_same_number_takes_over(pool):
    before, after = pool.serving("shop")[3], version(3)
    pool.add(after)
    assert pool.serving("shop")[3] is after
    assert pool.take_idle() == [before]


def test_a_model_without_versions_is_not_named(pool):
    pool.retire("shop", 3)
    assert pool.names() == ["shop"]
    pool.retire("shop", 10)
    pool.retire("shop", 10)
    assert pool.names() == []
