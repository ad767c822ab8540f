"""Fixtures for tests against the real process."""

from __future__ import annotations

import pytest

from end_to_end.process import Collector


@pytest.fixture
def collector(tmp_path_factory):
    """Start collectors with the arguments given; at the end their logs are looked through."""
    started = []

    def start(*arguments):
        started.append(Collector(tmp_path_factory.mktemp("collector"), *arguments))
        return started[-1]

    yield start
    for each in started:
        each.kill()
    for each in started:
        each.check_log()
