import pytest

from agent_exporter.sample import container
from agent_exporter.sample.reading import Misses

MEMORY = {"memory.max": "1048576\n", "memory.current": "65536\n", "memory.events": "low 0\nmax 7\noom 2\noom_kill 3\n"}
CPU = {
    "cpu.max": "150000 100000\n",
    "cpu.stat": "usage_usec 3000000\nuser_usec 2000000\nsystem_usec 1000000\nthrottled_usec 500000\n",
}
PIDS = {"pids.max": "100\n", "pids.current": "12\n"}


@pytest.fixture
def look(tmp_path):
    """Write cgroups under tmp_path and read them as a member of `own` would."""
    root, membership, misses = tmp_path / "cgroup", tmp_path / "membership", Misses()

    def look(groups, own="0::/\n"):
        for group, files in groups.items():
            folder = root / group.strip("/")
            folder.mkdir(parents=True, exist_ok=True)
            for name, text in files.items():
                (folder / name).write_text(text)
        membership.write_text(own)
        found = container.read(misses, root, membership)
        return {(name, *(value for _, value in labels)): value for name, labels, value in found}

    look.errors = lambda: {
        value["source"]: count for _, labels, count in misses.read() if count for value in [dict(labels)]
    }
    return look


def test_limits_in_a_namespace_of_its_own(look):
    """In a container the own cgroup is `/`, and every limited resource is there with its use."""
    assert look({"/": MEMORY | CPU | PIDS}) == {
        ("container.memory.limit",): 1048576,
        ("container.memory.usage",): 65536,
        ("container.memory.oom_kills",): 3,
        ("container.cpu.limit",): 1.5,
        ("container.cpu.time", "user"): 2.0,
        ("container.cpu.time", "system"): 1.0,
        ("container.cpu.throttled.time",): 0.5,
        ("container.pids.limit",): 100,
        ("container.pids.usage",): 12,
    }


def test_what_has_no_limit_is_not_there(look):
    """`max` is no limit, and without one there is no container to speak of."""
    free = {"memory.max": "max\n", "memory.current": "1\n", "cpu.max": "max 100000\n", "pids.max": "max\n"}

    assert look({"/": free}) == {}


def test_the_lowest_limit_on_the_way_up_counts(look):
    """A limit of a cgroup above is run into by all below it: its use is theirs together."""
    groups = {
        "/pod": {"pids.max": "50\n", "pids.current": "49\n"},
        "/pod/own": {"pids.max": "100\n", "pids.current": "12\n"},
        "/other": {"pids.max": "1\n", "pids.current": "1\n"},
    }

    assert look(groups, "0::/pod/own\n") == {("container.pids.limit",): 50, ("container.pids.usage",): 49}


@pytest.mark.parametrize(
    "own",
    ["5:memory:/own\n1:cpu:/own\n", "", "0::/../elsewhere\n", "0::/not/there\n"],
    ids=["version 1", "empty", "outside", "gone"],
)
def test_no_cgroup_of_version_2(look, own):
    """Without a cgroup of version 2 that can be seen there is nothing, and nothing went wrong."""
    assert look({"/own": MEMORY}, own) == {}
    assert look.errors() == {}


def test_no_linux(tmp_path):
    """Where there are no cgroups there is nothing."""
    assert list(container.read(Misses(), tmp_path / "none", tmp_path / "none")) == []


def test_a_file_that_says_something_else(look):
    """What cannot be read is counted once and leaves the others."""
    groups = {"/": PIDS | {"memory.max": "a lot\n", "cpu.max": "100000\n"}}

    first, second = look(groups), look(groups)

    assert first == second == {("container.pids.limit",): 100, ("container.pids.usage",): 12}
    assert look.errors() == {"container": 2}
