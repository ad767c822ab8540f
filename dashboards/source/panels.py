"""The house style: what each kind of panel looks like. A board file chooses a kind and says the rest.

Every function returns a panel without place, id and filters; frame.py adds them. `question` is what
a newcomer would ask, and how to read the answer; where there are lines, their values are added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .limits import GOOD, PLAIN, Limits, number, text
from .sdk import common, dashboard, gauge, heatmap, prometheus, stat, statetimeline

SOURCE = common.DataSourceRef("prometheus", "${datasource}")
CALM, STEADY = "1m", "2m"
"""Shortest steps: agents call every few seconds, not every few milliseconds. Quantiles and ratios need more calls."""
QUIET = "Nothing in this time range"
"""What a panel without data says, if nothing better can be said."""

Property = tuple[str, object]


@dataclass(frozen=True, slots=True)
class Query:
    """An expression, what its series are called, and whether to ask for examples (traces) too."""

    expression: str
    legend: str = "{{agent}}"
    exemplar: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: a query at the end of the time range, or with `label` one of the labels of the rows."""

    title: str
    expression: str = ""
    unit: str = "short"
    limits: Limits = field(default_factory=Limits)
    decimals: int | None = None
    label: str = ""
    link: str = ""
    words: tuple[tuple[str, str, str], ...] = ()
    width: int = 0


def series(
    title: str,
    question: str,
    unit: str,
    *queries: Query,
    limits: Limits | None = None,
    low: float | None = 0,
    high: float | None = None,
    stacked: bool = False,
    right: tuple[str, str] | None = None,
    step: str = CALM,
    empty: str = QUIET,
    size: tuple[int, int] = (12, 8),
) -> dashboard.Panel:
    """Draw lines over time; limits are dashed lines, `right` is a legend's pattern and unit for a second axis."""
    custom = {
        "drawStyle": "line",
        "fillOpacity": 40 if stacked else 10,
        "lineWidth": 1,
        "showPoints": "auto",
        # A gap of a few minutes is an agent that waits for its user; a longer one is a gap.
        "spanNulls": 300_000 if step == STEADY else False,
        "stacking": {"group": "A", "mode": "normal" if stacked else "none"},
        "thresholdsStyle": {"mode": "dashed" if limits else "off"},
    }
    options = {
        "legend": common.VizLegendOptions(
            display_mode=common.LegendDisplayMode.TABLE,
            placement=common.LegendPlacement.BOTTOM,
            show_legend=True,
            calcs=["lastNotNull", "max"],
            sort_by="Last *",
            sort_desc=True,
        ),
        "tooltip": common.VizTooltipOptions(
            mode=common.TooltipDisplayMode.MULTI, sort=common.SortOrder.DESCENDING, hide_zeros=False
        ),
    }
    config = fields(unit, empty, limits, dashboard.FieldColorModeId.PALETTE_CLASSIC_BY_NAME)
    config.min_val, config.max_val, config.custom = low, high, custom
    overrides = [override("byRegexp", right[0], ("custom.axisPlacement", "right"), ("unit", right[1]))] if right else []
    return panel(
        "timeseries",
        title,
        question,
        queries,
        config,
        options,
        limits=limits,
        size=size,
        overrides=overrides,
        step=step,
    )


def number_now(
    title: str,
    question: str,
    unit: str,
    *queries: Query,
    limits: Limits | None = None,
    words: tuple[tuple[str, str, str], ...] = (),
    decimals: int | None = None,
    empty: str = "No data",
    trend: bool = False,
    size: tuple[int, int] = (4, 4),
) -> dashboard.Panel:
    """Show a number large, as it is at the end of the time range; `words` say what some values mean."""
    options = stat.Options(
        color_mode=common.BigValueColorMode.VALUE,
        graph_mode=common.BigValueGraphMode.AREA if trend else common.BigValueGraphMode.NONE,
        text_mode=common.BigValueTextMode.VALUE_AND_NAME if len(queries) > 1 else common.BigValueTextMode.AUTO,
        reduce_options=common.ReduceDataOptions(values=False, calcs=["lastNotNull"], fields=""),
    )
    config = fields(unit, empty, limits, dashboard.FieldColorModeId.THRESHOLDS)
    config.mappings, config.decimals = [*meanings(words), silence(empty)], decimals
    return panel("stat", title, question, queries, config, options, limits=limits, size=size, instant=not trend)


def dial(
    title: str,
    question: str,
    unit: str,
    *queries: Query,
    limits: Limits,
    empty: str = "No data",
    size: tuple[int, int] = (6, 8),
) -> dashboard.Panel:
    """Show how much of a limit is used."""
    options = gauge.Options(
        show_threshold_markers=True,
        reduce_options=common.ReduceDataOptions(values=False, calcs=["lastNotNull"], fields=""),
    )
    config = fields(unit, empty, limits, dashboard.FieldColorModeId.THRESHOLDS)
    config.min_val, config.max_val, config.mappings = 0, 1, [silence(empty)]
    return panel("gauge", title, question, queries, config, options, limits=limits, size=size, instant=True)


def density(
    title: str, question: str, unit: str, expression: str, *, empty: str = QUIET, size: tuple[int, int] = (12, 8)
) -> dashboard.Panel:
    """Show a histogram over time: the darker a cell, the more calls took that long."""
    axis = heatmap.YAxisConfig(unit=unit, axis_placement=common.AxisPlacement.LEFT, reverse=False)
    options = heatmap.Options(
        calculate=False,
        cell_values=heatmap.CellValues(unit="short", decimals=1),
        color=heatmap.HeatmapColorOptions(
            mode=heatmap.HeatmapColorMode.SCHEME,
            scheme="Blues",
            fill="dark-blue",
            scale=heatmap.HeatmapColorScale.EXPONENTIAL,
            exponent=0.5,
            steps=64,
        ),
        exemplars=heatmap.ExemplarConfig("rgba(255,0,255,0.7)"),
        filter_values=heatmap.FilterValueRange(le=1e-9),
        legend=heatmap.HeatmapLegend(show=True),
        rows_frame=heatmap.RowsHeatmapOptions(layout=common.HeatmapCellLayout.AUTO),
        show_value=common.VisibilityMode.NEVER,
        tooltip=heatmap.HeatmapTooltip(mode=common.TooltipDisplayMode.SINGLE, y_histogram=True, show_color_scale=True),
        y_axis=axis,
    )
    config = fields(unit, empty)
    config.custom = heatmap.FieldConfig()
    asked = [Query(expression, "{{le}}", exemplar=True)]
    made = panel("heatmap", title, question, asked, config, options, size=size, step=CALM)
    made.targets[0].format_val = prometheus.PromQueryFormat.HEATMAP
    return made


def states(
    title: str,
    question: str,
    unit: str,
    *queries: Query,
    limits: Limits | None = None,
    words: tuple[tuple[str, str, str], ...] = (),
    empty: str = QUIET,
    size: tuple[int, int] = (12, 8),
) -> dashboard.Panel:
    """Draw a bar for each series, which changes its colour with its state; the state is written on it."""
    options = statetimeline.Options(
        show_value=common.VisibilityMode.AUTO,
        legend=common.VizLegendOptions(
            display_mode=common.LegendDisplayMode.LIST,
            placement=common.LegendPlacement.BOTTOM,
            show_legend=False,
            calcs=[],
        ),
        tooltip=common.VizTooltipOptions(mode=common.TooltipDisplayMode.SINGLE, sort=common.SortOrder.NONE),
    )
    config = fields(unit, empty, limits, dashboard.FieldColorModeId.THRESHOLDS)
    config.mappings, config.custom = meanings(words), statetimeline.FieldConfig()
    return panel("state-timeline", title, question, queries, config, options, limits=limits, size=size, step=CALM)


def rows(
    title: str,
    question: str,
    columns: Sequence[Column],
    *,
    sort: str,
    empty: str = QUIET,
    size: tuple[int, int] = (24, 8),
) -> dashboard.Panel:
    """Join queries into one table, a row for each set of labels that they share."""
    asked = [column for column in columns if not column.label]
    queries = [Query(column.expression, column.title) for column in asked]
    # Not table.Options: Grafana 13 has no footer there any more.
    options = {"cellHeight": "sm", "showHeader": True, "sortBy": [{"displayName": sort, "desc": True}]}
    config = fields("short", empty, None, dashboard.FieldColorModeId.THRESHOLDS)
    config.custom = {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False}
    overrides = [look(each) for each in columns]
    made = panel("table", title, question, queries, config, options, size=size, overrides=overrides, instant=True)
    for target in made.targets:
        target.format_val = prometheus.PromQueryFormat.TABLE
    made.transformations = joined(columns)
    return made


def joined(columns: Sequence[Column]) -> list[dashboard.DataTransformerConfig]:
    """Merge the queries' frames by their labels; name the columns and put them in order."""
    asked = iter("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    # One query alone keeps the name Value; merging adds the letter to it where there are several.
    several = sum(not column.label for column in columns) > 1
    names = [column.label or (f"Value #{next(asked)}" if several else "Value") for column in columns]
    organize = {
        "excludeByName": {"Time": True},
        "includeByName": {},
        "indexByName": {name: index for index, name in enumerate(names)},
        "renameByName": {name: column.title for name, column in zip(names, columns, strict=True)},
    }
    return [
        dashboard.DataTransformerConfig("merge", options={}),
        dashboard.DataTransformerConfig("organize", options=organize),
    ]


def look(column: Column) -> dashboard.DashboardFieldConfigSourceOverrides:
    """Say how a column is written, coloured and linked."""
    said: list[Property] = [] if column.label else [("unit", column.unit), ("decimals", column.decimals)]
    if column.limits.names:
        said += [("thresholds", column.limits.steps()), ("custom.cellOptions", {"type": "color-text"})]
    if column.words:
        said += [("mappings", meanings(column.words)), ("custom.cellOptions", {"type": "color-text"})]
    if column.link:
        link = {"title": "Open the board of this row", "url": column.link, "targetBlank": False}
        said.append(("links", [link]))
    if column.width:
        said.append(("custom.width", column.width))
    return override("byName", column.title, *(each for each in said if each[1] is not None))


def override(matcher: str, options: str, *said: Property) -> dashboard.DashboardFieldConfigSourceOverrides:
    """Set properties of the fields that a matcher finds."""
    return dashboard.DashboardFieldConfigSourceOverrides(
        matcher=dashboard.MatcherConfig(matcher, options),
        properties=[dashboard.DynamicConfigValue(name, value) for name, value in said],
    )


def meanings(words: tuple[tuple[str, str, str], ...]) -> list[dashboard.ValueMap]:
    """Write words for values: (value, word, colour)."""
    results = {
        value: dashboard.ValueMappingResult(text=word, color=colour, index=index)
        for index, (value, word, colour) in enumerate(words)
    }
    return [dashboard.ValueMap(options=results)] if words else []


def silence(empty: str) -> dashboard.SpecialValueMap:
    """Say in words, and without a colour, that there is no value: no traffic is no fault."""
    result = dashboard.ValueMappingResult(text=empty, color=PLAIN)
    return dashboard.SpecialValueMap(
        options=dashboard.DashboardSpecialValueMapOptions(dashboard.SpecialValueMatch.NULL_AND_NAN, result)
    )


def fields(
    unit: str,
    empty: str,
    limits: Limits | None = None,
    colour: dashboard.FieldColorModeId | None = None,
) -> dashboard.FieldConfig:
    """Return what all kinds say of their values."""
    return dashboard.FieldConfig(
        unit=unit,
        no_value=empty,
        color=dashboard.FieldColor(colour) if colour else None,
        thresholds=(limits or Limits()).steps(),
    )


def explained(question: str, unit: str, limits: Limits | None) -> str:
    """Add where the lines are to a question: colour is never the only signal."""
    if not limits or not any(isinstance(name, str) for name in limits.names):
        return question
    lines = ", ".join(f"{text(number(name), unit)} ({colour_of(limits, at)})" for at, name in enumerate(limits.names))
    return f"{question} Marks: {lines}."


def colour_of(limits: Limits, at: int) -> str:
    """Say in words which side of a mark has which colour."""
    under, over = limits.colours[at], limits.colours[at + 1]
    return f"{under} below" if over == GOOD else f"{over} above"


def panel(
    kind: str,
    title: str,
    question: str,
    queries: Sequence[Query],
    config: dashboard.FieldConfig,
    options: object,
    *,
    limits: Limits | None = None,
    size: tuple[int, int],
    overrides: Sequence[dashboard.DashboardFieldConfigSourceOverrides] = (),
    step: str | None = None,
    instant: bool = False,
) -> dashboard.Panel:
    """Put a panel together; its queries get letters in their order."""
    return dashboard.Panel(
        type_val=kind,
        title=title,
        description=explained(question, str(config.unit), limits),
        datasource=SOURCE,
        targets=[target(chr(ord("A") + index), query, instant=instant) for index, query in enumerate(queries)],
        field_config=dashboard.FieldConfigSource(config, list(overrides)),
        options=options,
        interval=step,
        grid_pos=dashboard.GridPos(w=size[0], h=size[1]),
    )


def target(letter: str, query: Query, *, instant: bool) -> prometheus.Dataquery:
    """Return a query as Grafana's classes have it."""
    return prometheus.Dataquery(
        datasource=SOURCE,
        editor_mode=prometheus.QueryEditorMode.CODE,
        exemplar=query.exemplar,
        expr=query.expression,
        instant=instant,
        legend_format=query.legend,
        range_val=not instant,
        ref_id=letter,
    )
