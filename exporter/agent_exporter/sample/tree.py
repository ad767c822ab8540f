"""Which processes belong to which agent.

What may live here: one walk over all processes, from parents to children, and what is remembered
between two walks. Command lines are looked at by the rules and not kept.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

import psutil

from .reading import FAILURES, Misses

MAX_AGENTS = 256  # agents' processes with an identity of their own; children count with their parents
MAX_PROCESSES = 2_000  # processes that are read, children included
COMMAND_LENGTH = 4_096  # characters of a command line that a rule sees: agents pass whole prompts there
CLOCK_SLACK = 2.0  # seconds by which a process may seem younger than its first push: `btime` is a whole second

ROLE = "main"  # of a process that is known by its pushes only, as the dialects have it


class Rule(Protocol):
    """How a process of an agent is known: by its name, its command line, or both (`dialects.processes`)."""

    @property
    def agent(self) -> str: ...  # noqa: D102 - plain data
    @property
    def role(self) -> str: ...  # noqa: D102
    @property
    def names(self) -> Callable[[str], bool] | None: ...  # noqa: D102
    @property
    def command(self) -> re.Pattern[str] | None: ...  # noqa: D102


class Push(NamedTuple):
    """A process that pushed: what its resource says, and when it did so first (Unix seconds)."""

    agent: str
    instance: str
    pid: int
    host: str
    since: float


class Identity(NamedTuple):
    """Under which labels a process and its children are shown."""

    agent: str
    instance: str
    role: str


class Node(NamedTuple):
    """A process of this machine; `process` is its identity, for a pid is used again."""

    process: psutil.Process
    pid: int
    parent: int
    name: str
    zombie: bool = False  # it ended and its parent has not waited for it yet


Nodes = dict[int, Node]


def scan(misses: Misses) -> Nodes:
    """List the processes of this machine by pid."""
    found = {}
    for pid in psutil.pids():
        try:
            process = psutil.Process(pid)
            with process.oneshot():
                zombie = process.status() == psutil.STATUS_ZOMBIE
                found[pid] = Node(process, pid, process.ppid(), process.name(), zombie)
        except psutil.NoSuchProcess:  # gone since it was listed, and maybe nobody's
            continue
        except FAILURES as error:
            misses.fail("process", pid, error)
    return found


class Tree:
    """What the last walk found: `roots` are the agents' processes, `owners` the root of each process of theirs."""

    def __init__(self, host: str, own: int, misses: Misses) -> None:
        self.roots: dict[psutil.Process, Identity] = {}
        self.owners: dict[psutil.Process, psutil.Process] = {}
        self.pushed: dict[psutil.Process, Push] = {}
        self._host, self._own = host, own
        self._misses = misses
        self._rules: Sequence[Rule] = ()
        self._found: dict[psutil.Process, tuple[str, str]] = {}

    def walk(self, nodes: Nodes, rules: Sequence[Rule], pushes: Iterable[Push]) -> None:
        """Find every process of every agent, from parents to children.

        A process that pushed is an agent's own, and so is one that a rule finds, unless what is
        above it is of the same agent and role (a wrapper, a relaunch, a worker). What is below an
        agent's process belongs to it, and stays so when its own parent ends.
        """
        self._forget(nodes, rules)
        self._join(nodes, pushes)
        kept, self.owners, self.roots = self.owners, {}, {}
        below = defaultdict(list)
        for node in nodes.values():
            below[node.parent].append(node)
        reached: deque[tuple[Node, psutil.Process | None]] = deque()
        reached.extend((node, None) for node in nodes.values() if node.parent not in nodes or node.parent == node.pid)
        while reached:
            node, above = reached.popleft()
            owner = self._owner(node, above, kept.get(node.process))
            reached.extend((child, owner) for child in below[node.pid] if child.parent != child.pid)
        self.owners = {process: root for process, root in self.owners.items() if root in self.roots}

    def _owner(self, node: Node, above: psutil.Process | None, kept: psutil.Process | None) -> psutil.Process | None:
        if node.pid == self._own:
            return None
        if node.zombie and above is None and kept in (None, node.process):
            return None  # an agent's process that ended, and whoever has to wait for it does not count its time
        above = above or kept
        identity = self._identify(node, self.roots.get(above) if above else None)
        owner = node.process if identity else above
        if owner is None or not self._admit(node.process, root=identity is not None):
            return None
        if identity:
            self.roots[node.process] = identity
        self.owners[node.process] = owner
        return owner

    def _admit(self, process: psutil.Process, *, root: bool) -> bool:
        full = len(self.owners) >= MAX_PROCESSES or (root and len(self.roots) >= MAX_AGENTS)
        if full:
            self._misses.note("process", process, "limit")
        return not full

    def _identify(self, node: Node, above: Identity | None) -> Identity | None:
        """Return the identity of a process that is an agent's own; None for all others."""
        push, found = self.pushed.get(node.process), self._find(node)
        if push is not None:
            role = found[1] if found and found[0] == push.agent else ROLE
            return Identity(push.agent, push.instance, role)
        if found is None or (above is not None and (above.agent, above.role) == found):
            return None
        return Identity(found[0], f"{self._host}:{node.pid}", found[1])

    def _find(self, node: Node) -> tuple[str, str] | None:
        """Ask the rules for agent and role; what was found once stays, for agents change their titles."""
        found = self._found.get(node.process)
        if found is None and not node.zombie:
            rule = next((rule for rule in self._rules if self._fits(rule, node)), None)
            if rule is not None:
                found = self._found[node.process] = rule.agent, rule.role
        return found

    def _fits(self, rule: Rule, node: Node) -> bool:
        if rule.names is not None and not rule.names(node.name):
            return False
        if rule.command is None:
            return rule.names is not None
        return rule.command.search(self._line(node.process)) is not None

    def _line(self, process: psutil.Process) -> str:
        try:
            return " ".join(process.cmdline())[:COMMAND_LENGTH]
        except FAILURES as error:
            self._misses.fail("process", process, error)
            return ""

    def _join(self, nodes: Nodes, pushes: Iterable[Push]) -> None:
        """Give pushes their processes; one that is younger than the push only has the pid of the one that pushed."""
        for push in pushes:
            node = nodes.get(push.pid)
            if node is None or push.host != self._host:
                continue
            known = self.pushed.get(node.process)
            if known is None:
                if node.process.create_time() <= push.since + CLOCK_SLACK:
                    self.pushed[node.process] = push
            elif known.instance == push.instance:
                self.pushed[node.process] = push  # its agent may be known better by now

    def _forget(self, nodes: Nodes, rules: Sequence[Rule]) -> None:
        alive = {node.process for node in nodes.values()}
        self.owners = {process: root for process, root in self.owners.items() if process in alive and root in alive}
        self.pushed = {process: push for process, push in self.pushed.items() if process in alive}
        self._found = {process: found for process, found in self._found.items() if process in alive}
        if rules != self._rules:
            self._found, self._rules = {}, rules
        self._misses.keep(psutil.Process, alive)
        self._misses.keep(int, nodes)
