"""A whole board: its rows of panels, and what all boards share (variables, links, annotations, places)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass

from .panels import SOURCE
from .scope import scoped
from .sdk import dashboard

TAG = "agent-exporter"
WIDTH = 24
COMMON = ("job", "instance", "agent", "agent_instance")
PUSHING = "agent_source_last_seen_seconds|agent_process_start_time_seconds"
RUNNING = "agent_process_start_time_seconds|agent_runtime_.+|agent_queue_.+|agent_pool_.+"


@dataclass(frozen=True, slots=True)
class Choice:
    """A variable: what it is called, where its values come from, and what «All» matches.

    `.*` also matches series that lack the label: a framework may not tell its model's provider.
    """

    title: str
    series: str
    everything: str = ".*"
    help: str = ""


CHOICES = {
    "job": Choice("Job", "agent_exporter_build_info", ".+", "Name of the scrape job in prometheus.yml."),
    "instance": Choice(
        "Instance",
        'agent_exporter_build_info{job=~"$job"}',
        ".+",
        "Exporter, as Prometheus knows it. Objectives, baselines and other recorded series are over all exporters.",
    ),
    "agent": Choice(
        "Agent", f'{{__name__=~"{PUSHING}", job=~"$job", instance=~"$instance"}}', ".+", "Name of the agent."
    ),
    "agent_instance": Choice(
        "Process",
        f'{{__name__=~"{RUNNING}", job=~"$job", instance=~"$instance", agent=~"$agent"}}',
        help="One process of an agent. Follows you to boards that do not show it.",
    ),
    "tool": Choice("Tool", 'agent_tool_executions_total{job=~"$job", instance=~"$instance", agent=~"$agent"}'),
    "provider": Choice("Provider", 'agent_model_requests_total{job=~"$job", instance=~"$instance", agent=~"$agent"}'),
    "model": Choice(
        "Model",
        'agent_model_requests_total{job=~"$job", instance=~"$instance", agent=~"$agent", provider=~"$provider"}',
    ),
}

ANNOTATIONS = {
    "Alerts": (
        'ALERTS{alertstate="firing", severity!="none"}',
        "{{alertname}}",
        "{{severity}} {{agent}} {{tool}} {{model}}",
        "red",
    ),
    "Restarts": (
        "time() - agent_process_start_time_seconds < 60",
        "{{agent}} started",
        "{{role}} {{agent_instance}}",
        "blue",
    ),
    "New exporter version": (
        "count by (version) (agent_exporter_build_info unless on (version) agent_exporter_build_info offset 2m)",
        "agent-exporter {{version}}",
        "appeared",
        "purple",
    ),
}
"""What happened beside the curves: name, query, title, text, colour."""


@dataclass(frozen=True, slots=True)
class Row:
    """A question and the panels that answer it; a collapsed row costs nothing until it is opened."""

    question: str
    panels: Sequence[dashboard.Panel]
    collapsed: bool = False


@dataclass(frozen=True, slots=True)
class Board:
    """A board as its file describes it."""

    uid: str
    title: str
    question: str
    rows: Sequence[Row]
    variables: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    span: str = "now-6h"

    def build(self) -> dashboard.Dashboard:
        """Make the board of Grafana's classes."""
        names = COMMON + self.variables
        return dashboard.Dashboard(
            uid=self.uid,
            title=f"Agents / {self.title}",
            description=self.question,
            tags=[TAG],
            editable=False,
            graph_tooltip=dashboard.DashboardCursorSync.CROSSHAIR,
            time=dashboard.DashboardDashboardTime(self.span, "now"),
            refresh="1m",
            templating=dashboard.DashboardDashboardTemplating([source(), *(self.variable(name) for name in names)]),
            annotations=dashboard.AnnotationContainer([annotation(name, names) for name in ANNOTATIONS]),
            links=[others()],
            panels=list(placed(self.rows, names)),
        )

    def variable(self, name: str) -> dashboard.VariableModel:
        """Return a choice of one, several or all values of a label."""
        choice = CHOICES[name]
        hidden = name in self.hidden
        return dashboard.VariableModel(
            type_val=dashboard.VariableType.QUERY,
            name=name,
            label=choice.title,
            description=choice.help or None,
            hide=dashboard.VariableHide.HIDE_VARIABLE if hidden else dashboard.VariableHide.DONT_HIDE,
            datasource=SOURCE,
            query={"query": f"label_values({choice.series}, {name})", "refId": "StandardVariableQuery"},
            definition=f"label_values({choice.series}, {name})",
            multi=True,
            include_all=True,
            all_value=choice.everything,
            refresh=dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED,
            sort=dashboard.VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC,
            current=dashboard.VariableOption(selected=True, text=["All"], value=["$__all"]),
            options=[],
            regex="",
        )


def source() -> dashboard.VariableModel:
    """Return the choice of a Prometheus, which every query goes to."""
    return dashboard.VariableModel(
        type_val=dashboard.VariableType.DATASOURCE,
        name="datasource",
        label="Data source",
        hide=dashboard.VariableHide.DONT_HIDE,
        query="prometheus",
        refresh=dashboard.VariableRefresh.ON_DASHBOARD_LOAD,
        options=[],
        regex="",
    )


def others() -> dashboard.DashboardLink:
    """Return the menu of the other boards, which keeps time and variables."""
    return dashboard.DashboardLink(
        title="Agents",
        type_val=dashboard.DashboardLinkType.DASHBOARDS,
        tags=[TAG],
        icon="external link",
        tooltip="The other boards, with this time range and these variables",
        url="",
        as_dropdown=True,
        include_vars=True,
        keep_time=True,
    )


def annotation(name: str, variables: tuple[str, ...]) -> dashboard.AnnotationQuery:
    """Return marks for what happened beside the curves."""
    expression, title, said, colour = ANNOTATIONS[name]
    return dashboard.AnnotationQuery(
        name=name,
        datasource=SOURCE,
        enable=True,
        icon_color=colour,
        expr=scoped(expression, variables),
        step="60s",
        title_format=title,
        text_format=said,
    )


def placed(rows: Sequence[Row], variables: tuple[str, ...]) -> Iterator[dashboard.Panel | dashboard.RowPanel]:
    """Give each row its head and each panel its place, id and filters, from top to bottom."""
    top = 0
    for row in rows:
        panels = deepcopy(list(row.panels))
        place = dashboard.GridPos(h=1, w=WIDTH, x=0, y=top)
        head = dashboard.RowPanel(row.collapsed, row.question, grid_pos=place, id_val=identity(row.question), panels=[])
        bottom = laid(panels, top + 1)
        for panel in panels:
            panel.id_val = identity(f"{row.question}/{panel.title}")
            for target in panel.targets:
                target.expr = scoped(target.expr, variables)
        yield head
        if row.collapsed:
            head.panels = panels
            top += 1
        else:
            yield from panels
            top = bottom


def laid(panels: Sequence[dashboard.Panel], top: int) -> int:
    """Lay panels in lines of the full width, all of a line equally high; return where the next row begins."""
    left = height = 0
    for panel in panels:
        place = panel.grid_pos
        if left + place.w > WIDTH:
            left, top = 0, top + height
        place.x, place.y, height = left, top, place.h
        left += place.w
    return top + height


def identity(name: str) -> int:
    """Return a panel's id: made of its name, so that links to a panel survive when it is moved."""
    return zlib.crc32(name.encode()) % 1_000_000 + 1
