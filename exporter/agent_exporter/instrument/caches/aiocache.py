"""aiocache: all backends, by a plugin of its own kind.

What may live here: the plugin. How many entries a backend has is not told, nor what expires in it.
"""

from __future__ import annotations

import sys
from typing import Any

from ..watched import is_a
from .tally import Tally

_NAME = "WatchedCache"


def adapt(cache: Any, name: str) -> bool:
    """Add a plugin that counts hits, misses and deletions."""
    if not is_a(cache, "aiocache:BaseCache"):
        return False
    if not any(type(each).__name__ == _NAME for each in cache.plugins):
        cache.plugins = [*cache.plugins, _plugin(Tally(name, "explicit"))]
    return True


def _plugin(tally: Tally) -> Any:
    async def post_get(
        _: Any,
        _client: Any,
        _key: Any,
        default: Any = None,
        *_args: Any,
        ret: Any = None,
        **_options: Any,
    ) -> None:
        if ret is None or ret is default:
            tally.miss()
        else:
            tally.hit()

    async def post_multi_get(*_: Any, ret: Any = None, **_options: Any) -> None:
        hits = sum(value is not None for value in ret or ())
        tally.hit(hits)
        tally.missed(len(ret or ()) - hits)

    async def post_delete(*_: Any, ret: Any = None, **_options: Any) -> None:
        tally.evicted["explicit"](int(ret or 0))

    base = sys.modules["aiocache"].plugins.BasePlugin
    hooks = {"post_get": post_get, "post_multi_get": post_multi_get, "post_delete": post_delete}
    return type(_NAME, (base,), hooks)()
