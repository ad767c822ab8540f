"""The agents' processes, each with its children: what they use now and used in all.

What may live here: reading what `tree` found, through psutil, and turning it into readings of the
agent.process.* families. A process that cannot be read, or ends meanwhile, leaves out its part.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import psutil

from ..model import Labels
from .accounts import Account, Accounts, Spent
from .reading import FAILURES, Misses, Reading
from .restarts import Restarts
from .tree import Identity, Node, Nodes, Push, Rule, Tree, scan

_Look = Callable[[psutil.Process], Any]
_LOOKS: dict[str, _Look] = {
    "cpu": psutil.Process.cpu_times,
    "memory": psutil.Process.memory_info,
    "threads": psutil.Process.num_threads,
}
for _name, _method in (("fds", "num_fds"), ("io", "io_counters")):  # not everywhere
    if hasattr(psutil.Process, _method):
        _LOOKS[_name] = getattr(psutil.Process, _method)
if hasattr(psutil, "RLIMIT_NOFILE"):
    _LOOKS["limit"] = lambda process: process.rlimit(psutil.RLIMIT_NOFILE)[0]
_USS: dict[str, _Look] = {"uss": psutil.Process.memory_full_info}


class Descriptors(NamedTuple):
    """Open descriptors of one process and how many it may have (0: no limit, or not known)."""

    open: int = 0
    limit: int = 0

    @property
    def fullness(self) -> tuple[float, int]:
        """Tell how near the limit is; it is each process's own, so that sums would say nothing."""
        return (self.open / self.limit if self.limit else 0.0, self.open)


class Root(NamedTuple):
    """An agent's process that runs; `start` in Unix seconds as first read, for the clock may be set (0: not known)."""

    identity: Identity
    start: float


class Family:
    """What an agent's process and its children use now, as far as it can be read."""

    def __init__(self) -> None:
        self.memory: dict[str, int] = {}
        self.threads = 0
        self.descriptors: Descriptors | None = None
        self.io = False
        self.start = 0.0

    def add(self, seen: dict[str, Any]) -> None:
        """Add one process."""
        if "memory" in seen:
            self._remember("rss", seen["memory"].rss)
            self._remember("vms", seen["memory"].vms)
        if "uss" in seen:
            self._remember("uss", seen["uss"].uss)
        self.threads += seen.get("threads", 0)
        if "fds" in seen:
            mine = Descriptors(seen["fds"], max(0, seen.get("limit", 0)))
            self.descriptors = max(self.descriptors or mine, mine, key=lambda each: each.fullness)
        self.io |= "io" in seen

    def begin(self, start: float) -> None:
        """Note when a root began; the oldest stands for all."""
        self.start = min(self.start or start, start) if start else self.start

    def _remember(self, kind: str, size: int) -> None:
        self.memory[kind] = self.memory.get(kind, 0) + size


class Processes:
    """Follows the agents' processes of a host from one look to the next."""

    def __init__(self, host: str, own: int, misses: Misses) -> None:
        self._tree = Tree(host, own, misses)
        self._accounts = Accounts()
        self._restarts = Restarts(host)
        self._misses = misses
        self._living: dict[psutil.Process, Root] = {}

    def read(self, rules: Sequence[Rule], pushes: Iterable[Push], *, uss: bool, now: float) -> Iterator[Reading]:
        """Look at all of them once; `now` in seconds of a clock that only goes forward."""
        nodes, known = scan(self._misses), self._tree.owners
        self._tree.walk(nodes, rules, pushes)
        self._follow({node.process for node in nodes.values() if not node.zombie}, known, now)
        for identity, family in self._families(nodes, uss=uss).items():
            yield from _rows(identity, family, self._accounts.of(identity))
        for identity, count in self._restarts.read(root.identity for root in self._living.values()):
            yield Reading("agent.process.restarts", _labels(identity), count)

    def _follow(self, running: Container[psutil.Process], known: Container[psutil.Process], now: float) -> None:
        """Note which agents' processes ended and which began."""
        before, self._living = self._living, {}
        for process, root in before.items():
            if process not in running:
                self._restarts.end(root.identity, now)
        for process, identity in self._tree.roots.items():
            if process in running:
                self._living[process] = Root(identity, before[process].start if process in before else _start(process))
                if process not in known:
                    self._restarts.begin(identity, now)

    def _families(self, nodes: Nodes, *, uss: bool) -> dict[Identity, Family]:
        """Read every process and charge what it used to its agent's account."""
        families: dict[Identity, Family] = defaultdict(Family)
        spent: dict[Hashable, Spent] = {}
        for process, root in self._tree.owners.items():
            identity, node = self._tree.roots[root], nodes[process.pid]
            seen = self._see(node, uss=uss)
            families[identity].add(seen)
            parent = nodes.get(node.parent)
            spent[process] = self._spent(process, identity, parent and parent.process, seen)
        for living in self._living.values():
            families[living.identity].begin(living.start)
        self._accounts.charge(spent)
        return families

    def _see(self, node: Node, *, uss: bool) -> dict[str, Any]:
        """Read what can be read of one process; one that ended and was not waited for has its times left."""
        seen: dict[str, Any] = {}
        looks = _LOOKS | _USS if uss else _LOOKS
        with node.process.oneshot():
            for name in ("cpu",) if node.zombie else looks:
                try:
                    seen[name] = looks[name](node.process)
                except psutil.NoSuchProcess as error:
                    self._misses.fail("process", node.process, error)
                    break
                except FAILURES as error:
                    self._misses.fail("process", node.process, error)
        return seen

    def _spent(
        self, process: psutil.Process, owner: Identity, parent: psutil.Process | None, seen: dict[str, Any]
    ) -> Spent:
        spent = self._accounts.last(process)._replace(owner=owner, parent=parent)
        if cpu := seen.get("cpu"):
            children = getattr(cpu, "children_user", 0.0) + getattr(cpu, "children_system", 0.0)
            spent = spent._replace(own=cpu.user + cpu.system, children=children)
        if io := seen.get("io"):
            spent = spent._replace(read=io.read_bytes, written=io.write_bytes)
        return spent


def _start(process: psutil.Process) -> float:
    try:
        return process.create_time()
    except FAILURES:  # ended since it was listed, which is noted when it is read
        return 0.0


def _labels(identity: Identity) -> Labels:
    return (("agent", identity.agent), ("agent_instance", identity.instance), ("role", identity.role))


def _rows(identity: Identity, family: Family, account: Account) -> Iterator[Reading]:
    labels = _labels(identity)
    yield Reading("agent.process.cpu.time", labels, account.cpu)
    for kind, size in family.memory.items():
        yield Reading("agent.process.memory.usage", (*labels, ("type", kind)), size)
    if family.threads:
        yield Reading("agent.process.threads", labels, family.threads)
    if family.descriptors:
        yield Reading("agent.process.open_fds", labels, family.descriptors.open)
        if family.descriptors.limit:
            yield Reading("agent.process.fd_limit", labels, family.descriptors.limit)
    if family.io:
        yield Reading("agent.process.disk.io", (*labels, ("direction", "read")), account.read)
        yield Reading("agent.process.disk.io", (*labels, ("direction", "write")), account.written)
    if family.start:
        yield Reading("agent.process.start_time", labels, family.start)
