import asyncio
import functools
import pickle
import random
import sys
from copy import copy

import aiocache
import aiocache.plugins
import cachetools
import cachetools.func
import diskcache
import pytest

from agent_exporter.instrument import cells
from agent_exporter.instrument.caches import instrumented, watch_cache

REQUESTS, EVICTIONS = "agent.cache.requests", "agent.cache.evictions"
ENTRIES, MOST, SIZE, LIMIT = "agent.cache.entries", "agent.cache.entries.limit", "agent.cache.size", "agent.cache.limit"


class Clock:
    """A clock that stands until it is set."""

    now = 0.0

    def __call__(self):
        """Tell the time."""
        return self.now


def lookups(points):
    """List hits and misses."""
    found = points(REQUESTS)
    return found[REQUESTS, "it", "hit"], found[REQUESTS, "it", "miss"]


def evictions(points):
    """List evictions by size, by age, and by the program."""
    found = points(EVICTIONS)
    return tuple(found.get((EVICTIONS, "it", reason)) for reason in ("size", "ttl", "explicit"))


# --- caches that count themselves


def test_lru_cache(points):
    """A function with a cache comes back as it is, and its own counts are read."""

    @functools.lru_cache(maxsize=2)
    def double(number):
        return 2 * number

    assert watch_cache(double, "it") is double
    assert [double(number) for number in (1, 2, 3, 3)] == [2, 4, 6, 6]

    assert points("agent.cache") == {
        (REQUESTS, "it", "hit"): 1,
        (REQUESTS, "it", "miss"): 3,
        (ENTRIES, "it"): 2,
        (MOST, "it"): 2,
    }


def test_cache_without_limit(points):
    """A cache without a limit tells none."""
    watch_cache(functools.cache(abs), "it")

    assert points(MOST) == {}


def test_counts_never_fall(points):
    """A cache that is cleared counts from zero, its totals do not."""
    cached = watch_cache(functools.cache(abs), "it")
    cached(1)
    cached(1)
    assert lookups(points) == (1, 1)

    cached.cache_clear()
    cached(1)
    assert lookups(points) == (1, 2)
    cached.cache_clear()
    assert lookups(points) == (1, 2)
    cached(1)
    cached(1)

    assert lookups(points) == (2, 3)


def test_watching_keeps_nothing_alive(points):
    """A cache that is gone is not there any more; the next of its name goes on from its counts."""
    cached = watch_cache(functools.cache(abs), "it")
    cached(1)
    assert lookups(points) == (0, 1)

    del cached
    assert points("agent.cache") == {}
    cached = watch_cache(functools.cache(abs), "it")
    cached(1)

    assert lookups(points) == (0, 2)


def test_watched_twice_counts_once(points):
    """A cache that is watched again under its name is still one cache."""
    cached = watch_cache(watch_cache(functools.cache(abs), "it"), "it")
    cached(1)

    assert lookups(points) == (0, 1)


def test_cached_method(points):
    """A method's cache lives in the class, whatever object it is looked at through."""

    class Agent:
        @functools.cache  # noqa: B019  # what people do
        def name(self):
            return "agent"

    agent = Agent()
    watch_cache(agent.name, "it")
    agent.name()

    assert lookups(points) == (0, 1)


class Counted(dict):
    """A cache of somebody's that counts in attributes."""

    hits, misses, max_size = 3, 4, 10


class Asked:
    """A cache of somebody's that counts in methods."""

    def hits(self):
        """Tell the hits."""
        return 3

    def misses(self):
        """Tell the misses."""
        return 4


@pytest.mark.parametrize("kind", [Counted, Asked])
def test_any_cache_that_counts(points, kind):
    """Hits and misses may be attributes or methods."""
    cache = watch_cache(kind(), "it")

    assert lookups(points) == (3, 4)
    assert points(ENTRIES).get((ENTRIES, "it")) == (0 if isinstance(cache, dict) else None)
    assert points(MOST).get((MOST, "it")) == getattr(cache, "max_size", None)


def test_unknown_cache(points, caplog):
    """What counts nothing is said to be unknown, and comes back as it was."""
    things = {"a": 1}

    assert watch_cache(things, "it") is things
    assert [record.message for record in caplog.records] == [
        (
            "cannot watch a cache of type builtins.dict: nothing is known of it; "
            "instrumented(mapping, name) measures a mapping, and an object with `hits` and `misses` is read"
        )
    ]
    assert points("agent.cache") == {}


def test_failing_cache(points, caplog):
    """A cache that fails while it is looked at is an unknown one."""

    class Broken:
        def __getattr__(self, name):
            raise RuntimeError(name)

    watch_cache(Broken(), "it")

    assert len(caplog.records) == 1
    assert points("agent.telemetry") == {("agent.telemetry.failures", "misuse"): 1}


# --- cachetools


def ttl_cache(kind, size, clock, **options):
    """Make a cache whose entries live ten seconds."""
    if kind is cachetools.TTLCache:
        return cachetools.TTLCache(size, 10, timer=clock, **options)
    return cachetools.TLRUCache(size, lambda _key, _value, now: now + 10, timer=clock, **options)


CLASSES = [cachetools.Cache, cachetools.FIFOCache, cachetools.LFUCache, cachetools.LRUCache, cachetools.RRCache]
AGEING = [cachetools.TTLCache, cachetools.TLRUCache]


def made(kind, size=2):
    """Make a cache of a class."""
    return ttl_cache(kind, size, Clock()) if kind in AGEING else kind(size)


@pytest.mark.parametrize("kind", [*CLASSES, *AGEING])
def test_cachetools(points, kind):
    """A cache of cachetools is still that cache, and its look-ups, entries and evictions are counted."""
    cache = made(kind)
    assert watch_cache(cache, "it") is cache
    assert isinstance(cache, kind)

    cache[1] = "a"
    cache[2] = "b"
    assert (cache[1], cache.get(2), cache.get(3), 4 in cache, 1 in cache) == ("a", "b", None, False, True)
    with pytest.raises(KeyError):
        cache[5]
    cache[3] = "c"

    assert lookups(points) == (2, 3)
    assert evictions(points) == (1, 0, 0)
    assert points("agent.cache.entries") == {(ENTRIES, "it"): 2, (MOST, "it"): 2}


@pytest.mark.parametrize("kind", [*CLASSES, *AGEING])
def test_cachetools_explicit_removals(points, kind):
    """What the program takes out itself is told apart, and taking out is no look-up."""
    cache = watch_cache(made(kind, 9), "it")
    for key in range(6):
        cache[key] = key

    del cache[0]
    assert cache.pop(1) == 1
    assert cache.pop(1, None) is None
    cache.popitem()
    with pytest.raises(KeyError):
        cache.pop(1)
    assert evictions(points) == (0, 0, 3)
    cache.clear()

    assert evictions(points) == (0, 0, 6)
    assert lookups(points) == (0, 0)


@pytest.mark.parametrize("kind", AGEING)
def test_cachetools_entries_that_age(points, kind):
    """What goes because of its age is told apart, whenever it is found to be too old."""
    clock = Clock()
    cache = watch_cache(ttl_cache(kind, 3, clock), "it")
    for key in range(5):
        cache[key] = key
    clock.now = 11

    assert cache.get(4) is None
    assert points(ENTRIES)[ENTRIES, "it"] == 3  # reading throws nothing out
    with pytest.raises(KeyError):
        del cache[4]
    assert evictions(points) == (2, 1, 0)
    cache.expire()
    cache[7] = 7

    assert lookups(points) == (0, 1)
    assert evictions(points) == (2, 3, 0)


def test_cachetools_setdefault(points):
    """Storing what is not there yet is no look-up, but may throw others out."""
    cache = watch_cache(cachetools.LRUCache(1), "it")

    assert [cache.setdefault(1, "a"), cache.setdefault(1, "b"), cache.setdefault(2, "c")] == ["a", "a", "c"]

    assert lookups(points) == (0, 0)
    assert evictions(points) == (1, 0, 0)


def test_cachetools_entries_made_when_missing(points):
    """A class that makes what is missing counts a miss and goes on doing so."""

    class Squares(cachetools.LRUCache):
        def __missing__(self, key):
            self[key] = key * key
            return self[key]

    cache = watch_cache(Squares(9), "it")

    assert [cache[3], cache[3]] == [9, 9]
    assert lookups(points)[1] == 1


def test_cachetools_evictions_of_ones_own(points):
    """However a class of somebody's throws out, what goes to make room is that, and its steps are not counted."""

    class Halved(cachetools.Cache):
        def popitem(self):
            assert self.get("nothing") is None
            with pytest.raises(KeyError):
                self["nothing"]
            key = next(iter(self))
            return key, self.pop(key)

    class Emptied(cachetools.Cache):
        def popitem(self):
            key = next(iter(self))
            value = self[key]
            self.clear()
            return key, value

        def clear(self):
            for key in list(self):
                del self[key]

    class Popped(cachetools.LRUCache):
        def clear(self):
            while len(self):
                self.popitem()

    for kind in (Halved, Emptied, Popped):
        cache = watch_cache(kind(2), "it")
        cache.update({1: 1, 2: 2, 3: 3})
    assert evictions(points) == (3, 0, 0)
    cache.clear()

    assert evictions(points) == (3, 0, 2)
    assert lookups(points) == (0, 0)


@pytest.mark.parametrize("kind", [*CLASSES, *AGEING])
def test_cachetools_removals_of_nothing(points, kind):
    """What is not there cannot be removed, raises as ever, and is no eviction."""
    cache = watch_cache(made(kind), "it")

    with pytest.raises(KeyError):
        del cache[1]
    with pytest.raises(KeyError):
        cache.popitem()
    cache.clear()

    assert evictions(points) == (0, 0, 0)


def test_cachetools_sizes_in_bytes(points):
    """Where entries are measured with sys.getsizeof, size and limit are bytes; other measures are nobody's unit."""
    cache = watch_cache(cachetools.LRUCache(10_000, getsizeof=sys.getsizeof), "it")
    other = watch_cache(cachetools.LRUCache(10_000, getsizeof=len), "other")
    cache["key"] = other["key"] = "x" * 100

    assert points("agent.cache.s") == {(SIZE, "it"): sys.getsizeof("x" * 100)}
    assert points(LIMIT) == {(LIMIT, "it"): 10_000}
    assert points(MOST) == {}


@pytest.mark.parametrize("kind", [*CLASSES[:-1], *AGEING[:1]])
def test_cachetools_copies_are_plain(points, kind):
    """A copy or a pickle is of the class that there was, and counts nothing."""
    cache = watch_cache(kind(3) if kind in CLASSES else kind(3, 10), "it")
    cache[1] = 1
    protocols = range(2 if kind is cachetools.LFUCache else 0, 6)  # which cannot be pickled by older ones

    for same in (copy(cache), *(pickle.loads(pickle.dumps(cache, protocol)) for protocol in protocols)):
        assert type(same) is kind
        assert same[1] == 1

    assert repr(cache).startswith(kind.__name__)
    assert lookups(points) == (0, 0)


@pytest.mark.parametrize("info", [False, True])
def test_cachetools_decorator(points, info):
    """A decorated function's cache is counted, once."""

    @cachetools.cached(cachetools.TTLCache(2, 10), info=info)
    def double(number):
        return 2 * number

    assert watch_cache(double, "it") is double
    assert [double(number) for number in (1, 2, 3, 3)] == [2, 4, 6, 6]

    assert lookups(points) == (1, 3)
    assert evictions(points) == (1, 0, 0)


def test_cachetools_decorator_around_a_dict(points):
    """A decorated function whose cache is a dict is read by what it tells."""
    double = watch_cache(cachetools.cached({}, info=True)(abs), "it")
    double(1)
    double(1)

    assert lookups(points) == (1, 1)


def test_cachetools_ready_made_decorators(points):
    """The decorators that are ready made are counted too."""
    cached = watch_cache(cachetools.func.ttl_cache(maxsize=2)(abs), "it")
    cached(1)
    cached(1)

    assert lookups(points) == (1, 1)


def test_cachetools_agrees_with_a_plain_one(points):
    """A long run of calls gives what it gives without being watched, and every entry is accounted for."""
    rng = random.Random(5)
    clock = Clock()
    plain, watched = ttl_cache(cachetools.TTLCache, 8, clock), ttl_cache(cachetools.TTLCache, 8, clock)
    watch_cache(watched, "it")
    stored = hits = misses = 0
    for _ in range(3000):
        clock.now += rng.random()
        key = rng.randrange(16)
        if rng.random() < 0.5:
            stored += key not in list(plain)
            plain[key] = watched[key] = key
        elif rng.random() < 0.1:
            assert plain.pop(key, None) == watched.pop(key, None)
        else:
            found = plain.get(key)
            hits, misses = hits + (found is not None), misses + (found is None)
            assert watched.get(key) == found

    assert dict(plain) == dict(watched)
    watched.expire()
    assert stored == sum(evictions(points)) + points(ENTRIES)[ENTRIES, "it"]
    assert (hits, misses) == tuple(value - extra for value, extra in zip(lookups(points), (len(plain), 0), strict=True))


def test_switched_off(points):
    """What is switched off counts nothing, and the cache works all the same."""
    cache = watch_cache(cachetools.LRUCache(1), "it")
    cells.SWITCH.on = False
    cache[1] = 1
    cache[2] = cache.get(1)
    cells.SWITCH.on = True

    assert lookups(points) == (0, 0)
    assert evictions(points) == (0, 0, 0)
    assert dict(cache) == {2: 1}


def test_cachetools_watched_twice(points):
    """A cache that is counted under a name keeps it."""
    cache = watch_cache(watch_cache(cachetools.LRUCache(1), "it"), "other")
    cache[1] = 1
    assert cache[1] == 1

    assert points("agent.cache") == {
        (REQUESTS, "it", "hit"): 1,
        (REQUESTS, "it", "miss"): 0,
        **{(EVICTIONS, "it", reason): 0 for reason in ("size", "ttl", "explicit")},
        (ENTRIES, "it"): 1,
        (MOST, "it"): 1,
    }


@pytest.mark.parametrize("kind", [aiocache.plugins.TimingPlugin, diskcache.Disk, cachetools.TTLCache._Link])
def test_other_things_of_known_libraries(points, caplog, tmp_path, kind):
    """What a library has besides caches is unknown, like anything else."""
    watch_cache(kind(tmp_path) if kind is diskcache.Disk else kind(), "it")

    assert len(caplog.records) == 1
    assert points("agent.cache") == {}


def test_functions_with_something_else_called_cache(points, caplog):
    """A function that has a `cache` of no kind that is known is an unknown one."""

    def function():
        """Do nothing."""

    function.cache = {}
    watch_cache(function, "it")

    assert len(caplog.records) == 1
    assert points("agent.cache") == {}


# --- diskcache


@pytest.fixture(params=[diskcache.Cache, diskcache.FanoutCache])
def disk(request, tmp_path):
    """Open a cache on the disk."""
    with request.param(tmp_path) as cache:
        yield cache


def test_diskcache(points, disk):
    """A cache on the disk is counted by its look-ups and read for entries and bytes."""
    assert watch_cache(disk, "it") is disk

    disk["a"] = 1
    disk.set("b", (), tag="letters")
    assert (disk["a"], disk.get("b", tag=True), disk.get("c", 7)) == (1, ((), "letters"), 7)
    assert disk.get("d", 8, expire_time=True, tag=True) == (8, None, None)
    with pytest.raises(KeyError):
        disk["c"]

    assert lookups(points) == (2, 3)
    assert points(ENTRIES) == {(ENTRIES, "it"): 2}
    assert points(SIZE)[SIZE, "it"] == disk.volume()
    assert points(LIMIT) == ({(LIMIT, "it"): disk.size_limit} if isinstance(disk, diskcache.Cache) else {})
    assert disk.stats() == (0, 0)  # its own, which would make a write of every look-up, stay off


def test_diskcache_removals(points, disk):
    """What the program removes and what it lets expire is told apart."""
    watch_cache(disk, "it")
    disk.reset("cull_limit", 0)  # else storing throws out what is too old, untold
    for key in range(8):
        disk.set(key, key, expire=-1 if key < 2 else None, tag="odd" if key % 2 else "even")

    assert disk.expire() == 2
    del disk[2]
    assert disk.delete(3)
    assert not disk.delete(3)
    disk.evict("odd")
    disk.clear()

    assert evictions(points) == (None, 2, 6)


def test_diskcache_memoize(points, disk):
    """A function that keeps its results there counts too."""
    double = disk.memoize()(lambda number: 2 * number)
    watch_cache(disk, "it")

    assert [double(1), double(1), double(2)] == [2, 2, 4]
    assert lookups(points) == (1, 2)


# --- aiocache


def test_aiocache(points):
    """A cache of aiocache is counted by a plugin, beside those it has."""

    async def main():
        others = aiocache.plugins.HitMissRatioPlugin()
        cache = aiocache.SimpleMemoryCache(plugins=[others])
        assert watch_cache(watch_cache(cache, "it"), "it") is cache
        await cache.set("a", 1)
        found = [await cache.get("a"), await cache.get("b"), await cache.get("b", default=2)]
        found += await cache.multi_get(["a", "b"])
        await cache.delete("a")
        await cache.delete("a")
        with pytest.raises(AttributeError):
            cache.plugins[1].what_no_plugin_has  # noqa: B018
        return found, cache.plugins[0] is others

    assert asyncio.run(main()) == ([1, None, 2, 1, None], True)
    assert lookups(points) == (2, 3)
    assert evictions(points) == (None, None, 1)


def test_aiocache_decorator(points):
    """A decorated function's cache is counted."""

    @aiocache.cached()
    async def double(number):
        return 2 * number

    watch_cache(double, "it")

    async def main():
        return [await double(1), await double(1)]

    assert asyncio.run(main()) == [2, 2]
    assert lookups(points) == (1, 1)


# --- everything else


def test_instrumented_mapping(points):
    """A wrapped mapping counts its look-ups and what is taken out of it."""
    inside = {"a": 1, "b": 2, "c": 3, "d": 4}
    cache = instrumented(inside, "it")

    assert (cache["a"], cache.get("b"), cache.get("x"), "y" in cache, "a" in cache) == (1, 2, None, False, True)
    with pytest.raises(KeyError):
        cache["z"]
    assert lookups(points) == (2, 3)
    del cache["a"]
    assert (cache.pop("b"), cache.pop("b", 9)) == (2, 9)
    with pytest.raises(KeyError):
        cache.pop("b")
    cache["e"] = 5
    assert (list(cache), len(cache), repr(cache)) == (["c", "d", "e"], 3, "CountedMapping({'c': 3, 'd': 4, 'e': 5})")
    assert points(ENTRIES) == {(ENTRIES, "it"): 3}
    cache.clear()

    assert evictions(points) == (None, None, 5)
    assert inside == {}
