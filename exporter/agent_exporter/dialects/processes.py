"""How an agent's processes are known among all that run.

Rule: tests of a name and a command line, compiled once. Whoever looks at processes (`sample`)
brings them; nothing of a command line is kept.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from .names import Matcher, matcher
from .schema import Process


@dataclass(frozen=True, slots=True)
class ProcessRule:
    """One way to know a process of an agent; `role` tells the agent's processes apart."""

    agent: str
    role: str
    names: Matcher | None
    command: re.Pattern[str] | None

    @classmethod
    def compile(cls, agent: str, process: Process) -> Self:
        """Compile an entry of `processes`."""
        names = matcher(process.name) if process.name else None
        return cls(agent, process.role, names, re.compile(process.command) if process.command else None)

    def fits(self, name: str, command: Sequence[str]) -> bool:
        """Tell whether a process with this name and these arguments is one."""
        if self.names is not None and not self.names(name):
            return False
        return self.command is None or self.command.search(" ".join(command)) is not None
