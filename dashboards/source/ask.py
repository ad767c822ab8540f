"""Expressions that many panels share: rates, totals, quantiles, shares, links to other boards.

`sum by` is always there, and divisors are `> 0`: an idle agent has no ratio instead of NaN.
"""

from __future__ import annotations

from .limits import thresholds

RATE, RANGE = "$__rate_interval", "$__range"
FRESH = '{type!="cache_read"}'
"""Tokens that were paid in full; what is read from a cache costs a tenth, and is often ten times as much."""


def per_second(counter: str, by: str = "agent") -> str:
    """Say how often, each second."""
    return f"sum by ({by}) (rate({counter}[{RATE}]))"


def per_minute(counter: str, by: str = "agent") -> str:
    """Say how often, each minute: most of what agents do is counted in minutes."""
    return f"60 * {per_second(counter, by)}"


def total(counter: str, by: str = "agent") -> str:
    """Say how many in the time range."""
    return f"sum by ({by}) (increase({counter}[{RANGE}]))"


def quantile(share: float, histogram: str, by: str = "agent", where: str = "", window: str = RATE) -> str:
    """Say what a share of the calls stays below; nothing where there were none."""
    counted = "rate" if window == RATE else "increase"
    return f"histogram_quantile({share}, sum by ({by}, le) ({counted}({histogram}_bucket{where}[{window}]))) >= 0"


def part(of: str, whole: str) -> str:
    """Divide, where there is anything to divide by."""
    return f"{of} / ({whole} > 0)"


def buckets(histogram: str, where: str = "") -> str:
    """Return a histogram's buckets over time, for a heatmap."""
    return f"sum by (le) (increase({histogram}_bucket{where}[{RATE}]))"


def burn(window: str, requests: int, which: str = "") -> str:
    """Say how many times too fast an error budget is spent, where there are enough calls to judge, as for the alerts.

    1 spends the budget exactly in its period.
    """
    errors = f"agent:slo_errors_per_request:ratio_rate{window}{which}"
    judged = f"({errors} and agent:slo_requests:increase{window} >= {requests})"
    return f"{judged} / on (slo) group_left () (1 - slo:objective:ratio)"


def budget_left(which: str = "") -> str:
    """Say how much of the period's error budget is left."""
    slo = thresholds()["slo"]
    return f"1 - {burn(slo['period'], slo['burn'][-1]['requests'], which)}"


def failing() -> str:
    """Say how often interfaces failed in a row, of those that failed at all: healthy ones would fill the panel."""
    often = "max by (agent, interface) (agent_interface_consecutive_failures)"
    return f"{often} and max by (agent, interface) (max_over_time(agent_interface_consecutive_failures[{RANGE}])) > 0"


def edge(value: float) -> str:
    """Write a bucket's bound as a matcher: Prometheus 3 says `1.0` where 2 says what the exporter wrote.

    The dot is escaped, for `1.0` as a regular expression is also 120.
    """
    return rf'le=~"{value:.12g}|{value:.0f}\\.0"' if value == int(value) else f'le="{value:.12g}"'


def link(uid: str, **variables: str) -> str:
    """Link to a board with this time range and these variables, some of them from the row's cells."""
    kept = [name for name in ("datasource", "job", "instance", "agent", "agent_instance") if name not in variables]
    asked = [f"${{{name}:queryparam}}" for name in kept]
    asked += [f'var-{name}=${{__data.fields["{column}"]}}' for name, column in variables.items()]
    return f"/d/{uid}?{'&'.join((*asked, '${__url_time_range}'))}"
