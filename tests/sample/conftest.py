"""Toys for the tests of this room."""

import pytest

from sample.toy import Toys


@pytest.fixture
def toys(tmp_path):
    """Start processes that do what they are told; none outlives its test."""
    toys = Toys(tmp_path)
    yield toys
    toys.stop()
