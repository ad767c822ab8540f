import psutil
import pytest

from agent_exporter.sample import Machine, Settings


class Counted:
    """A machine with a clock of its own, that tells how often it was looked at."""

    def __init__(self):
        self.now = self.looks = 0
        self.machine = Machine(lambda: self.now)

    def read(self, **settings):
        """Read with these settings; tell how the names of the families begin."""
        readings = self.machine.read(Settings(**settings), (), self.pushed)
        return readings and {name.partition(".")[0] for name, *_ in readings}

    def pushed(self):
        """Nobody pushed, but it was asked for."""
        self.looks += 1
        return []


@pytest.mark.parametrize(("after", "looks"), [(0, 1), (14, 1), (15, 2), (100, 2)])
def test_one_look_an_interval(after, looks):
    """However often the page is asked for, the machine is looked at once an interval."""
    counted = Counted()
    counted.read()
    counted.now = after
    found = counted.read()

    assert counted.looks == looks
    assert (found is None) is (looks == 1)


def test_other_settings_count_at_once():
    """A changed configuration does not wait for the next look."""
    counted = Counted()

    assert "system" in counted.read()
    assert counted.read(host=False) == {"agent_exporter"}


def test_what_is_switched_off_is_not_looked_at():
    """Without processes and host there is only what went wrong so far."""
    counted = Counted()

    assert counted.read(host=False, processes=False) == {"agent_exporter"}
    assert counted.looks == 0


def test_a_list_that_cannot_be_read(monkeypatch):
    """Where the system does not list its processes that is counted, and the host is there."""

    def denied():
        raise PermissionError

    monkeypatch.setattr(psutil, "pids", denied)
    machine = Machine()
    readings = machine.read(Settings(), (), list)

    assert "system.uptime" in {name for name, *_ in readings}
    assert [
        (labels, value) for name, labels, value in readings if name.endswith("errors") and value and "sample" in name
    ] == [((("source", "process"), ("reason", "denied")), 1)]
