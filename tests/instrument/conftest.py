"""Fixtures of the library's tests: its cells switched on and empty, and real databases."""

from __future__ import annotations

import os

import pytest

from agent_exporter.instrument import cells, watched
from instrument import servers


@pytest.fixture
def points():
    """Record from nothing; gives a function that lists what was recorded, by name and label values."""
    cells.reset()
    watched.forget()
    before, cells.SWITCH.on = cells.SWITCH.on, True

    def collect(prefix=""):
        found = [point for point in cells.collect() if point.name.startswith(prefix)]
        return {(point.name, *(value for _, value in point.labels)): point.value for point in found}

    yield collect
    cells.SWITCH.on = before
    watched.forget()
    cells.reset()


@pytest.fixture(scope="session")
def redis_url(program):
    """Run Redis for all tests."""
    with servers.redis_server(program("redis-server")) as url:
        yield url


@pytest.fixture(scope="session")
def postgres():
    """Run PostgreSQL for all tests; without it they are skipped, but fail in CI."""
    programs = servers.find_postgres()
    if programs is None and os.environ.get("CI"):
        pytest.fail("PostgreSQL is missing, and CI skips nothing; .ci/servers installs it")
    if programs is None:
        pytest.skip("PostgreSQL is missing; .ci/servers installs it or says how")
    with servers.postgres_server(programs) as address:
        yield address
