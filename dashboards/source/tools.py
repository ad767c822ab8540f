"""The board of tools: which one is slow or failing, and since when."""

from __future__ import annotations

from .ask import RANGE, RATE, buckets, edge, failing, link, part, per_minute, quantile, total
from .frame import Board, Row
from .limits import GOOD, WARN, above, number
from .panels import STEADY, Column, Query, density, rows, series, states

CALLS = "agent_tool_executions_total"
ENDED = 'agent_tool_executions_total{status=~"ok|error"}'
FAILED = 'agent_tool_executions_total{status="error"}'
DURATION = "agent_tool_execution_duration_seconds"
RAN = '{status!="rejected"}'
EACH = "agent, tool"
NAMED = "{{agent}} {{tool}}"
LATENCY = edge(number("tools.latency"))

SUMMARY = Row(
    "Which tool is the problem?",
    [
        rows(
            "Tools",
            "How does each tool do in this time range? Sort by a column to find the slowest or the one that fails"
            " most.",
            [
                Column("Agent", label="agent", link=link("agent-sessions", agent="Agent")),
                Column("Tool", label="tool", link=link("agent-tools", agent="Agent", tool="Tool")),
                Column("Calls", total(ENDED, EACH), decimals=0),
                Column(
                    "Failed",
                    part(total(FAILED, EACH), total(ENDED, EACH)),
                    "percentunit",
                    above("tools.error_ratio.high", "tools.error_ratio.critical"),
                    decimals=1,
                ),
                Column("p50", quantile(0.5, DURATION, EACH, RAN, RANGE), "s"),
                Column("p95", quantile(0.95, DURATION, EACH, RAN, RANGE), "s"),
                Column(
                    "p99",
                    quantile(0.99, DURATION, EACH, RAN, RANGE),
                    "s",
                    above("tools.latency", "tools.slow"),
                ),
                Column("Running now", "sum by (agent, tool) (agent_tool_active)", decimals=0),
                Column(
                    "Oldest running",
                    "max by (agent, tool) (agent_tool_oldest_active_age_seconds)",
                    "s",
                    above("tools.oldest.long", "tools.oldest.stuck"),
                ),
                Column("Sent to agent", total("agent_tool_output_size_bytes_sum", EACH), "bytes"),
            ],
            sort="Calls",
            empty="No tool was called",
            size=(24, 10),
        )
    ],
)

CHANGES = Row(
    "What changed, and when?",
    [
        series(
            "Calls per minute, by tool",
            "Which tools do the agents use, and did that change?",
            "opm",
            Query(per_minute(CALLS, "tool"), "{{tool}}"),
        ),
        series(
            "Share of calls that failed, by tool",
            "Which tool began to fail, and when? Over the last 5 minutes of each point, as the alerts see it.",
            "percentunit",
            Query("agent_tool:agent_tool_failures_per_executions:ratio_rate5m", NAMED),
            limits=above("tools.error_ratio.high", "tools.error_ratio.critical"),
            high=1,
        ),
        series(
            "Failures per minute, by reason",
            "Why do calls fail? The words are those of the agent; a reason that is not told has no name.",
            "opm",
            Query(per_minute(FAILED, "tool, error_type"), "{{tool}} {{error_type}}"),
            stacked=True,
            empty="No failure",
        ),
        series(
            "Calls by how they ended",
            "How many calls worked, failed, or were refused by a person or a rule?",
            "opm",
            Query(per_minute(CALLS, "status"), "{{status}}"),
            stacked=True,
        ),
    ],
)

DURATIONS = Row(
    "Is it slow for all calls, or for a few?",
    [
        density(
            "How long calls take",
            "Is everything slower, or only a tail? A cell is the number of calls that took that long; dots link to"
            " traces where the agent sends them.",
            "s",
            buckets(DURATION, RAN),
        ),
        series(
            "p99 by tool",
            "Which tool's slowest calls are how slow? Commands, sub-agents and the web take what they need and raise"
            " no alarm.",
            "s",
            Query("agent_tool:agent_tool_execution_duration_seconds:p99_5m", NAMED),
            limits=above("tools.latency", "tools.slow"),
        ),
        series(
            f"Share of calls over {number('tools.latency'):g} s",
            "How many calls are slower than promised? Exact: counted in buckets, not estimated.",
            "percentunit",
            Query(
                f'1 - sum by (agent, tool) (rate({DURATION}_bucket{{{LATENCY}, status!="rejected"}}[{RATE}]))'
                f" / (sum by (agent, tool) (rate({DURATION}_count{RAN}[{RATE}])) > 0)",
                NAMED,
            ),
            high=1,
            step=STEADY,
        ),
        series(
            "Oldest call still running",
            "Does a call hang? A line that only rises is a call that does not come back; it is in no other panel yet.",
            "s",
            Query("max by (agent, tool) (agent_tool_oldest_active_age_seconds)", NAMED),
            limits=above("tools.oldest.long", "tools.oldest.stuck"),
            empty="No call is running, or no agent tells",
        ),
    ],
)

INTERFACES = Row(
    "What is degraded, and since when?",
    [
        states(
            "Failures in a row",
            "Which interface (model, tool server, user) fails again and again? The number is how often in a row; 0 is"
            " healthy, and what never failed is left out.",
            "short",
            Query(failing(), "{{agent}} {{interface}}"),
            limits=above(1, "interfaces.consecutive_failures"),
            empty="Nothing failed",
        ),
        states(
            "On the fallback",
            "Which interface runs on its fallback, and since when?",
            "short",
            Query("max by (agent, interface) (agent_fallback_active)", "{{agent}} {{interface}}"),
            words=(("0", "normal", GOOD), ("1", "fallback", WARN)),
            empty="No agent tells of fallbacks",
        ),
    ],
)

PEOPLE = Row(
    "Was it the agent, or did it wait for me?",
    [
        series(
            "Waiting for permission",
            "How long do calls wait until somebody allows them? This time is not part of a tool's duration.",
            "s",
            Query(quantile(0.5, "agent_tool_approval_duration_seconds"), "{{agent}} p50", exemplar=True),
            Query(quantile(0.95, "agent_tool_approval_duration_seconds"), "{{agent}} p95", exemplar=True),
            step=STEADY,
            empty="No agent tells, or nobody was asked",
        ),
        series(
            "Permissions",
            "Who allows and refuses calls: a person, a rule in the settings, or a hook?",
            "opm",
            Query(per_minute("agent_tool_decisions_total", "decision, source"), "{{decision}} by {{source}}"),
            stacked=True,
            empty="No decision",
        ),
    ],
    collapsed=True,
)

SIZES = Row(
    "How much do tools read and write?",
    [
        series(
            "Given to tools, p95",
            "How large is what agents hand to tools?",
            "bytes",
            Query(quantile(0.95, "agent_tool_input_size_bytes", EACH), NAMED, exemplar=True),
            step=STEADY,
            size=(8, 8),
        ),
        series(
            "Given back by tools, p95",
            "Which tool fills the context? Everything it gives back is read by the model, and paid.",
            "bytes",
            Query(quantile(0.95, "agent_tool_output_size_bytes", EACH), NAMED, exemplar=True),
            step=STEADY,
            size=(8, 8),
        ),
        series(
            "Left in memory by tools, p95",
            "Which tool keeps memory after its calls? Told by programs that ask for it, for it costs time.",
            "bytes",
            Query(quantile(0.95, "agent_tool_memory_growth_bytes", EACH), NAMED, exemplar=True),
            step=STEADY,
            empty="No agent measures it",
            size=(8, 8),
        ),
    ],
    collapsed=True,
)

FLOW = Row(
    "In which order are tools used?",
    [
        rows(
            "Which tool follows which",
            "What do agents do after what? A tool that follows itself often is a loop, or work in small pieces.",
            [
                Column("Agent", label="agent"),
                Column("After", label="from"),
                Column("Comes", label="to"),
                Column("Times", total("agent_tool_transitions_total", "agent, from, to"), decimals=0),
            ],
            sort="Times",
            size=(12, 8),
        ),
        series(
            "Calls per minute, by kind of tool",
            "Does the agent use its own tools, functions of its program, or those of MCP servers?",
            "opm",
            Query(per_minute(CALLS, "tool_type"), "{{tool_type}}"),
            stacked=True,
        ),
    ],
    collapsed=True,
)

BOARD = Board(
    "agent-tools",
    "Tools",
    "Which tool is slow or failing, and since when? Start with the table, then look at what changed.",
    [SUMMARY, CHANGES, DURATIONS, INTERFACES, PEOPLE, SIZES, FLOW],
    variables=("tool",),
    hidden=("agent_instance",),
)
