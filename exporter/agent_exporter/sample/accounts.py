"""What agents used in all: processor time and disk I/O, that of ended children included.

Rule: arithmetic only, no look at any process. Linux adds to a process what its children used once
it has waited for them: the CPU time apart (`cutime`), the I/O mixed with its own. So what a child
that was seen alive had used is in the account already when its parent's numbers grow by it, and
what a child used that came and went between two looks is there only.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

MAX_ACCOUNTS = 1_024  # agents' processes; those that ended longest ago make room


class Spent(NamedTuple):
    """What a process says it used since it began, in seconds and bytes.

    `own` and `children` are processor time, `children` that of children it waited for; `read` and
    `written` include theirs. `parent` names its parent, `owner` the account it is charged to.
    """

    owner: Hashable
    parent: Hashable
    own: float = 0.0
    children: float = 0.0
    read: float = 0.0
    written: float = 0.0


@dataclass(slots=True)
class Account:
    """What an agent's process and its children used in all."""

    cpu: float = 0.0
    read: float = 0.0
    written: float = 0.0


_NOTHING = Spent(None, None)


class Accounts:
    """Accounts by owner, and what every living process had said when it was last looked at."""

    def __init__(self) -> None:
        self._accounts: dict[Hashable, Account] = {}
        self._last: dict[Hashable, Spent] = {}

    def charge(self, now: Mapping[Hashable, Spent]) -> None:
        """Add what processes used since the last time; those that are not there any more have ended."""
        ended = self._ended(now)
        for process, spent in now.items():
            last, gone = self._last.get(process, _NOTHING), ended.get(process, Account())
            account = self.of(spent.owner)
            account.cpu += max(0.0, spent.own - last.own)
            account.cpu += max(0.0, spent.children - last.children - gone.cpu)
            account.read += max(0.0, spent.read - last.read - gone.read)
            account.written += max(0.0, spent.written - last.written - gone.written)
        self._last = dict(now)

    def of(self, owner: Hashable) -> Account:
        """Return an owner's account, which is the newest then."""
        account = self._accounts.pop(owner, None) or Account()
        self._accounts[owner] = account
        if len(self._accounts) > MAX_ACCOUNTS:
            del self._accounts[next(iter(self._accounts))]
        return account

    def last(self, process: Hashable) -> Spent:
        """Return what a process said last."""
        return self._last.get(process, _NOTHING)

    def _ended(self, now: Mapping[Hashable, Spent]) -> dict[Hashable, Account]:
        """Add up what ended processes had said, by the nearest ancestor that is alive."""
        ended: dict[Hashable, Account] = {}
        for process in self._last.keys() - now.keys():
            spent, heir = self._last[process], self._last[process].parent
            while heir not in now and heir in self._last:
                heir = self._last[heir].parent
            account = ended.setdefault(heir, Account())
            account.cpu += spent.own + spent.children
            account.read += spent.read
            account.written += spent.written
        return ended
