"""What a made-up fleet of agents does, in figures: how often, how long, how much.

What may live here: tables. Names are the catalogue's; a name that it lacks fails the tests.
"""

from __future__ import annotations

from agent_exporter.catalog import CATALOG

SEEN = ("assistant", "researcher", "claude-code", "codex", "gemini-cli")  # have pushed; the collector says when

# What labels say that may say anything, and how much of everything each of them gets.
WORDS: dict[str, dict[str, float]] = {
    "tool": {"search": 0.5, "run_query": 0.3, "send_mail": 0.15, "render": 0.05},
    "from": {"search": 0.6, "run_query": 0.4},
    "to": {"run_query": 0.6, "send_mail": 0.4},
    "model": {"claude-sonnet-4-5": 0.6, "gpt-5-mini": 0.3, "in-house-7b": 0.1},
    "operation": {"command": 0.6, "context.prepare": 0.25, "interface.switch": 0.05, "state.transition": 0.1},
    "mode": {"simple": 0.7, "thorough": 0.3},
    "cache": {"embeddings": 0.7, "prompts": 0.3},
    "name": {"database": 0.7, "workers": 0.3},
    "interface": {"model-api": 0.6, "search-api": 0.4},
    "generation": {"0": 0.9, "1": 0.09, "2": 0.01},
    "runtime": {"cpython": 1.0},
    "rating": {"good": 0.8, "bad": 0.2},
    "trigger": {"auto": 0.8, "manual": 0.2},
    "stat": {"mean": 0.3, "max": 1.0},
    "signal": {"metrics": 0.6, "logs": 0.3, "traces": 0.1},
    "protocol": {"http": 0.8, "grpc": 0.2},
    "kind": {"stream": 0.9, "series": 0.1},
    "label": {"tool": 1.0},
    "source": {"process": 1.0},
    "reason": {"limit": 1.0},
    "system_device": {"nvme0n1": 1.0},
    "network_interface_name": {"eth0": 1.0},
    "system_filesystem_mountpoint": {"/": 1.0},
    "system_filesystem_type": {"ext4": 1.0},
    "version": {"0.1.0": 1.0},
    "python": {"3.11.7": 1.0},
}
SHARES = {  # of closed sets whose values are not alike
    "status": {"ok": 0.95, "error": 0.05},
    "result": {"hit": 0.8, "miss": 0.2, "success": 1.0, "failure": 0.0},
    "type": {"input": 0.1, "cache_read": 0.7, "cache_write": 0.1, "output": 0.07, "reasoning": 0.03},
    "cpu_mode": {
        "user": 0.3,
        "system": 0.1,
        "nice": 0.0,
        "idle": 0.57,
        "iowait": 0.02,
        "interrupt": 0.0,
        "steal": 0.01,
    },
    "state": {"collected": 1.0, "uncollectable": 0.0},
    "system_memory_state": {"used": 0.5, "free": 0.2, "buffers": 0.05, "cached": 0.25},
    "system_filesystem_state": {"used": 0.6, "free": 0.35, "reserved": 0.05},
    "system_paging_state": {"used": 0.1, "free": 0.9},
}
PROVIDERS = {"claude-sonnet-4-5": "anthropic", "gpt-5-mini": "openai", "in-house-7b": "self-hosted"}

RATES = {  # of counters, a second; of histograms, observations a second
    "agent.tokens": 800,
    "agent.tool.executions": 0.5,
    "agent.tool.execution.duration": 0.5,
    "agent.cache.requests": 5,
    "agent.process.cpu.time": 0.2,
    "agent.process.disk.io": 30_000,
    "agent.process.restarts": 0.00005,
    "agent.runtime.gc.collections": 2,
    "agent.runtime.gc.pause": 2,
    "agent.runtime.gc.objects": 500,
    "agent.pool.timeouts": 0.001,
    "agent.sessions": 0.003,
    "agent.turns": 0.03,
    "agent.turn.duration": 0.03,
    "agent.context.compactions": 0.002,
    "system.cpu.time": 4,
    "system.disk.io": 200_000,
    "system.network.io": 100_000,
    "system.network.errors": 0,
    "system.network.packet.dropped": 0.001,
    "system.paging.operations": 0.1,
    "container.memory.oom_kills": 0,
    "container.cpu.time": 0.5,
    "container.cpu.throttled.time": 0.01,
    "agent_exporter.received.items": 300,
    "agent_exporter.rejected.items": 0.001,
    "agent_exporter.refused.requests": 0.001,
    "agent_exporter.config.reloads": 0.0005,
    "agent_exporter.scrape.duration": 1 / 15,
    "agent_exporter.scrape.size": 1 / 15,
}
MEDIANS = {  # of histograms, in their unit
    "agent.tool.execution.duration": 0.12,
    "agent.tool.input.size": 400,
    "agent.tool.output.size": 6000,
    "agent.model.request.duration": 4,
    "agent.model.time_to_first_token": 0.9,
    "agent.tool.approval.duration": 6,
    "agent.turn.duration": 20,
    "agent.operation.duration": 0.07,
    "agent.runtime.gc.pause": 0.0012,
    "agent.queue.wait.duration": 0.02,
    "agent.pool.wait.duration": 0.01,
    "agent_exporter.scrape.duration": 0.02,
    "agent_exporter.scrape.size": 300_000,
}
MIB = 2**20
LEVELS = {  # of gauges: what they are about
    "agent.tool.active": 2,
    "agent.tool.oldest_active.age": 6,
    "agent.sessions.active": 4,
    "agent.context.utilization": 0.5,
    "agent.interface.consecutive_failures": 0.4,
    "agent.fallback.active": 0.4,
    "agent.cache.entries": 800,
    "agent.cache.size": 24 * MIB,
    "agent.process.memory.usage": 180 * MIB,
    "agent.process.threads": 14,
    "agent.process.open_fds": 60,
    "agent.runtime.heap.usage": 60 * MIB,
    "agent.runtime.event_loop.delay": 0.004,
    "agent.runtime.event_loop.utilization": 0.3,
    "agent.runtime.tasks": 30,
    "agent.queue.size": 5,
    "agent.pool.size": 4,
    "system.memory.usage": 12_000 * MIB,
    "system.memory.utilization": 1.0,
    "system.linux.memory.available": 9_000 * MIB,
    "system.paging.usage": 2000 * MIB,
    "system.paging.utilization": 1.0,
    "system.filesystem.usage": 200_000 * MIB,
    "system.filesystem.utilization": 1.0,
    "container.memory.usage": 300 * MIB,
    "agent_exporter.streams": 900,
    "agent_exporter.series": 1500,
}
FIXED = {  # what never moves
    "agent.cache.limit": 64 * MIB,
    "agent.process.fd_limit": 1024,
    "agent.runtime.heap.limit": 512 * MIB,
    "agent.pool.limit": 10,
    "system.cpu.logical.count": 4,
    "system.memory.limit": 16_000 * MIB,
    "system.filesystem.limit": 330_000 * MIB,
    "container.memory.limit": 1024 * MIB,
    "container.cpu.limit": 2,
    "container.pids.limit": 512,
    "agent_exporter.build.info": 1,
    "agent_exporter.omitted.families": 0,
}

assert {*RATES, *MEDIANS, *LEVELS, *FIXED} <= {*CATALOG}, "a row for nothing"
