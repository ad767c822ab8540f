"""aiocache: all backends, by a plugin as the library asks for.

What may live here: the plugin. How many entries a backend has is not told, nor what expires in it.
"""

from __future__ import annotations

from typing import Any

from ..graft import Method
from ..watched import is_a
from .tally import Tally


def adapt(cache: Any, name: str) -> bool:
    """Add a plugin that counts hits, misses and deletions."""
    if not is_a(cache, "aiocache:BaseCache"):
        return False
    if not any(isinstance(each, Plugin) for each in cache.plugins):
        cache.plugins = [*cache.plugins, Plugin(Tally(name, "explicit"))]
    return True


class Plugin:
    """What the library calls before and after every command, with its arguments and what it returns."""

    __slots__ = ("_tally",)

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    async def post_get(
        self, _cache: Any, _key: Any, default: Any = None, *_: Any, ret: Any = None, **_options: Any
    ) -> None:
        """Count a look-up: what is not there comes back as the default."""
        if ret is None or ret is default:
            self._tally.missed()
        else:
            self._tally.hit()

    async def post_multi_get(self, *_: Any, ret: Any = None, **_options: Any) -> None:
        """Count a look-up for each key: what is not there comes back as None."""
        found = [value is not None for value in ret or ()]
        self._tally.hit(sum(found))
        self._tally.missed(len(found) - sum(found))

    async def post_delete(self, *_: Any, ret: Any = None, **_options: Any) -> None:
        """Count what was deleted."""
        self._tally.evicted["explicit"](int(ret or 0))

    def __getattr__(self, name: str) -> Method:
        if not name.startswith(("pre_", "post_")):
            raise AttributeError(name)
        return _nothing


async def _nothing(*_: Any, **_options: Any) -> None:
    """Take no note of any other command."""
