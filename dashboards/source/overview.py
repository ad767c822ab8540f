"""The overview: what is wrong, what the agents are doing, what it costs."""

from __future__ import annotations

from .ask import FRESH, RATE, budget_left, link, part, per_minute, quantile, total
from .frame import Board, Row
from .limits import BAD, GOOD, NOTICE, WARN, above, below, number, thresholds
from .panels import STEADY, Column, Query, dial, number_now, rows, series

MEMORY = ("processes.memory.high", "processes.memory.critical", "processes.memory_coding")
SILENT = int(number("agents.silent"))
ENDED = 'agent_tool_executions_total{status=~"ok|error"}'
FAILED = 'agent_tool_executions_total{status="error"}'
PROMPT = 'agent_tokens_total{type=~"input|cache_read|cache_write"}'
SEVERITIES = (("critical", "critical", BAD), ("warning", "warning", WARN), ("info", "info", NOTICE))
NO_RULES = "No rules loaded"


def named(objective: str) -> str:
    """Return the matcher of an objective."""
    return f'{{slo="{objective}"}}'


def firing(severity: str) -> Query:
    """Count alerts; 0 only if the Watchdog says that rules are evaluated at all."""
    said = f'sum(ALERTS{{alertstate="firing", severity="{severity}"}}) or 0 * max(ALERTS{{alertname="Watchdog"}})'
    return Query(said, severity)


NOW = Row(
    "Do I need to act?",
    [
        number_now(
            "Critical alerts",
            "Is something broken that needs me now? The list below says what; each name links to what to do.",
            "short",
            firing("critical"),
            limits=above(1, colours=(BAD,)),
            words=(("0", "none", GOOD),),
            empty=NO_RULES,
        ),
        number_now(
            "Warnings",
            "Is something getting worse that I should look at today?",
            "short",
            firing("warning"),
            limits=above(1, colours=(WARN,)),
            words=(("0", "none", GOOD),),
            empty=NO_RULES,
        ),
        number_now(
            "Exporters up",
            "Does Prometheus reach every exporter? If one is down, everything here that comes from it stands still.",
            "percentunit",
            Query("avg(up and on (job, instance) last_over_time(agent_exporter_build_info[1d]))", "up"),
            limits=below(1, colours=(BAD,)),
            words=(("1", "all", GOOD), ("0", "none", BAD)),
            empty="No exporter seen",
        ),
        number_now(
            "Agents at work",
            f"How many agents sent something in the last {SILENT // 60} minutes, of all that are known? An agent"
            " that its"
            " user closed is no fault.",
            "short",
            Query(
                f"count(max by (agent) (agent_source_last_seen_seconds) > time() - {SILENT}) or vector(0)", "at work"
            ),
            Query("count(count by (agent) (agent_source_last_seen_seconds))", "known"),
            empty="No agent yet",
        ),
        number_now(
            "Error budget left",
            "How much of this week's budget for failures and slow answers is left, where it is least? At 0 % the"
            " promise is broken; the SLO board says by whom.",
            "percentunit",
            *(
                Query(f"min({budget_left(named(each['slo']))})", each["slo"])
                for each in thresholds()["slo"]["objectives"]
            ),
            limits=below(0, colours=(BAD,)),
            decimals=0,
            empty="Too few calls",
            size=(8, 4),
        ),
        rows(
            "Firing alerts",
            "What is wrong, with which agent, since when? Click an alert's name for what it means and what to do.",
            [
                Column("Severity", label="severity", words=SEVERITIES, width=110),
                Column(
                    "Alert", label="alertname", link=f"{thresholds()['links']['runbooks']}/${{__data.fields.Alert}}.md"
                ),
                Column("Agent", label="agent", link=link("agent-overview", agent="Agent")),
                Column("Tool", label="tool"),
                Column("Model", label="model"),
                Column("Objective", label="slo"),
                Column("Exporter", label="instance"),
                Column(
                    "Since",
                    "max by (severity, alertname, agent, tool, model, slo, instance) (1000 * ALERTS_FOR_STATE"
                    ' and ignoring (alertstate) ALERTS{alertstate="firing", severity!="none"})',
                    "dateTimeFromNow",
                ),
            ],
            sort="Since",
            empty="Nothing is firing",
            size=(24, 6),
        ),
    ],
)

AGENTS = Row(
    "How does each agent do?",
    [
        rows(
            "Agents",
            "How does each agent do in this time range? A number links to the board that explains it.",
            [
                Column("Agent", label="agent", link=link("agent-sessions", agent="Agent")),
                Column("Tool calls", total(ENDED), decimals=0, link=link("agent-tools", agent="Agent")),
                Column(
                    "Failed",
                    part(total(FAILED), total(ENDED)),
                    "percentunit",
                    above("tools.error_ratio.high", "tools.error_ratio.critical"),
                    decimals=1,
                    link=link("agent-tools", agent="Agent"),
                ),
                Column(
                    "Tool p95",
                    quantile(0.95, "agent_tool_execution_duration_seconds", window="$__range"),
                    "s",
                    link=link("agent-tools", agent="Agent"),
                ),
                Column("Turns", total("agent_turns_total"), decimals=0, link=link("agent-sessions", agent="Agent")),
                Column(
                    "Cost",
                    total("agent_cost_usd_total"),
                    "currencyUSD",
                    decimals=2,
                    link=link("agent-models", agent="Agent"),
                ),
                Column("Fresh tokens", total("agent_tokens_total" + FRESH), link=link("agent-models", agent="Agent")),
                Column("Open sessions", "sum by (agent) (agent_sessions_active)", decimals=0),
                Column(
                    "Memory",
                    "sum by (agent) (agent_instance:agent_process_memory_rss:bytes)",
                    "bytes",
                    link=link("agent-runtime", agent="Agent"),
                ),
                Column("Last heard of", "time() - max by (agent) (agent_source_last_seen_seconds)", "s"),
            ],
            sort="Tool calls",
            empty="No agent has sent anything; see docs/agents.md for how to make one report",
        )
    ],
)

WORK = Row(
    "How much, how well, how fast?",
    [
        series(
            "Tool calls per minute",
            "How busy is each agent? A flat line at 0 is an agent that waits for its user.",
            "opm",
            Query(per_minute("agent_tool_executions_total")),
        ),
        series(
            "Tool calls that failed",
            "Which share of an agent's calls ended in an error, over the last 5 minutes? What a person refused is no"
            " error.",
            "percentunit",
            Query("max by (agent) (agent:agent_tool_failures_per_executions:ratio_rate5m)"),
            limits=above("tools.error_ratio.high", "tools.error_ratio.critical"),
            high=1,
        ),
        series(
            "Time until an answer begins, p95",
            "How long do users wait before anything comes? To the first token where the agent tells it, else the whole"
            " turn.",
            "s",
            Query("max by (agent) (agent:agent_response_seconds:p95_5m)"),
            limits=above("response.slow", colours=(WARN,)),
        ),
        series(
            "Open sessions",
            "How many conversations are open with each agent?",
            "short",
            Query("sum by (agent) (agent_sessions_active)"),
        ),
    ],
)

MONEY = Row(
    "Am I on budget, and does caching work?",
    [
        number_now(
            "Cost",
            "What did the agents cost in this time range? Estimated from public prices where the agent does not say"
            " it.",
            "currencyUSD",
            Query("sum(increase(agent_cost_usd_total[$__range]))", "cost"),
            decimals=2,
            empty="No cost",
        ),
        number_now(
            "Prompt cache",
            "How much of what was sent to models came from their cache, at about a tenth of the price?",
            "percentunit",
            Query(
                part(
                    'sum(increase(agent_tokens_total{type="cache_read"}[$__range]))',
                    f"sum(increase({PROMPT}[$__range]))",
                ),
                "from cache",
            ),
            limits=below("caches.prompt_ratio.collapsed", "caches.prompt_ratio.usual"),
            decimals=0,
            empty="No tokens",
        ),
        number_now(
            "Tokens without a price",
            "Which share of the tokens is missing from the cost, because the price of the model is unknown? Prices of"
            " your own go into the configuration.",
            "percentunit",
            Query(
                part(
                    "sum(increase(agent_cost_unpriced_tokens_total[$__range]))",
                    "sum(increase(agent_tokens_total[$__range]))",
                ),
                "unpriced",
            ),
            decimals=1,
            empty="All priced",
        ),
        dial(
            "Budget of a day",
            "How much of its budget did each agent spend in the last 24 hours?",
            "percentunit",
            Query("max by (agent) (agent:agent_cost_usd:increase1d) / on () group_left () agent_budget:usd:daily"),
            limits=above(1, colours=(BAD,)),
            empty="No cost",
            size=(12, 4),
        ),
        series(
            "Tokens per minute",
            "Are tokens paid in full, or read from a cache?",
            "short",
            Query(f"60 * sum(rate(agent_tokens_total{FRESH}[{RATE}]))", "fresh"),
            Query(f'60 * sum(rate(agent_tokens_total{{type="cache_read"}}[{RATE}]))', "from cache"),
            stacked=True,
        ),
        series(
            "Cost per hour",
            "How fast is money spent now, by agent?",
            "currencyUSD",
            Query(f"3600 * sum by (agent) (rate(agent_cost_usd_total[{RATE}]))"),
            step=STEADY,
            stacked=True,
        ),
    ],
)
RESTING = 'system_cpu_time_seconds_total{cpu_mode=~"idle|iowait"}'

MACHINE = Row(
    "Is the machine the cause?",
    [
        number_now(
            "Processors busy",
            "Do the machine's processors have room? Near 100 % everything waits.",
            "percentunit",
            Query(
                f"max(1 - sum by (instance) (rate({RESTING}[{RATE}])) / sum by (instance)"
                f" (rate(system_cpu_time_seconds_total[{RATE}])))",
                "busy",
            ),
            limits=above("processes.cpu", colours=(WARN,)),
            decimals=0,
            trend=True,
            size=(4, 8),
        ),
        number_now(
            "Memory used",
            "Does the machine have memory left for programs?",
            "percentunit",
            Query("max(1 - system_linux_memory_available_bytes / system_memory_limit_bytes)", "used"),
            limits=above("host.memory", colours=(BAD,)),
            decimals=0,
            trend=True,
            size=(4, 8),
        ),
        series(
            "Memory of each agent's process",
            "Which agent holds the memory, with all its children? The last mark is for coding agents, the others for"
            " workers.",
            "bytes",
            Query("agent_instance:agent_process_memory_rss:bytes", "{{agent}} {{agent_instance}}"),
            limits=above(*MEMORY, colours=(WARN, BAD, BAD)),
            size=(8, 8),
        ),
        series(
            "Garbage collection pauses, p99",
            "Do pauses of the runtime make agents slow?",
            "s",
            Query(
                quantile(0.99, "agent_runtime_gc_pause_seconds", "agent, agent_instance"),
                "{{agent}} {{agent_instance}}",
            ),
            limits=above("runtimes.gc_pause", colours=(WARN,)),
            step=STEADY,
            empty="No runtime tells its pauses",
            size=(8, 8),
        ),
    ],
)

BOARD = Board(
    "agent-overview",
    "Overview",
    "Is anything wrong, what are the agents doing, what does it cost? Read it from the top: alerts, agents, work,"
    " money, machine.",
    [NOW, AGENTS, WORK, MONEY, MACHINE],
)
