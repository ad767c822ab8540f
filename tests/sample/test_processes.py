import os
import platform
import re
import signal
from collections.abc import Callable
from typing import NamedTuple

import psutil
import pytest

from agent_exporter.sample import Push, tree
from agent_exporter.sample.processes import Processes
from agent_exporter.sample.reading import Misses
from sample.toy import NAME, OTHER, SECRET

HOST = platform.node()
OWN = os.getpid()
CPU, RSS = "agent.process.cpu.time", "agent.process.memory.usage"


class Rule(NamedTuple):
    """A rule as the dialects have it."""

    agent: str = "toy"
    role: str = "main"
    names: Callable[[str], bool] | None = NAME.__eq__
    command: re.Pattern | None = None


class Look:
    """Looks at the processes of this machine, again and again."""

    def __init__(self, *rules, own=OWN):
        self.misses = Misses()
        self.processes = Processes(HOST, own, self.misses)
        self.rules = rules or (Rule(),)
        self.now = 0.0
        self.all = []

    def __call__(self, *pushes, uss=False):
        """Look once; tell values by instrument, instance and what else there is of labels."""
        readings = list(self.processes.read(self.rules, pushes, uss=uss, now=self.now))
        self.now += 1
        self.all.append(readings)
        return {
            (name, *(value for label, value in labels if label not in ("agent", "role"))): value
            for name, labels, value in readings
        }

    def errors(self):
        """Tell the reasons that were counted."""
        return {dict(labels)["reason"]: value for _, labels, value in self.misses.read() if value}


def instance(toy):
    """Tell the instance of a process without an id of its own."""
    return f"{HOST}:{toy.pid}"


def used(process):
    """Tell the processor time of a process alone."""
    times = process.cpu_times()
    return times.user + times.system


def test_one_process_as_psutil_sees_it(toys):
    """What stands for a process is what psutil reads of it."""
    toy = toys.start()
    toy.do("burn", 0.2)
    toy.do("take", 20_000_000)
    toy.do("open_files", 30)

    found = Look()()

    process, who = toy.process, instance(toy)
    assert found[CPU, who] == used(process) >= 0.2
    assert found[RSS, who, "rss"] == process.memory_info().rss > 20_000_000
    assert found[RSS, who, "vms"] == process.memory_info().vms
    assert found["agent.process.threads", who] == 1
    assert found["agent.process.open_fds", who] == process.num_fds() >= 30
    assert found["agent.process.fd_limit", who] == process.rlimit(psutil.RLIMIT_NOFILE)[0]
    assert found["agent.process.start_time", who] == pytest.approx(process.create_time(), abs=1)
    assert found["agent.process.restarts", HOST] == 0


def test_unshared_memory_is_read_on_demand(toys):
    """The uss costs, so that it stands there only when it is asked for."""
    toy = toys.start()
    look = Look()

    without, found = look(), look(uss=True)

    assert (RSS, instance(toy), "uss") not in without
    assert found[RSS, instance(toy), "uss"] == toy.process.memory_full_info().uss


def test_children_count_with_their_agent(toys):
    """An agent's children and grandchildren stand under its instance, and under no other."""
    toy = toys.start()
    family = [toy.process, toy.spawn(), toy.spawn()]
    family.append(psutil.Process(int(toy.do("child", 0, "spawn", toy.program))))
    toy.do("child", 1, "burn", 0.2)
    toy.do("child", 1, "take", 20_000_000)

    found = Look()()

    assert {key[1] for key in found} == {instance(toy), HOST}
    assert found[CPU, instance(toy)] == pytest.approx(sum(map(used, family)))
    assert found[RSS, instance(toy), "rss"] == sum(each.memory_info().rss for each in family)
    assert found["agent.process.threads", instance(toy)] == 4


def test_descriptors_are_those_of_the_fullest_process(toys):
    """A limit is each process's own: what stands there is the process that is nearest to it."""
    toy = toys.start()
    child = toy.spawn()
    toy.do("child", 0, "open_files", 50)
    child.rlimit(psutil.RLIMIT_NOFILE, (100, 100))

    found = Look()()

    assert found["agent.process.open_fds", instance(toy)] == child.num_fds()
    assert found["agent.process.fd_limit", instance(toy)] == 100


def test_what_a_child_used_stays_when_it_ends(toys):
    """A child's processor time is in the total while it lives and once, not twice, when it has ended."""
    toy = toys.start()
    toy.spawn()
    toy.do("child", 0, "burn", 0.4)
    look = Look()

    before = look()[CPU, instance(toy)]
    toy.do("wait", 0)
    after = look()[CPU, instance(toy)]

    assert before >= 0.4
    assert before <= after < before + 0.2


def test_a_child_between_two_looks_is_counted(toys):
    """What a child used that was never seen comes from its parent, which waited for it."""
    toy = toys.start()
    look = Look()

    before = look()[CPU, instance(toy)]
    toy.spawn()
    toy.do("child", 0, "burn", 0.4)
    toy.do("wait", 0)
    after = look()[CPU, instance(toy)]

    assert before + 0.4 <= after < before + 0.8


def test_a_child_nobody_waited_for_is_counted_once(toys):
    """A zombie keeps its processor time until its parent takes it over; its memory is gone."""
    toy = toys.start()
    child = toy.spawn()
    toy.do("child", 0, "burn", 0.4)
    look = Look()

    look()
    toy.do("kill", 0)
    psutil.wait_procs([child], timeout=0.2)
    zombie = look()
    toy.do("wait", 0)
    after = look()

    assert zombie[CPU, instance(toy)] >= 0.4
    assert zombie[RSS, instance(toy), "rss"] == toy.process.memory_info().rss
    assert zombie[CPU, instance(toy)] <= after[CPU, instance(toy)] < zombie[CPU, instance(toy)] + 0.2


def test_a_child_that_lost_its_parent_stays_with_the_agent(toys):
    """What an agent left running in the background is still its own."""
    toy = toys.start()
    toy.spawn()
    orphan = psutil.Process(int(toy.do("child", 0, "leave", toys.program("background"))))
    look = Look()

    look()
    toy.do("wait", 0)
    found = look()

    parent = orphan.ppid()
    orphan.kill()
    assert parent != toy.pid
    assert found["agent.process.threads", instance(toy)] == 2


def test_disk_io_of_children(toys, tmp_path):
    """Bytes that a child wrote are counted once, while it lives and when it has ended."""
    toy = toys.start()
    toy.spawn()
    toy.do("child", 0, "write", tmp_path / "written", 5_000_000)
    look = Look()
    key = "agent.process.disk.io", instance(toy), "write"

    before = look()[key]
    toy.do("wait", 0)
    after = look()[key]

    assert 5_000_000 <= before < 10_000_000
    assert before <= after < 10_000_000


def test_an_agent_below_an_agent_counts_for_itself(toys):
    """A child that is an agent of another kind has its own instance, before and after it ends."""
    toy = toys.start()
    other = toy.spawn(toys.program(OTHER))
    toy.do("child", 0, "burn", 0.4)
    look = Look(Rule(), Rule("other", names=OTHER.__eq__))

    found = look()
    toy.do("wait", 0)
    after = look()

    assert found[CPU, f"{HOST}:{other.pid}"] >= 0.4
    assert found[CPU, instance(toy)] < 0.4
    assert after[CPU, instance(toy)] < found[CPU, instance(toy)] + 0.2


def test_a_relaunch_is_part_of_its_agent(toys):
    """A child that the same rule finds is a worker and no second agent."""
    toy = toys.start()
    toy.spawn()

    found = Look()()

    assert [key for key in found if key[0] == CPU] == [(CPU, instance(toy))]


def test_the_collector_is_nobodys_child(toys):
    """An agent that started the collector does not count it, nor what is below it."""
    toy = toys.start()
    collector = toy.spawn(toys.program("collector"))

    found = Look(own=collector.pid)()

    assert found["agent.process.threads", instance(toy)] == 1


def test_rules_of_command_lines(toys):
    """A rule may ask for the command line; nothing of it gets into a reading."""
    toy = toys.start()
    look = Look(Rule(command=re.compile("nobody-.*-asked")), Rule("other", command=re.compile("never there")))

    found = look()

    assert (CPU, instance(toy)) in found
    assert SECRET not in str(look.all)


def test_a_push_names_its_process(toys):
    """A process that pushed from this host stands under the agent and instance of its resource."""
    toy = toys.start("pythonic")
    since = toy.process.create_time()
    look = Look()

    found = look(Push("pusher", "its-own-id", toy.pid, HOST, since))
    later = look()

    assert found[CPU, "its-own-id"] == used(toy.process)
    assert found["agent.process.restarts", "its-own-id"] == 0
    assert (CPU, "its-own-id") in later


def test_a_push_renames_what_a_rule_found(toys):
    """Once a process has pushed, its id is its instance; what it used before stays where it was counted."""
    toy = toys.start()
    toy.do("burn", 0.2)
    look = Look()

    before = look()
    toy.do("burn", 0.2)
    found = look(Push("toy", "its-own-id", toy.pid, HOST, toy.process.create_time()))

    assert before[CPU, instance(toy)] + found[CPU, "its-own-id"] == pytest.approx(used(toy.process))
    assert instance(toy) not in {key[1] for key in found}


@pytest.mark.parametrize(("host", "earlier"), [("elsewhere", 0), (HOST, 60)], ids=["other host", "pid used again"])
def test_a_push_of_another_process(toys, host, earlier):
    """The pid of another host, or one that another process had when it pushed, is nobody's here."""
    toy = toys.start("pythonic")

    found = Look()(Push("pusher", "its-own-id", toy.pid, host, toy.process.create_time() - earlier))

    assert found == {}


def test_a_restart_is_counted(toys):
    """A process that follows one that ended is a restart of its agent on this host."""
    look = Look()
    first = toys.start()
    look()
    first.end()
    gone = look()
    second = toys.start()

    found = look()

    assert gone == {}
    assert found["agent.process.restarts", HOST] == 1
    assert found[CPU, instance(second)] == used(second.process)
    assert look.errors() == {}


def test_a_restart_of_a_named_instance(toys):
    """A process with an id of its own is known again; its total goes on."""
    look = Look()
    totals = []
    for _ in range(3):
        toy = toys.start("pythonic")
        toy.do("burn", 0.1)
        found = look(Push("worker", "worker-1", toy.pid, HOST, toy.process.create_time()))
        totals.append((found["agent.process.restarts", "worker-1"], found[CPU, "worker-1"]))
        toy.end()

    assert [restarts for restarts, _ in totals] == [0, 1, 2]
    assert totals[2][1] >= totals[1][1] + 0.1 >= totals[0][1] + 0.2


def test_totals_do_not_fall(toys):
    """Whatever ends, in whatever order, no counter falls and nothing is noted."""
    toy = toys.start()
    look = Look()
    for step in (
        ("spawn", toy.program),
        ("child", 0, "spawn", toy.program),
        ("child", 0, "child", 0, "burn", 0.1),
        ("child", 0, "wait", 0),
        ("kill", 0),
        ("spawn", toy.program),
        ("child", 1, "burn", 0.1),
        ("wait", 0),
        ("wait", 1),
    ):
        toy.do(*step)
        look()
    toy.end()
    look()

    totals = [value for readings in look.all for name, _, value in readings if name == CPU]
    assert totals == sorted(totals)
    assert len(totals) == 9
    assert look.errors() == {}


def test_a_process_that_may_not_be_read(toys):
    """What another user's process does not tell is left out and counted once, however often it is looked at."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    toy = toys.start()
    look = Look()
    os.seteuid(65534)
    try:
        found, _, _ = look(), look(), look()
    finally:
        os.seteuid(0)

    assert found[CPU, instance(toy)] == used(toy.process)
    assert {name for name, *_ in found} == {
        *(CPU, RSS, "agent.process.threads", "agent.process.restarts", "agent.process.start_time"),
    }
    assert look.errors() == {"denied": 1}


def test_a_process_that_vanishes_while_it_is_read(toys, monkeypatch):
    """A process that ends between the walk and the reading leaves out its part, and is counted."""
    toy = toys.start()
    look = Look()
    walk = tree.Tree.walk

    def walk_and_kill(*rest):
        walk(*rest)
        os.kill(toy.pid, signal.SIGKILL)
        toy.popen.wait()

    monkeypatch.setattr(tree.Tree, "walk", walk_and_kill)
    found = look()

    assert {name for name, *_ in found} <= {CPU, "agent.process.restarts", "agent.process.start_time"}
    assert look.errors() == {"vanished": 1}


def test_more_agents_than_followed(toys, monkeypatch):
    """Beyond the limit an agent's process is not followed, which is counted once."""
    monkeypatch.setattr(tree, "MAX_AGENTS", 1)
    toys.start()
    toys.start()
    look = Look()

    look()
    found = look()

    assert len([key for key in found if key[0] == CPU]) == 1
    assert look.errors() == {"limit": 1}
