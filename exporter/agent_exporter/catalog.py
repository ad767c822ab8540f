"""The normalised instruments: the only place where a normalised name is spelled.

Rule: rows of data and nothing else. A name here is a promise to every dashboard and alert.
Units are UCUM; `{...}` is an annotation that adds no suffix to a Prometheus name
(`reference/otlp-and-prometheus.md`, N rules), and a gauge without a unit of its own has an
annotation, because the unit `1` would make it a `_ratio`.
"""

from __future__ import annotations

from typing import Final

from .model import Instrument, Kind

# 0.01, 0.5, 1, 5 and 30 are thresholds of alerts and must be bounds; finite bounds far above
# them let a quantile exceed them.
DURATION_BOUNDS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
    *(2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0),
)
GC_PAUSE_BOUNDS: Final = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0)
SIZE_BOUNDS: Final = tuple(float(64 * 4**power) for power in range(11))  # 64 B to 64 MiB

_MODEL: Final = ("agent", "provider", "model")
_PROCESS: Final = ("agent", "agent_instance", "role")
_RUNTIME: Final = ("agent", "agent_instance", "runtime")
_POOL: Final = ("agent", "agent_instance", "name")
_INTERFACE: Final = ("network_interface_name", "network_io_direction")
_MOUNT: Final = ("system_filesystem_mountpoint", "system_filesystem_type")
_MOUNT_STATE: Final = "system_filesystem_state"


def _counter(
    name: str, unit: str, text: str, *labels: str, siblings: tuple[str, tuple[str, ...]] | None = None
) -> Instrument:
    return Instrument(name, Kind.COUNTER, unit, text, labels, siblings=siblings)


def _gauge(name: str, unit: str, text: str, *labels: str) -> Instrument:
    return Instrument(name, Kind.GAUGE, unit, text, labels)


def _seconds(name: str, text: str, *labels: str, bounds: tuple[float, ...] = DURATION_BOUNDS) -> Instrument:
    return Instrument(name, Kind.HISTOGRAM, "s", text, labels, bounds)


def _bytes(name: str, text: str, *labels: str) -> Instrument:
    return Instrument(name, Kind.HISTOGRAM, "By", text, labels, SIZE_BOUNDS)


_TOOLS: Final = (
    _counter(
        "agent.tool.executions",
        "{execution}",
        "Tool calls that agents made, by how they ended.",
        *("agent", "tool", "tool_type", "status", "error_type"),
        siblings=("status", ("ok", "error")),
    ),
    _seconds(
        "agent.tool.execution.duration",
        "How long tools ran, without the time spent waiting for permission.",
        *("agent", "tool", "status"),
    ),
    _bytes("agent.tool.input.size", "Size of what agents handed to tools.", "agent", "tool"),
    _bytes("agent.tool.output.size", "Size of what tools gave back to agents.", "agent", "tool"),
    _bytes("agent.tool.memory.growth", "Memory that tool calls left allocated.", "agent", "tool"),
    _gauge("agent.tool.active", "{execution}", "Tool calls running now.", "agent", "tool"),
    _gauge(
        "agent.tool.oldest_active.age",
        "s",
        "Age of the oldest tool call still running; a value that only grows is a hanging tool.",
        *("agent", "tool"),
    ),
    _counter(
        "agent.tool.decisions",
        "{decision}",
        "Permissions given or refused to tool calls, by who decided.",
        *("agent", "tool", "decision", "source"),
    ),
    _counter(
        "agent.tool.transitions",
        "{transition}",
        "Which tool followed which within a session.",
        *("agent", "from", "to"),
    ),
    _seconds("agent.tool.approval.duration", "How long tool calls waited for permission.", "agent", "tool"),
)

_MODELS: Final = (
    _counter(
        "agent.model.requests",
        "{request}",
        "Requests that agents sent to language models, by how they ended.",
        *(*_MODEL, "operation", "status", "error_type"),
        siblings=("status", ("ok", "error")),
    ),
    _seconds(
        "agent.model.request.duration",
        "How long model requests took, until the last byte of the answer.",
        *(*_MODEL, "status"),
    ),
    _seconds(
        "agent.model.time_to_first_token",
        "How long models took to begin an answer.",
        *(*_MODEL, "status"),
    ),
    _counter("agent.model.retries", "{retry}", "Model requests that were sent again after a failure.", *_MODEL),
    _counter(
        "agent.tokens",
        "{token}",
        "Tokens used; the types do not overlap, so their sum is the whole.",
        *(*_MODEL, "type"),
    ),
    _counter(
        "agent.cost.usd",
        "{USD}",
        "Cost of model requests in US dollars, reported by the agent or estimated from public prices.",
        *(*_MODEL, "basis"),
    ),
    _counter(
        "agent.cost.unpriced_tokens",
        "{token}",
        "Tokens of models whose price is unknown, so that their cost is missing.",
        *("agent", "model"),
    ),
)

_CACHES: Final = (
    _counter(
        "agent.cache.requests",
        "{request}",
        "Look-ups in caches, by whether the entry was there.",
        *("agent", "cache", "result"),
        siblings=("result", ("hit", "miss")),
    ),
    _counter("agent.cache.evictions", "{eviction}", "Entries that left caches, by why.", "agent", "cache", "reason"),
    _gauge("agent.cache.entries", "{entry}", "Entries in caches now.", "agent", "cache"),
    _gauge("agent.cache.size", "By", "Memory that caches hold now.", "agent", "cache"),
    _gauge("agent.cache.limit", "By", "Memory that caches may hold at most.", "agent", "cache"),
    _gauge("agent.cache.entries.limit", "{entry}", "Entries that caches may have at most.", "agent", "cache"),
    _counter(
        "agent.cache.loads",
        "{load}",
        "Values fetched or computed because no cache had them, by how that ended.",
        *("agent", "cache", "status"),
        siblings=("status", ("ok", "error")),
    ),
    _seconds("agent.cache.load.duration", "How long fetching or computing such a value took.", "agent", "cache"),
    _seconds(
        "agent.cache.load.wait.duration",
        "How long callers waited for a value that another caller was fetching already.",
        *("agent", "cache"),
    ),
)

_WORK: Final = (
    _counter("agent.sessions", "{session}", "Sessions that were started or resumed.", "agent"),
    _gauge("agent.sessions.active", "{session}", "Sessions open now.", "agent"),
    _counter("agent.turns", "{turn}", "Turns: prompts that agents were given.", "agent"),
    _seconds("agent.turn.duration", "How long agents worked on a turn, from the prompt to the end.", "agent"),
    _seconds(
        "agent.operation.duration",
        "How long operations inside agents took that are neither tool calls nor model requests.",
        *("agent", "operation", "mode", "status"),
    ),
    _gauge(
        "agent.operation.memory.growth",
        "By",
        "Memory that operations left in use each time, on average; below 0 where they freed some.",
        *("agent", "operation"),
    ),
    _gauge("agent.context.utilization", "1", "Share of the model's context window in use, from 0 to 1.", "agent"),
    _counter(
        "agent.context.compactions",
        "{compaction}",
        "Conversations shortened to fit the context window, by what triggered it.",
        *("agent", "trigger"),
    ),
    _gauge(
        "agent.interface.consecutive_failures",
        "{failure}",
        "Failures in a row of an interface to a model, tool server or user; 0 after a success.",
        *("agent", "interface"),
    ),
    _gauge(
        "agent.fallback.active",
        "{fallback}",
        "Whether an interface runs on its fallback now (1) or not (0).",
        *("agent", "interface"),
    ),
    _counter("agent.feedback", "{rating}", "Ratings that users gave.", "agent", "rating"),
)

_TELEMETRY: Final = (
    _counter(
        "agent.telemetry.failures",
        "{failure}",
        "What the library inside an agent could not do; pushes that failed lose no counts, as the next has them too.",
        *("agent", "agent_instance", "reason"),
    ),
)

_PROCESSES: Final = (
    _counter(
        "agent.process.cpu.time",
        "s",
        "Processor time that agent processes and their children used, ended children included.",
        *_PROCESS,
    ),
    _gauge(
        "agent.process.memory.usage",
        "By",
        "Memory of agent processes and their children: resident (rss), address space (vms), not shared (uss).",
        *(*_PROCESS, "type"),
    ),
    _gauge("agent.process.threads", "{thread}", "Threads of agent processes and their children.", *_PROCESS),
    _gauge(
        "agent.process.open_fds",
        "{file_descriptor}",
        "File descriptors (files, sockets, pipes) open in the process that is nearest to its limit.",
        *_PROCESS,
    ),
    _gauge(
        "agent.process.fd_limit",
        "{file_descriptor}",
        "File descriptors that this process may have open; at the limit nothing can be opened any more.",
        *_PROCESS,
    ),
    _counter(
        "agent.process.disk.io",
        "By",
        "Bytes that agent processes and their children read from and wrote to disks.",
        *(*_PROCESS, "direction"),
    ),
    _counter(
        "agent.process.restarts",
        "{restart}",
        "Times that an agent process followed one that ended; by host where processes have no id of their own.",
        *_PROCESS,
    ),
    _gauge("agent.process.start_time", "s", "When agent processes started, in Unix time.", *_PROCESS),
)

_RUNTIMES: Final = (
    _counter("agent.runtime.gc.collections", "{collection}", "Runs of the garbage collector.", *_RUNTIME, "generation"),
    _counter(
        "agent.runtime.gc.objects",
        "{object}",
        "Objects that the garbage collector freed or could not free.",
        *(*_RUNTIME, "generation", "state"),
    ),
    _seconds(
        "agent.runtime.gc.pause",
        "How long the garbage collector stopped the program.",
        *(*_RUNTIME, "generation"),
        bounds=GC_PAUSE_BOUNDS,
    ),
    _gauge("agent.runtime.heap.usage", "By", "Heap memory in use.", *_RUNTIME),
    _gauge("agent.runtime.heap.limit", "By", "Heap memory that may be used at most.", *_RUNTIME),
    _gauge("agent.runtime.event_loop.delay", "s", "How late the event loop runs its callbacks.", *_RUNTIME, "stat"),
    _gauge("agent.runtime.event_loop.utilization", "1", "Share of time the event loop is busy, 0 to 1.", *_RUNTIME),
    _gauge("agent.runtime.tasks", "{task}", "Units of concurrent work alive now, by kind.", *_RUNTIME, "kind"),
)

_POOLS: Final = (
    _gauge("agent.queue.size", "{item}", "Items waiting in queues.", *_POOL),
    _gauge("agent.queue.limit", "{item}", "Items that queues take at most.", *_POOL),
    _seconds("agent.queue.wait.duration", "How long items waited in queues.", *_POOL),
    _gauge("agent.pool.size", "{member}", "Members of pools (connections, workers), by state.", *_POOL, "state"),
    _gauge("agent.pool.limit", "{member}", "Members that pools may have at most.", *_POOL),
    _gauge("agent.pool.waiting", "{caller}", "Callers waiting for a member of a pool now.", *_POOL),
    _seconds("agent.pool.wait.duration", "How long callers waited for a member of a pool.", *_POOL),
    _counter(
        "agent.pool.timeouts",
        "{timeout}",
        "Callers that went without a member of a pool because none was free in time.",
        *_POOL,
    ),
)

# The words of the semantic conventions, labels as they are translated (`cpu.mode` is cpu_mode).
_HOST: Final = (
    _counter("system.cpu.time", "s", "Time that the machine's processors spent, all together, by on what.", "cpu_mode"),
    _gauge("system.cpu.logical.count", "{cpu}", "Processors that the machine has, as programs see them."),
    *(
        _gauge(
            f"system.cpu.load_average.{minutes}m",
            "{thread}",
            f"Threads that ran or wanted to, on average of {minutes} min; more than processors is a queue.",
        )
        for minutes in (1, 5, 15)
    ),
    _gauge("system.memory.usage", "By", "Memory of the machine, by what it is used for.", "system_memory_state"),
    _gauge("system.memory.utilization", "1", "Share of the machine's memory, from 0 to 1.", "system_memory_state"),
    _gauge("system.memory.limit", "By", "Memory that the machine has."),
    _gauge("system.linux.memory.available", "By", "Memory that programs can still have before the machine swaps."),
    _gauge("system.paging.usage", "By", "Swap space of the machine.", "system_paging_state"),
    _gauge("system.paging.utilization", "1", "Share of the swap space, from 0 to 1.", "system_paging_state"),
    _counter(
        "system.paging.operations",
        "{operation}",
        "Pages swapped in and out; if they keep coming, memory is short.",
        "system_paging_direction",
    ),
    _counter("system.disk.io", "By", "Bytes read from and written to disks.", "system_device", "disk_io_direction"),
    _counter(
        "system.disk.operations", "{operation}", "Reads and writes of disks.", "system_device", "disk_io_direction"
    ),
    _counter("system.network.io", "By", "Bytes received and sent over networks.", *_INTERFACE),
    _counter("system.network.errors", "{error}", "Packets that were damaged or could not be sent.", *_INTERFACE),
    _counter(
        "system.network.packet.dropped",
        "{packet}",
        "Packets thrown away though nothing was wrong with them.",
        *_INTERFACE,
    ),
    _gauge("system.filesystem.usage", "By", "Space on file systems, by whether it is used.", *(*_MOUNT, _MOUNT_STATE)),
    _gauge(
        "system.filesystem.utilization",
        "1",
        "Share of the space on file systems, from 0 to 1.",
        *(*_MOUNT, _MOUNT_STATE),
    ),
    _gauge("system.filesystem.limit", "By", "Space that file systems have.", *_MOUNT),
    _gauge("system.uptime", "s", "How long the machine has been up."),
)

_CONTAINER: Final = (
    _gauge("container.memory.limit", "By", "Memory that the collector's container may use."),
    _gauge("container.memory.usage", "By", "Memory that the container uses, files kept in memory included."),
    _counter("container.memory.oom_kills", "{kill}", "Processes of the container killed because memory ran out."),
    _gauge("container.cpu.limit", "{cpu}", "Processors that the container may keep busy."),
    _counter("container.cpu.time", "s", "Processor time that the container used.", "cpu_mode"),
    _counter("container.cpu.throttled.time", "s", "Time the container was held up because it was over its processors."),
    _gauge("container.pids.limit", "{thread}", "Processes and threads that the container may have."),
    _gauge("container.pids.usage", "{thread}", "Processes and threads that the container has."),
)

_SELF: Final = (
    _gauge("agent.source.last_seen", "s", "When an agent last sent a signal, in Unix time.", "agent", "signal"),
    _counter("agent_exporter.requests", "{request}", "OTLP requests taken.", "signal", "protocol"),
    _counter("agent_exporter.received.items", "{item}", "Points, log records and spans received.", "signal"),
    _counter(
        "agent_exporter.rejected.items",
        "{item}",
        "Points, log records and spans that were not taken; their senders were told.",
        *("signal", "reason"),
    ),
    _counter(
        "agent_exporter.refused.requests",
        "{request}",
        "OTLP requests refused as a whole.",
        *("signal", "protocol", "reason"),
    ),
    _counter(
        "agent_exporter.dropped.points",
        "{point}",
        "Points taken without effect on a value, such as duplicates.",
        "reason",
    ),
    _counter(
        "agent_exporter.unmapped.items",
        "{item}",
        "Log records and spans that fed no metric; usual, but all of an agent's is a missing dialect.",
        *("agent", "signal"),
    ),
    _counter(
        "agent_exporter.gaps",
        "{gap}",
        "Times between two deltas of a stream that no point covers; usual where only what changed is sent.",
    ),
    _counter("agent_exporter.resets", "{reset}", "Counters that senders began again from zero."),
    _counter(
        "agent_exporter.template.hits",
        "{hit}",
        "Metrics that came again as they were and were read by their template, which is the fastest way.",
    ),
    _gauge("agent_exporter.streams", "{stream}", "Streams known now: OTLP series as they are sent."),
    _gauge(
        "agent_exporter.series",
        "{series}",
        "Series known now: what is exposed; a histogram counts as one.",
    ),
    _counter("agent_exporter.expired", "{item}", "Streams and series forgotten because nothing fed them.", "kind"),
    _counter(
        "agent_exporter.overflowed.streams",
        "{stream}",
        "Streams counted in the series `otel_metric_overflow` of their family, because it or the client has too many.",
    ),
    _counter(
        "agent_exporter.folded.labels",
        "{value}",
        "Label values replaced by `other`, because there are too many or they are not allowed.",
        "label",
    ),
    _counter(
        "agent_exporter.clamped.values",
        "{value}",
        "Differences below 0 taken for 0: parts that agents say are more than the whole.",
        "agent",
    ),
    _counter(
        "agent_exporter.orphaned.spans",
        "{span}",
        "Spans measured without the spans that they waited for, because time was up or too many waited.",
        "reason",
    ),
    _counter("agent_exporter.dropped.sessions", "{session}", "Sessions forgotten early, because there were too many."),
    _counter(
        "agent_exporter.label.collisions",
        "{collision}",
        "Streams of which two attributes became the same label.",
    ),
    _gauge(
        "agent_exporter.omitted.families",
        "{family}",
        "Families left out of the last page, because another had their name after escaping.",
    ),
    _seconds("agent_exporter.scrape.duration", "How long answering a scrape took."),
    _bytes("agent_exporter.scrape.size", "Size of the answers to scrapes, before compression."),
    _counter(
        "agent_exporter.sample.errors",
        "{error}",
        "Processes and devices that could not be read, each counted once for each reason.",
        *("source", "reason"),
    ),
    _counter(
        "agent_exporter.config.reloads",
        "{reload}",
        "Times the configuration was read again, by whether it could be used.",
        "result",
        siblings=("result", ("success", "failure")),
    ),
    _gauge("agent_exporter.build.info", "{build}", "Always 1; the labels say what runs.", "version", "python"),
)

GROUPS: Final[dict[str, tuple[Instrument, ...]]] = {
    "Tools": _TOOLS,
    "Models": _MODELS,
    "Caches": _CACHES,
    "Sessions, turns and interfaces": _WORK,
    "The library inside agents": _TELEMETRY,
    "Processes": _PROCESSES,
    "Runtimes": _RUNTIMES,
    "Queues and pools": _POOLS,
    "Host": _HOST,
    "Container": _CONTAINER,
    "The exporter itself": _SELF,
}

CATALOG: Final[dict[str, Instrument]] = {row.name: row for rows in GROUPS.values() for row in rows}

# Begin names of the semantic conventions, which are anybody's: what others push under them is
# about another machine, and stands beside the collector's own with their job and instance.
SHARED: Final = ("system.", "container.")

# Values of labels that are a closed set, by instrument and label; what is not here may be any
# word, within the limits of dialects/bounds.py.
_STATUS: Final = ("ok", "error", "rejected", "unknown")
_CPU_MODES: Final = ("user", "system", "nice", "idle", "iowait", "interrupt", "steal")
_MEMORY_STATES: Final = ("used", "free", "buffers", "cached")
_SPACE_STATES: Final = ("used", "free", "reserved")
_WAYS: Final = ("receive", "transmit")
VALUES: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    ("agent.tool.executions", "tool_type"): ("builtin", "mcp", "function", "unknown"),
    ("agent.tool.executions", "status"): _STATUS,
    ("agent.tool.execution.duration", "status"): _STATUS,
    ("agent.tool.decisions", "decision"): ("accept", "reject"),
    ("agent.tool.decisions", "source"): ("config", "hook", "user"),
    ("agent.model.requests", "status"): _STATUS,
    ("agent.model.request.duration", "status"): _STATUS,
    ("agent.model.time_to_first_token", "status"): _STATUS,
    ("agent.operation.duration", "status"): _STATUS,
    ("agent.tokens", "type"): ("input", "cache_read", "cache_write", "output", "reasoning"),
    ("agent.cost.usd", "basis"): ("reported", "estimated"),
    ("agent.cache.requests", "result"): ("hit", "miss"),
    ("agent.cache.evictions", "reason"): ("size", "ttl", "explicit", "unknown"),
    ("agent.cache.loads", "status"): ("ok", "error"),
    ("agent.telemetry.failures", "reason"): ("push", "watch", "labels", "misuse"),
    ("agent.process.memory.usage", "type"): ("rss", "vms", "uss"),
    ("agent.process.disk.io", "direction"): ("read", "write"),
    ("system.cpu.time", "cpu_mode"): _CPU_MODES,
    ("system.memory.usage", "system_memory_state"): _MEMORY_STATES,
    ("system.memory.utilization", "system_memory_state"): _MEMORY_STATES,
    ("system.paging.usage", "system_paging_state"): ("used", "free"),
    ("system.paging.utilization", "system_paging_state"): ("used", "free"),
    ("system.paging.operations", "system_paging_direction"): ("in", "out"),
    ("system.disk.io", "disk_io_direction"): ("read", "write"),
    ("system.disk.operations", "disk_io_direction"): ("read", "write"),
    ("system.network.io", "network_io_direction"): _WAYS,
    ("system.network.errors", "network_io_direction"): _WAYS,
    ("system.network.packet.dropped", "network_io_direction"): _WAYS,
    ("system.filesystem.usage", _MOUNT_STATE): _SPACE_STATES,
    ("system.filesystem.utilization", _MOUNT_STATE): _SPACE_STATES,
    ("container.cpu.time", "cpu_mode"): ("user", "system"),
    ("agent_exporter.sample.errors", "source"): ("process", "host", "container"),
    ("agent_exporter.sample.errors", "reason"): ("denied", "vanished", "limit", "failed"),
    ("agent.runtime.gc.objects", "state"): ("collected", "uncollectable"),
    ("agent.runtime.tasks", "kind"): ("goroutine", "thread", "asyncio_task"),
    ("agent.pool.size", "state"): ("used", "idle"),
}
