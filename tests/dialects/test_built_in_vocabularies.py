"""The built-in vocabularies: runtimes and processes, caches, GenAI and MCP metrics.

CPython and Node.js are captures: what is expected is read from observed.json, an independent decode. JVM,
.NET, Go, Micrometer, Redis and the metrics of MCP have no capture: their points are made up after
the conventions, and say no more than that.
"""

from __future__ import annotations

import pytest

import captures
from agent_exporter.collector.ingest import Ingest
from agent_exporter.config import Config
from agent_exporter.dialects import Dialects
from agent_exporter.model import Signal
from otlp import DELTA, EPOCH, SECOND, dialects, distribution, gauge, histogram, number, request, total
from replay import protobuf

RUNS = {
    sender: [name for name in captures.names() if name.startswith(sender)]
    for sender in ("node-runtime-", "python-system-metrics-")
}


def series(told):
    """Make `family` and `a=1,b=2` comparable: the order of labels does not matter."""
    return {(name, frozenset(text.split(","))): value for (name, text), value in told.items()}


def page(ingest, *prefixes, without=()):
    """Tell every series by family and labels: its value, of a histogram its count."""
    return {
        (family.name, frozenset(text.decode().replace('"', "").split(",")) - {*without}): table.values[
            (row + 1) * table.width - 1
        ]
        for family in ingest.snapshot()
        if family.name.startswith(prefixes)
        for table in family.tables
        for row, text in enumerate(table.texts)
        if text and row not in table.hidden
    }


def collector():
    """Make an ingest with dialects of its own."""
    return Ingest(Config(), Dialects(dialects().files), lambda: EPOCH + 3600 * SECOND)


def replayed(name):
    """Replay a capture, tell what is normalised of runtimes and processes, and what was observed."""
    capture, ingest = captures.load(name), collector()
    for payload in capture.payloads:
        answer = ingest(Signal(payload.signal), protobuf(payload))
        assert {each.subject for each in answer.rejections} <= {"process.runtime.cpython.gc_count"}  # it falls
    metrics = capture.observed["metrics"]
    observed = {
        metric: {tuple(sorted(map(str, each["attributes"].values()))): each for each in told["series"]}
        for metric, told in metrics.items()
    }
    instance = capture.observed["resource"]["service.instance.id"]
    return page(ingest, "agent_runtime_", "agent_process_"), observed, instance


def sums(series):
    """Add up the values of all series of a metric."""
    return sum(each["value"] for each in series.values())


@pytest.mark.parametrize("name", RUNS["node-runtime-"])
def test_node(name):
    """Node.js: collections and pauses by kind, the heap as the sum of its spaces, the event loop, the process."""
    found, observed, instance = replayed(name)
    runtime = f"agent=node-runtime,agent_instance={instance},runtime=nodejs"
    process = f"agent=node-runtime,agent_instance={instance},role=self"
    expected = {
        ("agent_runtime_heap_usage_bytes", runtime): sums(observed["v8js.memory.heap.used"]),
        ("agent_runtime_event_loop_utilization_ratio", runtime): sums(observed["nodejs.eventloop.utilization"]),
        ("agent_process_cpu_time_seconds_total", process): sums(observed["process.cpu.time"]),
        ("agent_process_memory_usage_bytes", f"{process},type=rss"): sums(observed["process.memory.usage"]),
    }
    for kind, each in ((kind, each) for (kind,), each in observed["v8js.gc.duration"].items()):
        labels = f"{runtime},generation={kind}"
        expected["agent_runtime_gc_collections_total", labels] = each["count"]
        expected["agent_runtime_gc_pause_seconds", labels] = each["count"]
    for stat in ("min", "max", "mean", "stddev", "p50", "p90", "p99"):
        delay = sums(observed[f"nodejs.eventloop.delay.{stat}"])
        expected["agent_runtime_event_loop_delay_seconds", f"{runtime},stat={stat}"] = delay

    assert found == pytest.approx(series(expected))


@pytest.mark.parametrize("name", RUNS["python-system-metrics-"])
def test_python(name):
    """CPython: collections and objects by generation, the process once although told twice, gc_count never."""
    found, observed, instance = replayed(name)
    runtime = f"agent=py-runtime,agent_instance={instance},runtime=cpython"
    process = f"agent=py-runtime,agent_instance={instance},role=self"
    expected = {
        ("agent_process_cpu_time_seconds_total", process): sums(observed["process.cpu.time"]),
        ("agent_process_memory_usage_bytes", f"{process},type=rss"): sums(observed["process.memory.usage"]),
        ("agent_process_memory_usage_bytes", f"{process},type=vms"): sums(observed["process.memory.virtual"]),
        ("agent_process_threads", process): sums(observed["process.thread.count"]),
        ("agent_process_open_fds", process): sums(observed["process.open_file_descriptor.count"]),
    }
    for (direction,), each in observed["process.disk.io"].items():
        expected["agent_process_disk_io_bytes_total", f"{process},direction={direction}"] = each["value"]
    for objects, state in (("collected_objects", "collected"), ("uncollectable_objects", "uncollectable")):
        for (generation, _), each in observed[f"cpython.gc.{objects}"].items():
            labels = f"{runtime},generation={generation},state={state}"
            expected["agent_runtime_gc_objects_total", labels] = each["value"]
    for (generation, _), each in observed["cpython.gc.collections"].items():
        expected["agent_runtime_gc_collections_total", f"{runtime},generation={generation}"] = each["value"]

    assert found == pytest.approx(series(expected))


def normalised(*metrics, resource=None):
    """Push made-up metrics; tell the normalised series without the labels that say who."""
    ingest = collector()
    who = {"service.name": "app", "service.instance.id": "i"} if resource is None else resource
    assert ingest(Signal.METRICS, request(*metrics, resource=who)).rejected == 0
    families = ("agent_runtime_", "agent_process_", "agent_cache_", "agent_queue_")
    return page(ingest, *families, without=("agent=app", "agent_instance=i"))


def test_old_python_names_alone():
    """An older system-metrics package has the old names only, and they count."""
    found = normalised(
        total(
            "process.runtime.cpython.cpu_time", number(3.0, {"type": "user"}), number(1.0, {"type": "system"}), unit="s"
        ),
        total("process.runtime.cpython.memory", number(5, {"type": "rss"}), unit="By", monotonic=False),
        total("process.runtime.cpython.thread_count", number(2), monotonic=False),
        total("process.runtime.cpython.gc_count", number(443, {"count": "0"}), unit="By"),
    )

    assert found == series(
        {
            ("agent_process_cpu_time_seconds_total", "role=self"): 4.0,
            ("agent_process_memory_usage_bytes", "role=self,type=rss"): 5.0,
            ("agent_process_threads", "role=self"): 2.0,
        }
    )


def test_old_and_new_python_names_count_once():
    """A package that sends old names beside new ones is counted by those that come first."""
    found = normalised(
        total("process.cpu.time", number(3.0, {"type": "user"}), unit="s"),
        total("process.runtime.cpython.cpu_time", number(3.0, {"type": "user"}), unit="s"),
    )

    assert found == series({("agent_process_cpu_time_seconds_total", "role=self"): 3.0})


def test_prometheus_client():
    """What prometheus_client for Python exposes, through a collector."""
    found = normalised(
        total("python_gc_collections_total", number(7.0, {"generation": "0"})),
        total("python_gc_objects_collected_total", number(70.0, {"generation": "0"})),
        total("process_cpu_seconds_total", number(2.5)),
        gauge("process_resident_memory_bytes", number(100.0)),
        gauge("process_open_fds", number(9.0)),
        gauge("process_max_fds", number(1024.0)),
        gauge("process_start_time_seconds", number(1.5e9)),
    )

    assert found == series(
        {
            ("agent_runtime_gc_collections_total", "runtime=cpython,generation=0"): 7.0,
            ("agent_runtime_gc_objects_total", "runtime=cpython,generation=0,state=collected"): 70.0,
            ("agent_process_cpu_time_seconds_total", "role=self"): 2.5,
            ("agent_process_memory_usage_bytes", "role=self,type=rss"): 100.0,
            ("agent_process_open_fds", "role=self"): 9.0,
            ("agent_process_fd_limit", "role=self"): 1024.0,
            ("agent_process_start_time_seconds", "role=self"): 1.5e9,
        }
    )


GO = {
    ("agent_runtime_heap_usage_bytes", "runtime=go"): 100.0,
    ("agent_runtime_gc_collections_total", "runtime=go"): 3.0,
    ("agent_runtime_gc_pause_seconds", "runtime=go"): 2.0,
    ("agent_runtime_tasks", "runtime=go,kind=goroutine"): 12.0,
}


def test_go():
    """Go's runtime by its current names; stacks are no heap, idle time is no work."""
    found = normalised(
        total(
            "go.memory.used",
            number(100, {"go.memory.type": "other"}),
            number(7, {"go.memory.type": "stack"}),
            unit="By",
            monotonic=False,
        ),
        total("go.memory.limit", number(1000), unit="By", monotonic=False),
        total("go.memory.gc.cycles", number(3), unit="{gc_cycle}"),
        distribution("go.memory.gc.pause.duration", histogram([2, 0], [0.001], 0.0006), unit="s"),
        total("go.goroutine.count", number(12), unit="{goroutine}", monotonic=False),
        total("go.cpu.time", number(4.0, {"go.cpu.state": "user"}), number(90.0, {"go.cpu.state": "idle"}), unit="s"),
    )

    assert found == series(
        GO
        | {
            ("agent_runtime_heap_limit_bytes", "runtime=go"): 1000.0,
            ("agent_process_cpu_time_seconds_total", "role=self"): 4.0,
        }
    )


def test_old_go_names():
    """Go's runtime by the names of the deprecated switch; the pause has nanoseconds and no unit."""
    ingest = collector()
    body = request(
        total("process.runtime.go.mem.heap_alloc", number(100), unit="By", monotonic=False),
        total("process.runtime.go.gc.count", number(3)),
        distribution("process.runtime.go.gc.pause_ns", histogram([1, 1], [200_000.0], 600_000.0)),
        total("process.runtime.go.goroutines", number(12), monotonic=False),
        resource={"service.name": "app", "service.instance.id": "i"},
    )
    ingest(Signal.METRICS, body)

    assert page(ingest, "agent_runtime_", without=("agent=app", "agent_instance=i")) == series(GO)
    (pauses,) = (family for family in ingest.snapshot() if family.name == "agent_runtime_gc_pause_seconds")
    assert pauses.tables[0].values[-2] == pytest.approx(0.0006)


JVM = {
    ("agent_runtime_heap_usage_bytes", "runtime=jvm"): 30.0,
    ("agent_runtime_heap_limit_bytes", "runtime=jvm"): 300.0,
    ("agent_runtime_gc_collections_total", "runtime=jvm,generation=G1 Young Generation"): 4.0,
    ("agent_runtime_gc_pause_seconds", "runtime=jvm,generation=G1 Young Generation"): 4.0,
    ("agent_runtime_tasks", "runtime=jvm,kind=thread"): 8.0,
}


def test_jvm():
    """The JVM by its current names: the heap is the sum of its pools, threads of their kinds."""
    heap = {"jvm.memory.type": "heap"}
    found = normalised(
        total(
            "jvm.memory.used",
            number(10, heap | {"jvm.memory.pool.name": "eden"}),
            number(20, heap | {"jvm.memory.pool.name": "old"}),
            number(99, {"jvm.memory.type": "non_heap"}),
            unit="By",
            monotonic=False,
        ),
        total("jvm.memory.limit", number(300, heap | {"jvm.memory.pool.name": "old"}), unit="By", monotonic=False),
        distribution(
            "jvm.gc.duration", histogram([3, 1], [0.01], 0.05, {"jvm.gc.name": "G1 Young Generation"}), unit="s"
        ),
        total(
            "jvm.thread.count",
            number(5, {"jvm.thread.daemon": True}),
            number(3, {"jvm.thread.daemon": False}),
            unit="{thread}",
            monotonic=False,
        ),
        total("jvm.cpu.time", number(6.0), unit="s"),
    )

    assert found == series(JVM | {("agent_process_cpu_time_seconds_total", "role=self"): 6.0})


def test_old_jvm_names():
    """The JVM by its names before they were stable."""
    found = normalised(
        total(
            "process.runtime.jvm.memory.usage",
            number(30, {"type": "heap"}),
            number(9, {"type": "non_heap"}),
            unit="By",
            monotonic=False,
        ),
        total("process.runtime.jvm.memory.limit", number(300, {"type": "heap"}), unit="By", monotonic=False),
        distribution(
            "process.runtime.jvm.gc.duration", histogram([3, 1], [10.0], 50.0, {"gc": "G1 Young Generation"}), unit="ms"
        ),
        total("process.runtime.jvm.threads.count", number(8, {"daemon": True}), unit="1", monotonic=False),
    )

    assert found == series(JVM)


DOTNET = {
    ("agent_runtime_gc_collections_total", "runtime=dotnet,generation=gen0"): 5.0,
    ("agent_runtime_gc_collections_total", "runtime=dotnet,generation=gen2"): 1.0,
    ("agent_runtime_heap_usage_bytes", "runtime=dotnet"): 30.0,
    ("agent_runtime_tasks", "runtime=dotnet,kind=thread"): 6.0,
    ("agent_queue_size", "name=thread_pool"): 2.0,
}


@pytest.mark.parametrize("old", [False, True])
def test_dotnet(old):
    """.NET by current and old names; the pause is a counter, of which no histogram can be made."""
    names = {
        "collections": ("dotnet.gc.collections", "process.runtime.dotnet.gc.collections.count"),
        "heap": ("dotnet.gc.last_collection.heap.size", "process.runtime.dotnet.gc.heap.size"),
        "threads": ("dotnet.thread_pool.thread.count", "process.runtime.dotnet.thread_pool.threads.count"),
        "queue": ("dotnet.thread_pool.queue.length", "process.runtime.dotnet.thread_pool.queue.length"),
        "pause": ("dotnet.gc.pause.time", "process.runtime.dotnet.gc.duration"),
    }
    key = "generation" if old else "dotnet.gc.heap.generation"
    zero, two = {key: "gen0"}, {key: "gen2"}
    found = normalised(
        total(names["collections"][old], number(5, zero), number(1, two)),
        total(names["heap"][old], number(10, zero), number(20, two), unit="By", monotonic=False),
        total(names["threads"][old], number(6), monotonic=False),
        total(names["queue"][old], number(2), monotonic=False),
        total(names["pause"][old], number(0.5), unit="s"),
    )

    assert found == series(DOTNET)


def test_dotnet_process():
    """.NET tells of its process by names of its own."""
    found = normalised(
        total(
            "dotnet.process.cpu.time", number(1.0, {"cpu.mode": "user"}), number(0.5, {"cpu.mode": "system"}), unit="s"
        ),
        total("dotnet.process.memory.working_set", number(99), unit="By", monotonic=False),
    )

    assert found == series(
        {
            ("agent_process_cpu_time_seconds_total", "role=self"): 1.5,
            ("agent_process_memory_usage_bytes", "role=self,type=rss"): 99.0,
        }
    )


def test_micrometer():
    """Micrometer's caches: look-ups, evictions by cause, entries."""
    cache = {"cache": "answers", "name": "answers"}
    found = normalised(
        total("cache.gets", number(8.0, cache | {"result": "hit"}), number(2.0, cache | {"result": "miss"})),
        total("cache.evictions", number(3.0, cache | {"cause": "SIZE"}), number(1.0, cache | {"cause": "EXPIRED"})),
        gauge("cache.size", number(40.0, cache)),
        total("cache.puts", number(5.0, cache)),
    )

    assert found == series(
        {
            ("agent_cache_requests_total", "cache=answers,result=hit"): 8.0,
            ("agent_cache_requests_total", "cache=answers,result=miss"): 2.0,
            ("agent_cache_evictions_total", "cache=answers,reason=size"): 3.0,
            ("agent_cache_evictions_total", "cache=answers,reason=ttl"): 1.0,
            ("agent_cache_entries", "cache=answers"): 40.0,
        }
    )


def test_dotnet_cache():
    """.NET's MemoryCache."""
    cache = {"dotnet.cache.name": "answers"}
    found = normalised(
        total("dotnet.cache.requests", number(8, cache | {"dotnet.cache.request.result": "hit"}), unit="{request}"),
        total("dotnet.cache.evictions", number(3, cache), unit="{eviction}"),
        total("dotnet.cache.entries", number(40, cache), monotonic=False),
        total("dotnet.cache.estimated_size", number(512, cache), unit="By", monotonic=False),
    )

    assert found == series(
        {
            ("agent_cache_requests_total", "cache=answers,result=hit"): 8.0,
            ("agent_cache_requests_total", "cache=answers,result=miss"): 0.0,  # opened with it
            ("agent_cache_evictions_total", "cache=answers,reason=unknown"): 3.0,
            ("agent_cache_entries", "cache=answers"): 40.0,
            ("agent_cache_size_bytes", "cache=answers"): 512.0,
        }
    )


def test_redis():
    """Redis through the OpenTelemetry Collector, which gives it no service.name."""
    found = normalised(
        total("redis.keyspace.hits", number(8), unit="{hit}"),
        total("redis.keyspace.misses", number(2), unit="{miss}"),
        total("redis.keys.evicted", number(3), unit="{key}"),
        total("redis.keys.expired", number(1), unit="{event}"),
        gauge("redis.db.keys", number(40, {"db": "0"}), number(2, {"db": "1"}), unit="{key}"),
        gauge("redis.memory.used", number(512), unit="By"),
        resource={"redis.version": "7.4.1"},
    )

    assert found == series(
        {
            ("agent_cache_requests_total", "agent=unknown,cache=redis,result=hit"): 8.0,
            ("agent_cache_requests_total", "agent=unknown,cache=redis,result=miss"): 2.0,
            ("agent_cache_evictions_total", "agent=unknown,cache=redis,reason=size"): 3.0,
            ("agent_cache_evictions_total", "agent=unknown,cache=redis,reason=ttl"): 1.0,
            ("agent_cache_entries", "agent=unknown,cache=redis"): 42.0,
            ("agent_cache_size_bytes", "agent=unknown,cache=redis"): 512.0,
        }
    )


# -- metrics of the conventions, for those who say that metrics rule ------------------------------

METRICS_RULE = """\
dialect: metrics-only
agent: "@service"
claims: {services: metrics-only}
authority:
  agent.model.requests: metric
  agent.model.request.duration: metric
  agent.tokens: metric
  agent.tool.executions: metric
  agent.tool.execution.duration: metric
  agent.operation.duration: metric
"""
CHAT = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "m"}


@pytest.fixture
def metrics_rule(tmp_path):
    """Return a function that pushes metrics of a sender whose metrics rule; tells the normalised series."""
    path = tmp_path / "metrics_only.yaml"
    path.write_text(METRICS_RULE)

    def push(*metrics):
        ingest = Ingest(Config(), Dialects.load([path]), lambda: EPOCH + 3600 * SECOND)
        ingest(Signal.METRICS, request(*metrics, resource={"service.name": "metrics-only"}))
        families = ("agent_model_", "agent_tokens", "agent_tool_", "agent_operation_")
        return page(ingest, *families, without=("agent=metrics-only",))

    return push


def test_durations_are_requests(metrics_rule):
    """Requests are the count of the durations of model operations, failed ones by error.type; tools are none."""
    found = metrics_rule(
        distribution(
            "gen_ai.client.operation.duration",
            histogram([3, 0], [1.0], 0.9, CHAT),
            histogram([1, 0], [1.0], 0.1, CHAT | {"error.type": "timeout"}),
            histogram([5, 0], [1.0], 0.2, {"gen_ai.operation.name": "execute_tool"}),
            histogram([7, 0], [1.0], 0.2),
            unit="s",
            temporality=DELTA,
        )
    )

    labels = "provider=openai,model=m"
    assert found == series(
        {
            ("agent_model_requests_total", f"{labels},operation=chat,status=ok"): 3.0,
            ("agent_model_requests_total", f"{labels},operation=chat,status=error,error_type=timeout"): 1.0,
            ("agent_model_requests_total", f"{labels},operation=chat,status=error"): 0.0,  # opened with the first
            ("agent_model_request_duration_seconds", f"{labels},status=ok"): 3.0,
            ("agent_model_request_duration_seconds", f"{labels},status=error"): 1.0,
        }
    )


def test_tokens_of_the_histogram(metrics_rule):
    """The old metric of tokens has input and output, and old words for them."""
    found = metrics_rule(
        distribution(
            "gen_ai.client.token.usage",
            histogram([2, 0], [10.0], 700.0, CHAT | {"gen_ai.token.type": "input"}),
            histogram([2, 0], [10.0], 30.0, CHAT | {"gen_ai.token.type": "completion"}),
            histogram([2, 0], [10.0], 730.0, CHAT | {"gen_ai.token.type": "total"}),
            unit="{token}",
            temporality=DELTA,
        )
    )

    assert found == series(
        {
            ("agent_tokens_total", "provider=openai,model=m,type=input"): 700.0,
            ("agent_tokens_total", "provider=openai,model=m,type=output"): 30.0,
        }
    )


def test_tokens_of_the_proposed_counters(metrics_rule):
    """The counters proposed instead overlap; what is normalised does not."""
    usage = "gen_ai.client.inference.usage"
    found = metrics_rule(
        total(f"{usage}.input_tokens", number(1000, CHAT), unit="{token}", temporality=DELTA),
        total(f"{usage}.output_tokens", number(100, CHAT), unit="{token}", temporality=DELTA),
        total(f"{usage}.cache_read.input_tokens", number(600, CHAT), unit="{token}", temporality=DELTA),
        total(f"{usage}.cache_write.input_tokens", number(50, CHAT), unit="{token}", temporality=DELTA),
        total(f"{usage}.reasoning.output_tokens", number(40, CHAT), unit="{token}", temporality=DELTA),
    )

    assert {labels - {"provider=openai", "model=m"}: value for (_, labels), value in found.items()} == {
        frozenset({"type=input"}): 350.0,
        frozenset({"type=cache_read"}): 600.0,
        frozenset({"type=cache_write"}): 50.0,
        frozenset({"type=output"}): 60.0,
        frozenset({"type=reasoning"}): 40.0,
    }


def test_tools_of_metrics(metrics_rule):
    """Tools are the count of gen_ai.execute_tool.duration, and of MCP's tools/call where the client tells it."""
    found = metrics_rule(
        distribution(
            "gen_ai.execute_tool.duration", histogram([2, 0], [1.0], 0.2, {"gen_ai.tool.name": "look"}), unit="s"
        ),
        distribution(
            "mcp.client.operation.duration",
            histogram(
                [1, 0],
                [1.0],
                0.2,
                {"mcp.method.name": "tools/call", "gen_ai.tool.name": "add", "error.type": "tool_error"},
            ),
            histogram([1, 0], [1.0], 0.1, {"mcp.method.name": "tools/list"}),
            unit="s",
        ),
        distribution(
            "mcp.server.operation.duration", histogram([9, 0], [1.0], 0.1, {"mcp.method.name": "tools/call"}), unit="s"
        ),
    )

    assert {what: value for what, value in found.items() if value} == series(
        {
            ("agent_tool_executions_total", "tool=look,tool_type=unknown,status=ok"): 2.0,
            ("agent_tool_executions_total", "tool=add,tool_type=mcp,status=error,error_type=tool_error"): 1.0,
            ("agent_tool_execution_duration_seconds", "tool=look,status=ok"): 2.0,
            ("agent_tool_execution_duration_seconds", "tool=add,status=error"): 1.0,
            ("agent_operation_duration_seconds", "operation=mcp.tools,status=ok"): 1.0,
        }
    )
