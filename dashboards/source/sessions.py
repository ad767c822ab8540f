"""The board of sessions: whether conversations are healthy, too long, or going in circles."""

from __future__ import annotations

from .ask import RANGE, RATE, buckets, failing, link, part, per_minute, quantile, total
from .frame import Board, Row
from .limits import above
from .panels import STEADY, Column, Query, density, rows, series

TURN = "agent_turn_duration_seconds"
OPERATION = "agent_operation_duration_seconds"
CALLS = "agent_tool_executions_total"

SUMMARY = Row(
    "Whose conversations stand out?",
    [
        rows(
            "Sessions by agent",
            "How does each agent work in this time range? Many calls in a turn are a hard task or a circle; many"
            " compactions are conversations that are too long.",
            [
                Column("Agent", label="agent", link=link("agent-sessions", agent="Agent")),
                Column("Open now", "sum by (agent) (agent_sessions_active)", decimals=0),
                Column("Started", total("agent_sessions_total"), decimals=0),
                Column("Turns", total("agent_turns_total"), decimals=0),
                Column("Turn p95", quantile(0.95, TURN, window=RANGE), "s"),
                Column("Calls per turn", part(total(CALLS), total("agent_turns_total")), decimals=1),
                Column(
                    "USD per turn",
                    part(total("agent_cost_usd_total"), total("agent_turns_total")),
                    "currencyUSD",
                    decimals=3,
                ),
                Column("Compactions", total("agent_context_compactions_total"), decimals=0),
            ],
            sort="Turns",
            empty="No agent has told of a session or a turn",
        )
    ],
)

LOAD = Row(
    "How busy are they?",
    [
        series(
            "Open sessions",
            "How many conversations are open with each agent?",
            "short",
            Query("sum by (agent) (agent_sessions_active)"),
        ),
        series(
            "Turns per minute",
            "How many prompts do the agents get?",
            "opm",
            Query(per_minute("agent_turns_total")),
        ),
        density(
            "How long turns take",
            "From the prompt to the end of the work: are turns short questions or long tasks?",
            "s",
            buckets(TURN),
            empty="No agent tells how long turns take",
        ),
        series(
            "Turn, p50 and p95",
            "Do the agents become slower at the same work?",
            "s",
            Query(quantile(0.5, TURN), "{{agent}} p50", exemplar=True),
            Query("max by (agent) (agent:agent_turn_duration_seconds:p95_5m)", "{{agent}} p95"),
            step=STEADY,
            empty="No agent tells how long turns take",
        ),
        series(
            "Sessions started per hour",
            "How often does a conversation begin or go on?",
            "short",
            Query(f"3600 * sum by (agent) (rate(agent_sessions_total[{RATE}]))"),
            step=STEADY,
        ),
        series(
            "Ratings per hour",
            "What do the users think of the answers?",
            "short",
            Query(f"3600 * sum by (agent, rating) (rate(agent_feedback_total[{RATE}]))", "{{agent}} {{rating}}"),
            stacked=True,
            step=STEADY,
            empty="No agent tells of ratings",
        ),
    ],
)

LOOPS = Row(
    "Is an agent going in circles, or waiting?",
    [
        series(
            "Tool calls in 10 minutes, per open session",
            "Does a session call tools without end? Somebody who works with an agent rarely sees more than a few"
            " dozen.",
            "short",
            Query(part(f"600 * sum by (agent) (rate({CALLS}[{RATE}]))", "sum by (agent) (agent_sessions_active)")),
            limits=above("sessions.loops.0.calls", "sessions.loops.1.calls"),
            step=STEADY,
        ),
        series(
            "Tool calls per turn",
            "Does the same kind of work need more and more calls?",
            "short",
            Query(part(f"sum by (agent) (rate({CALLS}[{RATE}]))", f"sum by (agent) (rate(agent_turns_total[{RATE}]))")),
            step=STEADY,
        ),
        series(
            "Failures in a row",
            "Does an agent try the same thing again although it fails? 0 is healthy.",
            "short",
            Query(failing(), "{{agent}} {{interface}}"),
            limits=above("interfaces.consecutive_failures"),
            empty="Nothing failed",
        ),
        series(
            "Open sessions that call no tool",
            "How many open conversations wait, for their user or for something that hangs? Counted as sessions of"
            " agents that called nothing in this step.",
            "short",
            Query(
                f"sum by (agent) (agent_sessions_active) unless on (agent) sum by (agent) (rate({CALLS}[{RATE}])) > 0"
            ),
            empty="All agents with open sessions are working",
        ),
    ],
)

CONTEXT = Row(
    "Are conversations too long?",
    [
        series(
            "Context window in use",
            "How full is the model's memory? Quality falls before it is full.",
            "percentunit",
            Query("max by (agent) (agent_context_utilization_ratio)"),
            limits=above("sessions.context"),
            high=1,
            empty="No agent tells how full the context is",
        ),
        series(
            "Compactions per hour",
            "How often are conversations shortened to fit, and by what? Each one forgets something.",
            "short",
            Query(
                f"3600 * sum by (agent, trigger) (rate(agent_context_compactions_total[{RATE}]))",
                "{{agent}} {{trigger}}",
            ),
            stacked=True,
            step=STEADY,
            empty="Nothing was shortened",
        ),
        series(
            "Prompt tokens per request",
            "How much does the model read each time? It grows with the conversation, and so does the cost.",
            "short",
            Query(
                part(
                    f'sum by (agent) (rate(agent_tokens_total{{type=~"input|cache_read|cache_write"}}[{RATE}]))',
                    f"sum by (agent) (rate(agent_model_requests_total[{RATE}]))",
                )
            ),
            step=STEADY,
        ),
        series(
            "USD per turn",
            "What does a prompt cost, with all the work that follows?",
            "currencyUSD",
            Query(
                part(
                    f"sum by (agent) (rate(agent_cost_usd_total[{RATE}]))",
                    f"sum by (agent) (rate(agent_turns_total[{RATE}]))",
                )
            ),
            step=STEADY,
        ),
    ],
)

OPERATIONS = Row(
    "What else do agents spend time on?",
    [
        series(
            "Operations, p95",
            "How long do commands, hooks, sub-agents, start-up and the like take? Commands should stay below the mark.",
            "s",
            Query(
                "max by (agent, operation) (agent_operation:agent_operation_duration_seconds:p95_5m)",
                "{{agent}} {{operation}}",
            ),
            limits=above("commands.latency"),
            empty="No agent tells of operations",
            size=(8, 8),
        ),
        series(
            "Operations per minute",
            "How often do they happen, and how do they end?",
            "opm",
            Query(per_minute(f"{OPERATION}_count", "operation, status"), "{{operation}} {{status}}"),
            stacked=True,
            empty="No agent tells of operations",
            size=(8, 8),
        ),
        series(
            "Memory left by operations",
            "Which operation leaves memory in use each time, on average? Told by programs that profile themselves.",
            "bytes",
            Query("max by (agent, operation) (agent_operation_memory_growth_bytes)", "{{agent}} {{operation}}"),
            low=None,
            empty="No agent measures it",
            size=(8, 8),
        ),
        rows(
            "Operations by mode",
            "Which hook, sub-agent or phase takes the time?",
            [
                Column("Agent", label="agent"),
                Column("Operation", label="operation"),
                Column("Mode", label="mode"),
                Column("Times", total(f"{OPERATION}_count", "agent, operation, mode"), decimals=0),
                Column("p95", quantile(0.95, OPERATION, "agent, operation, mode", window=RANGE), "s"),
                Column("Together", total(f"{OPERATION}_sum", "agent, operation, mode"), "s"),
            ],
            sort="Together",
            empty="No agent tells of operations",
        ),
    ],
    collapsed=True,
)

BOARD = Board(
    "agent-sessions",
    "Sessions",
    "Are conversations healthy, too long, or going in circles? Counts are activity, never a score of people.",
    [SUMMARY, LOAD, LOOPS, CONTEXT, OPERATIONS],
    hidden=("agent_instance",),
)
