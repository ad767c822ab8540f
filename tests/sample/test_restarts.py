import pytest

from agent_exporter.sample.restarts import RESTART_WITHIN, Restarts
from agent_exporter.sample.tree import Identity


def at(instance, role="main"):
    """Name a process of the agent `toy`."""
    return Identity("toy", instance, role)


def test_nothing_ended_nothing_restarted():
    """The first processes of an agent are no restarts, however many; a 0 stands for the host and each id."""
    restarts = Restarts("host")
    for instance in ("host:1", "host:2", "mine"):
        restarts.begin(at(instance), 0)

    assert list(restarts.read([at("host:1"), at("mine")])) == [(at("host"), 0), (at("mine"), 0)]


@pytest.mark.parametrize(
    ("ended", "began", "counted"),
    [
        (at("host:1"), at("host:2"), at("host")),
        (at("mine"), at("mine"), at("mine")),
        (at("mine"), at("yours"), at("host")),
        (at("mine"), at("host:2"), at("host")),
        (at("host:1", "gateway"), at("host:2"), None),
    ],
    ids=["host:pid", "the same id", "another id", "an id not known yet", "another role"],
)
def test_a_successor(ended, began, counted):
    """What follows is counted for its own id if that is the same, else for the host."""
    restarts = Restarts("host")
    restarts.end(ended, 10)
    restarts.begin(began, 20)

    assert [identity for identity, count in restarts.read([ended, began]) if count] == [counted] * bool(counted)


def test_one_successor_each():
    """Of two that follow one, one is new."""
    restarts = Restarts("host")
    restarts.end(at("host:1"), 0)
    restarts.begin(at("host:2"), 1)
    restarts.begin(at("host:3"), 1)

    assert list(restarts.read([at("host:2"), at("host:3")])) == [(at("host"), 1)]


def test_much_later_is_a_start():
    """Who opens an agent again in the evening has not restarted it; a named worker that comes back has."""
    restarts, late = Restarts("host"), RESTART_WITHIN + 1
    restarts.end(at("host:1"), 0)
    restarts.begin(at("host:2"), late)
    restarts.end(at("mine"), 0)
    restarts.begin(at("mine"), late)

    assert list(restarts.read([at("host:2"), at("mine")])) == [(at("host"), 0), (at("mine"), 1)]
