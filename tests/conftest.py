"""Fixtures for all rooms."""

from __future__ import annotations

import os
import shutil

import pytest

NAMES = {"alertmanager": ("prometheus-alertmanager", "alertmanager")}  # Debian's name first


@pytest.fixture(scope="session")
def program():
    """Find a real server's program by name; without it a test is skipped, but fails in CI."""

    def find(name: str) -> str:
        paths = [path for known in NAMES.get(name, (name,)) if (path := shutil.which(known))]
        if paths:
            return paths[0]
        if os.environ.get("CI"):
            pytest.fail(f"{name} is missing, and CI skips nothing; .ci/servers installs it")
        pytest.skip(f"{name} is missing; .ci/servers installs it or says how")

    return find
