"""Fixtures for tests against the real process."""

from __future__ import annotations

import contextlib

import pytest

from end_to_end.process import Collector


@pytest.fixture
def collector(tmp_path_factory):
    """Start collectors with the arguments given; at the end their logs are looked through."""
    with contextlib.ExitStack() as stack:

        def start(*arguments):
            return stack.enter_context(Collector(tmp_path_factory.mktemp("collector"), *arguments))

        yield start
