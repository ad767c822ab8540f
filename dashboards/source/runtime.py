"""The board of processes, runtimes and the machine: whether one of them makes agents slow."""

from __future__ import annotations

from .ask import RATE, link, part, per_minute, per_second, quantile
from .frame import Board, Row
from .limits import BAD, WARN, above, below, thresholds
from .panels import STEADY, Column, Query, rows, series

EACH = "agent, agent_instance, role"
DESCRIPTORS = f"max by ({EACH}) (agent_process_open_fds) / max by ({EACH}) (agent_process_fd_limit > 0)"
NAMED = "{{agent}} {{role}} {{agent_instance}}"
RUNTIME = "agent, agent_instance, runtime"
RUNNING = "{{agent}} {{runtime}} {{agent_instance}}"
QUEUE = "agent, agent_instance, name"
QUEUED = "{{agent}} {{name}}"
PAUSE = "agent_runtime_gc_pause_seconds"
MEMORY = ("processes.memory.high", "processes.memory.critical", "processes.memory_coding")
CODING = thresholds()["agents"]["coding"]
WORKERS = f'{{type="rss", role=~"main|collector", agent!~"{CODING}"}}'
UNTOLD = "No runtime tells"
SLOWEST = Query("max by (agent) (agent:agent_tool_execution_duration_seconds:p99_5m)", "{{agent}} tool p99")

PROCESSES = Row(
    "Which process eats what?",
    [
        rows(
            "Processes",
            "Which processes are there now, and what do they hold? Role main is an agent with its children, as the"
            " exporter sees it; self is what a program tells of itself; collector is the exporter.",
            [
                Column("Agent", label="agent", link=link("agent-overview", agent="Agent")),
                Column("Role", label="role"),
                Column("Process", label="agent_instance", link=link("agent-runtime", agent_instance="Process")),
                Column("Processors", per_second("agent_process_cpu_time_seconds_total", EACH), decimals=2),
                Column("Memory", f'sum by ({EACH}) (agent_process_memory_usage_bytes{{type="rss"}})', "bytes"),
                Column("Descriptors", DESCRIPTORS, "percentunit", above("processes.descriptors"), decimals=0),
                Column("Threads", f"sum by ({EACH}) (agent_process_threads)", decimals=0),
                Column("Running for", f"time() - max by ({EACH}) (agent_process_start_time_seconds)", "s"),
            ],
            sort="Memory",
            empty="No process is seen; docs/agents.md says which agents are",
        ),
        series(
            "Processors taken by agents",
            "Which share of the machine's processors (or of its container's) do agents keep busy, all together?",
            "percentunit",
            Query("instance:agent_process_cpu:ratio_rate5m", "{{instance}}"),
            limits=above("processes.cpu"),
        ),
        series(
            "Processors used",
            "How many processors does each agent keep busy, with its children? 1 is one processor.",
            "short",
            Query("agent_instance:agent_process_cpu:ratio_rate5m", "{{agent}} {{agent_instance}}"),
        ),
        series(
            "Memory",
            "How much memory do agents hold, with their children? A line that only rises is a leak. The last mark is"
            " for coding agents, with what they compile and test; the others are for workers.",
            "bytes",
            Query("agent_instance:agent_process_memory_rss:bytes", "{{agent}} {{agent_instance}}"),
            limits=above(*MEMORY, colours=(WARN, BAD, BAD)),
        ),
        series(
            "Memory of all agents",
            "Do all of them together fit? The mark is for workers and the exporter itself, without coding agents.",
            "bytes",
            Query(f"sum by (instance) (agent_process_memory_usage_bytes{WORKERS})", "workers at {{instance}}"),
            Query("job:agent_process_memory_rss:bytes_sum", "all agents"),
            limits=above("processes.memory.total"),
        ),
        series(
            "File descriptors of the limit",
            "Will a process soon be unable to open files and connections?",
            "percentunit",
            Query(DESCRIPTORS, NAMED),
            limits=above("processes.descriptors"),
            high=1,
            size=(8, 8),
        ),
        series(
            "Restarts per hour",
            "Does an agent end and begin again? A few are people who close and open it.",
            "short",
            Query(f"3600 * sum by (agent, role) (rate(agent_process_restarts_total[{RATE}]))", "{{agent}} {{role}}"),
            step=STEADY,
            size=(8, 8),
        ),
        series(
            "Disk traffic of agents",
            "Which agent reads and writes much?",
            "Bps",
            Query(per_second("agent_process_disk_io_bytes_total", "agent, direction"), "{{agent}} {{direction}}"),
            size=(8, 8),
        ),
    ],
)

RUNTIMES = Row(
    "Does the runtime stall the agent?",
    [
        series(
            "Garbage collection pauses",
            "How long does the collector stop the program? Pauses add up with everything that waits for it.",
            "s",
            Query(quantile(0.5, PAUSE, RUNTIME), f"{RUNNING} p50", exemplar=True),
            Query("agent_instance:agent_runtime_gc_pause_seconds:p99_5m", f"{RUNNING} p99"),
            limits=above("runtimes.gc_pause"),
            step=STEADY,
            empty=UNTOLD,
        ),
        series(
            "Time in garbage collection",
            "Which share of the time is spent on cleaning up?",
            "percentunit",
            Query(f"sum by ({RUNTIME}) (rate({PAUSE}_sum[{RATE}]))", RUNNING),
            empty=UNTOLD,
        ),
        series(
            "Collections and objects per minute",
            "How much is there to clean up? Objects that could not be freed are leaks.",
            "opm",
            Query(
                per_minute("agent_runtime_gc_collections_total", "agent, runtime, generation"),
                "{{agent}} gen {{generation}}",
            ),
            Query(per_minute("agent_runtime_gc_objects_total", "agent, state"), "{{agent}} objects {{state}}"),
            right=("/.*objects.*/", "short"),
            empty=UNTOLD,
        ),
        series(
            "Heap",
            "How much memory does the runtime manage, and how much may it? The limit is the line above.",
            "bytes",
            Query(f"sum by ({RUNTIME}) (agent_runtime_heap_usage_bytes)", RUNNING),
            Query(f"sum by ({RUNTIME}) (agent_runtime_heap_limit_bytes)", f"{RUNNING} limit"),
            empty=UNTOLD,
        ),
        series(
            "Goroutines, threads and tasks",
            "Is work started and never finished? A line that only rises is.",
            "short",
            Query(
                "sum by (agent, agent_instance, runtime, kind) (agent_runtime_tasks)",
                "{{agent}} {{kind}} {{agent_instance}}",
            ),
            limits=above("runtimes.tasks"),
            empty=UNTOLD,
        ),
        series(
            "Event loop",
            "Does the loop run its callbacks late, because something blocks it? Its busy share is on the right.",
            "s",
            Query(
                "max by (agent, agent_instance, stat) (agent_runtime_event_loop_delay_seconds)",
                "{{agent}} {{stat}} {{agent_instance}}",
            ),
            Query(
                f"max by ({RUNTIME}) (agent_runtime_event_loop_utilization_ratio)", "{{agent}} busy {{agent_instance}}"
            ),
            limits=above("runtimes.loop_delay"),
            right=("/.* busy .*/", "percentunit"),
            empty=UNTOLD,
        ),
    ],
)

TOGETHER = Row(
    "Cause, or coincidence?",
    [
        series(
            "Slow tools and garbage collection",
            "Do tools become slow when the collector pauses? Pauses are on the right.",
            "s",
            SLOWEST,
            Query("max by (agent) (agent_instance:agent_runtime_gc_pause_seconds:p99_5m)", "{{agent}} pause p99"),
            right=("/.* pause .*/", "s"),
        ),
        series(
            "Slow tools and processors",
            "Do tools become slow when the machine is busy? Its busy share is on the right.",
            "s",
            SLOWEST,
            Query(
                "1 - "
                + part(
                    f'sum by (instance) (rate(system_cpu_time_seconds_total{{cpu_mode=~"idle|iowait"}}[{RATE}]))',
                    f"sum by (instance) (rate(system_cpu_time_seconds_total[{RATE}]))",
                ),
                "{{instance}} busy",
            ),
            right=("/.* busy/", "percentunit"),
        ),
    ],
)

QUEUES = Row(
    "Does work wait in line?",
    [
        series(
            "Waiting in queues and for pools",
            "How much waits in queues, how many callers wait for a member of a pool, and does it only grow?",
            "short",
            Query(f"sum by ({QUEUE}) (agent_queue_size)", f"{QUEUED} queue"),
            Query(f"sum by ({QUEUE}) (agent_queue_limit)", f"{QUEUED} queue's limit"),
            Query(f"sum by ({QUEUE}) (agent_pool_waiting)", f"{QUEUED} pool"),
            empty="No agent tells of queues and pools",
        ),
        series(
            "Waiting time, p95",
            "How long does work wait in queues, and callers for a member of a pool?",
            "s",
            Query(quantile(0.95, "agent_queue_wait_duration_seconds", "agent, name"), f"{QUEUED} queue", exemplar=True),
            Query(quantile(0.95, "agent_pool_wait_duration_seconds", "agent, name"), f"{QUEUED} pool", exemplar=True),
            limits=above("pools.queue_wait"),
            step=STEADY,
            empty="No agent tells of queues and pools",
        ),
        series(
            "Pools in use",
            "Is a pool of connections or workers too small?",
            "percentunit",
            Query(
                f'sum by ({QUEUE}) (agent_pool_size{{state="used"}}) / (sum by ({QUEUE}) (agent_pool_limit) > 0)',
                QUEUED,
            ),
            limits=above("pools.used"),
            high=1,
            empty="No agent tells of pools",
        ),
        series(
            "Callers that gave up, per minute",
            "Does work fail because no member of a pool was free?",
            "opm",
            Query(per_minute("agent_pool_timeouts_total", "agent, name"), QUEUED),
            empty="Nobody gave up, or no agent tells",
        ),
    ],
    collapsed=True,
)

HOST = Row(
    "Is the machine full?",
    [
        series(
            "Processors by what they do",
            "What are the machine's processors busy with? Waiting for disks (iowait) is not work.",
            "percentunit",
            Query(
                'sum by (instance, cpu_mode) (rate(system_cpu_time_seconds_total{cpu_mode!="idle"}'
                f"[{RATE}])) / on (instance) group_left () system_cpu_logical_count",
                "{{instance}} {{cpu_mode}}",
            ),
            stacked=True,
            limits=above("processes.cpu"),
            high=1,
        ),
        series(
            "Load for each processor",
            "Does work queue for the processors? Over 1 it does.",
            "short",
            Query("system_cpu_load_average_1m / system_cpu_logical_count", "{{instance}} 1 min"),
            Query("system_cpu_load_average_5m / system_cpu_logical_count", "{{instance}} 5 min"),
            Query("system_cpu_load_average_15m / system_cpu_logical_count", "{{instance}} 15 min"),
            limits=above(1),
        ),
        series(
            "Memory and swap",
            "Is memory short? Pages that keep moving in and out (on the right) make everything slow.",
            "percentunit",
            Query("1 - system_linux_memory_available_bytes / system_memory_limit_bytes", "{{instance}} memory"),
            Query('system_paging_utilization_ratio{system_paging_state="used"}', "{{instance}} swap"),
            Query(
                f"sum by (instance, system_paging_direction) (rate(system_paging_operations_total[{RATE}]))",
                "{{instance}} pages {{system_paging_direction}}",
            ),
            limits=above("host.memory", colours=(BAD,)),
            right=("/.* pages .*/", "ops"),
        ),
        series(
            "Space left on file systems",
            "Will a disk be full? Transcripts and logs of agents grow.",
            "percentunit",
            Query(
                "min by (instance, system_filesystem_mountpoint) (1 -"
                ' system_filesystem_utilization_ratio{system_filesystem_state="used"})',
                "{{instance}} {{system_filesystem_mountpoint}}",
            ),
            limits=below("host.disk.full", "host.disk.low"),
            high=1,
        ),
        series(
            "Disk traffic",
            "Are the disks busy? Bytes on the left, reads and writes on the right.",
            "Bps",
            Query(
                f"sum by (instance, disk_io_direction) (rate(system_disk_io_bytes_total[{RATE}]))",
                "{{instance}} {{disk_io_direction}}",
            ),
            Query(
                f"sum by (instance, disk_io_direction) (rate(system_disk_operations_total[{RATE}]))",
                "{{instance}} {{disk_io_direction}} operations",
            ),
            right=("/.* operations/", "iops"),
        ),
        series(
            "Network",
            "How much is sent and received, and is anything damaged or thrown away (on the right)?",
            "Bps",
            Query(
                f"sum by (instance, network_io_direction) (rate(system_network_io_bytes_total[{RATE}]))",
                "{{instance}} {{network_io_direction}}",
            ),
            Query(
                f"sum by (instance) (rate(system_network_errors_total[{RATE}])) + sum by (instance)"
                f" (rate(system_network_packet_dropped_total[{RATE}]))",
                "{{instance}} lost packets",
            ),
            right=("/.* lost packets/", "pps"),
        ),
    ],
    collapsed=True,
)

CONTAINER = Row(
    "Is the container's limit the cause?",
    [
        series(
            "Memory of the limit",
            "How near is the exporter's container to its limit? Beyond it processes are killed.",
            "percentunit",
            Query("container_memory_usage_bytes / (container_memory_limit_bytes > 0)", "{{instance}}"),
            limits=above("host.memory", colours=(BAD,)),
            high=1,
            empty="No limit, or no container",
            size=(8, 8),
        ),
        series(
            "Processors of the limit",
            "How many processors does the container use, how many may it, and how long was it held up?",
            "short",
            Query(f"sum by (instance) (rate(container_cpu_time_seconds_total[{RATE}]))", "{{instance}} used"),
            Query("container_cpu_limit", "{{instance}} limit"),
            Query(f"rate(container_cpu_throttled_time_seconds_total[{RATE}])", "{{instance}} held up"),
            empty="No container",
            right=("/.* held up/", "percentunit"),
            size=(8, 8),
        ),
        series(
            "Processes, and kills for want of memory",
            "Is the container full of processes, or did it lose some?",
            "short",
            Query("container_pids_usage", "{{instance}} processes"),
            Query("container_pids_limit", "{{instance}} limit"),
            Query("3600 * rate(container_memory_oom_kills_total[$__rate_interval])", "{{instance}} killed per hour"),
            empty="No container",
            size=(8, 8),
        ),
    ],
    collapsed=True,
)

BOARD = Board(
    "agent-runtime",
    "Runtime & host",
    "Do processes, runtimes or the machine make the agents slow? Read from the agents down to the machine.",
    [PROCESSES, RUNTIMES, TOGETHER, QUEUES, HOST, CONTAINER],
)
