"""The board of promises and of the exporter: what is at risk, what became worse, whether to trust the numbers."""

from __future__ import annotations

from .ask import RATE, budget_left, burn, link, per_minute, quantile, total
from .frame import Board, Row
from .limits import BAD, GOOD, WARN, above, below, thresholds
from .panels import STEADY, Column, Query, rows, series

BURN = thresholds()["slo"]["burn"]
LEFT = f"min by (agent, slo) ({budget_left()})"
PERIOD = thresholds()["slo"]["period"]
BUDGET = "agent, slo"


def spending(each: dict[str, object]) -> str:
    """Say how fast each agent spends each budget, over the long window of a pair."""
    return f"max by ({BUDGET}) ({burn(each['long'], each['requests'])})"


PROMISES = Row(
    "Which promise is at risk?",
    [
        rows(
            "Objectives",
            "Which agent keeps its promises this week? A burn rate of 1 spends the budget exactly by the end of the"
            " week, 10 in a tenth of it. Colours mark where the alerts begin; where there are too few calls to judge,"
            " nothing is said.",
            [
                Column("Agent", label="agent", link=link("agent-tools", agent="Agent")),
                Column("Objective", label="slo"),
                Column(
                    "Promised",
                    f"max by ({BUDGET}) (0 * agent:slo_requests:increase{PERIOD}"
                    " + on (slo) group_left () slo:objective:ratio)",
                    "percentunit",
                ),
                Column(
                    "Kept",
                    f"min by ({BUDGET}) (1 - agent:slo_errors_per_request:ratio_rate{PERIOD})",
                    "percentunit",
                    decimals=2,
                ),
                Column("Budget left", LEFT, "percentunit", below(0, colours=(BAD,)), decimals=0),
                *(
                    Column(
                        f"Burn {each['long']}",
                        spending(each),
                        limits=above(
                            f"slo.burn.{index}.factor", colours=(BAD if each["severity"] == "critical" else WARN,)
                        ),
                        decimals=2,
                    )
                    for index, each in enumerate(BURN)
                ),
                Column("Counted", f"sum by ({BUDGET}) (agent:slo_requests:increase{PERIOD})", decimals=0),
            ],
            sort="Counted",
            empty="Nothing counted yet; needs alerts/rules in Prometheus",
        )
    ],
)

SPENDING = Row(
    "Is it fast or slow?",
    [
        series(
            "Burn rate, 1 hour",
            "Does something break just now? At the mark the budget of a week is gone in half a day.",
            "short",
            Query(spending(BURN[0]), "{{agent}} {{slo}}"),
            limits=above("slo.burn.0.factor", colours=(BAD,)),
        ),
        series(
            "Burn rate, 6 hours",
            "Does it go on for hours?",
            "short",
            Query(spending(BURN[1]), "{{agent}} {{slo}}"),
            limits=above("slo.burn.1.factor", colours=(BAD,)),
        ),
        series(
            "Burn rate, 3 days",
            "Is it slowly too much? The thin line above is one day.",
            "short",
            Query(spending(BURN[3]), "{{agent}} {{slo}}"),
            Query(spending(BURN[2]), "{{agent}} {{slo}} (1 day)"),
            limits=above("slo.burn.3.factor"),
        ),
        series(
            "Error budget left",
            "How much of the week's budget is left? Below 0 % the promise is broken.",
            "percentunit",
            Query(LEFT, "{{agent}} {{slo}}"),
            limits=below(0, colours=(BAD,)),
            low=None,
            high=1,
        ),
    ],
)

REGRESSIONS = Row(
    "Did a release make it worse?",
    [
        series(
            "Duration of tools, against last week",
            "Do calls take longer than last week? 1 is as usual. Look for an alert or a restart where it begins.",
            "short",
            Query(
                "agent:agent_tool_execution_duration_seconds:mean5m /"
                " (agent:agent_tool_execution_duration_seconds:mean5m:baseline7d > 0)",
            ),
            limits=above("regressions.duration"),
            empty="Not enough history yet",
            size=(8, 8),
        ),
        series(
            "Memory, against last week",
            "Do processes hold more memory than last week? 1 is as usual.",
            "short",
            Query("agent:agent_process_memory_rss:bytes / (agent:agent_process_memory_rss:bytes:baseline7d > 0)"),
            limits=above("regressions.memory"),
            empty="Not enough history yet",
            size=(8, 8),
        ),
        series(
            "Failures, against last week",
            "Do more calls fail than last week? 0 is as usual, 5 % are five more of a hundred.",
            "percentunit",
            Query(
                "agent:agent_tool_failures_per_executions:ratio_rate5m -"
                " agent:agent_tool_failures_per_executions:ratio_rate5m:baseline7d"
            ),
            limits=above("regressions.failures"),
            low=None,
            empty="Not enough history yet",
            size=(8, 8),
        ),
    ],
)

TRUST = Row(
    "Can I trust these boards?",
    [
        rows(
            "Who sends what",
            "Which agent sends which signal, and when did it last? What is not here is not measured.",
            [
                Column("Agent", label="agent"),
                Column("Signal", label="signal"),
                Column("Last heard of", "time() - max by (agent, signal) (agent_source_last_seen_seconds)", "s"),
                Column("Not understood", total("agent_exporter_unmapped_items_total", "agent, signal"), decimals=0),
            ],
            sort="Last heard of",
            empty="Nothing was received yet",
            size=(12, 8),
        ),
        rows(
            "Exporters",
            "Which version runs where, how full and how quick is it?",
            [
                Column("Exporter", label="instance"),
                Column("Version", label="version"),
                Column("Python", label="python"),
                Column(
                    "Running",
                    "max by (instance, version, python) (agent_exporter_build_info)",
                    words=(("1", "yes", GOOD),),
                ),
                Column("Series", "max by (instance) (agent_exporter_series)", decimals=0),
                Column("Scrape", "max by (instance) (scrape_duration_seconds)", "s", above("scrape.seconds")),
            ],
            sort="Series",
            empty="No exporter seen",
            size=(12, 8),
        ),
        series(
            "Received per minute",
            "How much do the agents send, and in how many requests (on the right)?",
            "short",
            Query(per_minute("agent_exporter_received_items_total", "signal"), "{{signal}}"),
            Query(per_minute("agent_exporter_requests_total", "signal, protocol"), "{{signal}} requests, {{protocol}}"),
            right=("/.* requests, .*/", "opm"),
            size=(8, 8),
        ),
        series(
            "Lost per minute",
            "Is anything sent and not taken? Points that change nothing are usual; refused and rejected ones are not.",
            "short",
            Query(
                per_minute("agent_exporter_rejected_items_total", "signal, reason"), "rejected {{signal}}: {{reason}}"
            ),
            Query(
                per_minute("agent_exporter_refused_requests_total", "signal, reason"), "refused {{signal}}: {{reason}}"
            ),
            Query(per_minute("agent_exporter_dropped_points_total", "reason"), "without effect: {{reason}}"),
            empty="Nothing was lost",
            size=(8, 8),
        ),
        series(
            "Limits reached, per hour",
            "Does something have too many values or streams? They are put together, under `other` or as overflow.",
            "short",
            Query(f"3600 * sum by (label) (rate(agent_exporter_folded_labels_total[{RATE}]))", "folded: {{label}}"),
            Query(f"3600 * sum(rate(agent_exporter_overflowed_streams_total[{RATE}]))", "streams in overflow series"),
            Query(f"3600 * sum(rate(agent_exporter_dropped_sessions_total[{RATE}]))", "sessions forgotten early"),
            Query(
                f"3600 * sum(rate(agent_exporter_label_collisions_total[{RATE}]))", "attributes that became one label"
            ),
            Query("max(agent_exporter_omitted_families)", "families left out"),
            step=STEADY,
            empty="No limit was reached",
            size=(8, 8),
        ),
    ],
)

INSIDE = Row(
    "What does the exporter do inside?",
    [
        series(
            "Streams and series",
            "Does the number of time series grow without end?",
            "short",
            Query("max by (instance) (agent_exporter_streams)", "{{instance}} streams"),
            Query("max by (instance) (agent_exporter_series)", "{{instance}} series"),
            Query(
                "max by (instance) (scrape_samples_post_metric_relabeling and on (job, instance)"
                " agent_exporter_build_info)",
                "{{instance}} samples",
            ),
            limits=above("scrape.samples"),
            size=(8, 8),
        ),
        series(
            "Scrapes",
            "Is the page quick to make? Its size is on the right.",
            "s",
            Query(
                quantile(0.95, "agent_exporter_scrape_duration_seconds", "instance"), "{{instance}} p95", exemplar=True
            ),
            Query(quantile(0.95, "agent_exporter_scrape_size_bytes", "instance"), "{{instance}} size p95"),
            right=("/.* size .*/", "bytes"),
            step=STEADY,
            size=(8, 8),
        ),
        series(
            "Forgotten and begun again, per hour",
            "How much goes away because nothing feeds it, and how often do counters of agents begin again? Both are"
            " usual.",
            "short",
            Query(f"3600 * sum by (kind) (rate(agent_exporter_expired_total[{RATE}]))", "forgotten {{kind}}"),
            Query(f"3600 * sum(rate(agent_exporter_resets_total[{RATE}]))", "counters begun again"),
            Query(f"3600 * sum(rate(agent_exporter_gaps_total[{RATE}]))", "gaps between deltas"),
            step=STEADY,
            size=(8, 8),
        ),
        series(
            "Odd data, per hour",
            "Do agents send what does not fit together: spans without their parents, parts larger than the whole? What"
            " could the library inside them not do?",
            "short",
            Query(
                f"3600 * sum by (reason) (rate(agent_exporter_orphaned_spans_total[{RATE}]))", "orphaned: {{reason}}"
            ),
            Query(f"3600 * sum by (agent) (rate(agent_exporter_clamped_values_total[{RATE}]))", "{{agent}} below zero"),
            Query(
                f"3600 * sum by (agent, reason) (rate(agent_telemetry_failures_total[{RATE}]))",
                "{{agent}} library: {{reason}}",
            ),
            step=STEADY,
            empty="Nothing odd",
            size=(8, 8),
        ),
        series(
            "Reading the machine and the settings, per hour",
            "Could processes and devices be read, and the configuration when it was read again?",
            "short",
            Query(
                f"3600 * sum by (source, reason) (rate(agent_exporter_sample_errors_total[{RATE}]))",
                "{{source}} not read: {{reason}}",
            ),
            Query(f"3600 * sum by (result) (rate(agent_exporter_config_reloads_total[{RATE}]))", "reload: {{result}}"),
            step=STEADY,
            empty="Nothing to report",
            size=(8, 8),
        ),
        series(
            "Read the fast way",
            "How much of what comes has the form of what came before, so that it is read fastest?",
            "opm",
            Query(per_minute("agent_exporter_template_hits_total", "instance"), "{{instance}}"),
            size=(8, 8),
        ),
    ],
    collapsed=True,
)

BOARD = Board(
    "agent-slo",
    "SLO & exporter",
    "Which promise is at risk, did a release make it worse, and can I trust these boards?",
    [PROMISES, SPENDING, REGRESSIONS, TRUST, INSIDE],
    span="now-24h",
)
