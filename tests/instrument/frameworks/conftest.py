"""Fixtures of the adapters' tests: begin without tools, and read what they told in short."""

from __future__ import annotations

import pytest

from agent_exporter.instrument.tracks import TRACKS

COUNTED = (
    *("agent.tool.executions", "agent.tool.execution.duration", "agent.interface.consecutive_failures"),
    *("agent.model.requests", "agent.model.request.duration", "agent.model.time_to_first_token", "agent.tokens"),
)


@pytest.fixture(autouse=True)
def nothing(points):
    """Begin without tools."""
    TRACKS.forget()
    yield
    TRACKS.forget()


@pytest.fixture
def sizes(points):
    """Tell the bytes that went into and came out of a tool, and how often."""

    def sizes(tool):
        found = [points(f"agent.tool.{way}.size").get((f"agent.tool.{way}.size", tool)) for way in ("input", "output")]
        return [(sum(each.counts), each.sum) if each else (0, 0.0) for each in found]

    return sizes


@pytest.fixture
def active(points):
    """Tell how many calls of each tool run."""
    return lambda: {key[1]: value for key, value in points("agent.tool.active").items()}


@pytest.fixture
def counted(points):
    """Tell everything that an adapter tells only if it is asked to, durations by their number."""

    def counted():
        found = {key: getattr(value, "counts", value) for key, value in points().items() if key[0] in COUNTED}
        numbers = {key: sum(value) if isinstance(value, tuple) else value for key, value in found.items()}
        return {key: value for key, value in numbers.items() if value}

    return counted


@pytest.fixture
def told(points):
    """List the families that are told, those at 0 as well: the collector believes the library for them."""
    return lambda: {key[0] for key in points()}
