"""Draw every board as a picture: `make pictures` writes docs/pictures/*.png.

What may live here: asking the fleet's Prometheus what a board's panels ask, putting the answers as a
panel has them, and letting Chromium draw pictures.html. It is our own preview, not Grafana: it shows
the layout, titles, units, limits and the data; not Grafana's own look.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
if __name__ == "__main__":
    sys.path[:0] = [str(HERE.parent)]

from dashboards.boards import NAMES, board, filled  # noqa: E402
from dashboards.fleet import settled  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    from end_to_end.prometheus import Prometheus

LIBRARY = "https://registry.npmjs.org/echarts/-/echarts-6.1.0.tgz"  # Apache-2.0; fetched, not kept
SPAN, STEP = 3600, 60  # seconds that a picture shows, and between its points
MACROS = {"$__rate_interval": "2m", "$__range": "1h", "$__interval": "1m"}  # what Grafana puts there then
WIDTH, ROW, GAP, AROUND = 1600, 30, 8, 70  # pixels
LEGEND = re.compile(r"\{\{\s*(\w+)\s*\}\}")
QUANTITY = ("timeseries", "stat", "gauge", "state-timeline")


def shown(made: dict[str, Any], prometheus: Prometheus, now: int) -> dict[str, Any]:
    """Put a board together with its data."""
    found = [panel | drawn(panel, prometheus, now) for panel in map(place, opened(made["panels"]))]
    parts = {"title": made["title"], "question": made["description"], "now": now, "from": now - SPAN}
    return {**parts, "panels": found}


def opened(panels: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """List all panels with every row open; those of a collapsed row move what is below them."""
    lower = 0
    for panel in panels:
        yield _moved(panel, lower)
        inside = panel.get("panels", [])
        yield from (_moved(each, lower) for each in inside)
        if inside:
            lower += max(each["gridPos"]["y"] + each["gridPos"]["h"] for each in inside) - panel["gridPos"]["y"] - 1


def _moved(panel: dict[str, Any], lower: int) -> dict[str, Any]:
    return {**panel, "gridPos": {**panel["gridPos"], "y": panel["gridPos"]["y"] + lower}}


def place(panel: dict[str, Any]) -> dict[str, Any]:
    """Take over what a panel says of its place and kind."""
    return {**panel["gridPos"], "type": panel["type"], "title": panel["title"], "panel": panel}


def drawn(panel: dict[str, Any], prometheus: Prometheus, now: int) -> dict[str, Any]:
    """Ask what a panel asks, and look as it does."""
    made = panel.pop("panel")
    if panel["type"] == "row":
        return {}
    defaults = made["fieldConfig"]["defaults"]
    custom = defaults.get("custom", {})
    parts = {
        "look": look(defaults),
        "stacked": custom.get("stacking", {}).get("mode") == "normal",
        "lines": custom.get("thresholdsStyle", {}).get("mode", "off") != "off",
    }
    if panel["type"] == "table":
        return parts | table(made, prometheus, now)
    if panel["type"] == "heatmap":
        return (
            parts | {"look": {**parts["look"], "unit": made["options"]["yAxis"]["unit"]}} | heat(made, prometheus, now)
        )
    return parts | quantities(made, prometheus, now)


def look(config: dict[str, Any]) -> dict[str, Any]:
    """Tell how values are written and coloured."""
    words: dict[str, Any] = {}
    for mapping in config.get("mappings", []):
        words |= mapping["options"] if mapping["type"] == "value" else {}
    steps = config.get("thresholds", {}).get("steps") or [{"value": None, "color": "text"}]
    kept = {name: config.get(name) for name in ("unit", "decimals", "min", "max", "noValue")}
    return {**kept, "words": words, "steps": steps}


def quantities(panel: dict[str, Any], prometheus: Prometheus, now: int) -> dict[str, Any]:
    """Ask for lines, or for single values."""
    sides = [each for each in panel["fieldConfig"].get("overrides", []) if _sets(each, "custom.axisPlacement")]
    right = re.compile(sides[0]["matcher"]["options"].strip("/")) if sides else None
    series = [
        {"name": name, "points": points, "right": bool(right and right.search(name))}
        for target in panel["targets"]
        for name, points in answers(target, prometheus, now)
    ]
    unit = _sets(sides[0], "unit") if sides else None
    return {"series": series, "right": {**look({}), "unit": unit} if sides else None}


def _sets(override: dict[str, Any], name: str) -> Any:
    return next((each["value"] for each in override["properties"] if each["id"] == name), None)


def answers(target: dict[str, Any], prometheus: Prometheus, now: int) -> Iterator[tuple[str, list[list[float]]]]:
    """Ask one query; yields each series' name and points."""
    for metric, points in asked(target, prometheus, now):
        yield named(target["legendFormat"], metric), points


def named(legend: str, metric: dict[str, str]) -> str:
    """Write a series' name."""
    return LEGEND.sub(lambda found: metric.get(found[1], ""), legend)


def asked(target: dict[str, Any], prometheus: Prometheus, now: int) -> list[tuple[dict[str, str], list[list[float]]]]:
    """Ask one query as Grafana would; every series' labels and points, in time."""
    query = filled(target["expr"], macros=MACROS)
    if target.get("instant"):
        rows = prometheus.ask("query", query=query, time=now)["result"]
        return [(row["metric"], _numbers([row["value"]])) for row in rows if _numbers([row["value"]])]
    rows = prometheus.ask("query_range", query=query, start=now - SPAN, end=now, step=STEP)["result"]
    return [(row["metric"], _numbers(row["values"])) for row in rows if _numbers(row["values"])]


def _numbers(values: list[list[Any]]) -> list[list[float]]:
    return [[at, float(value)] for at, value in values if value not in ("NaN", "+Inf", "-Inf")]


def table(panel: dict[str, Any], prometheus: Prometheus, now: int) -> dict[str, Any]:
    """Merge the answers by their labels, and name and order the columns as the transformations say."""
    organize = next(each["options"] for each in panel["transformations"] if each["id"] == "organize")
    names = sorted(organize["indexByName"], key=organize["indexByName"].__getitem__)
    found = [
        (metric, f"Value #{target['refId']}" if len(panel["targets"]) > 1 else "Value", points[-1][1])
        for target in panel["targets"]
        for metric, points in asked(target, prometheus, now)
    ]
    common = set.intersection(*({*metric} for metric, *_ in found)) if found else set()
    merged: dict[tuple[str, ...], dict[str, Any]] = defaultdict(dict)
    for metric, column, value in found:
        merged[tuple(metric[label] for label in sorted(common))] |= metric | {column: value}
    titles = [organize["renameByName"].get(name, name) for name in names]
    columns = [{"title": title, "look": _column(panel, title)} for title in titles]
    rows = [[row.get(name) for name in names] for row in merged.values()]
    return {"columns": columns, "rows": _sorted(rows, titles, panel["options"].get("sortBy"))}


def _column(panel: dict[str, Any], title: str) -> dict[str, Any]:
    said = [each["properties"] for each in panel["fieldConfig"]["overrides"] if each["matcher"]["options"] == title]
    return look({**panel["fieldConfig"]["defaults"], **{part["id"]: part["value"] for parts in said for part in parts}})


def _sorted(rows: list[list[Any]], titles: list[str], by: list[dict[str, Any]] | None) -> list[list[Any]]:
    if not by:
        return rows
    at = titles.index(by[0]["displayName"])
    return sorted(rows, key=lambda row: -1 if row[at] is None else row[at], reverse=by[0].get("desc", False))


def heat(panel: dict[str, Any], prometheus: Prometheus, now: int) -> dict[str, Any]:
    """Ask for buckets over time; cells are (time, bucket, how many in the bucket alone)."""
    found = {metric["le"]: dict(points) for metric, points in asked(panel["targets"][0], prometheus, now)}
    edges = sorted(found, key=float)
    times = sorted({at for points in found.values() for at in points})
    cells = [
        [column, row, round(each, 3)]
        for column, at in enumerate(times)
        for row, edge in enumerate(edges)
        if (each := found[edge].get(at, 0) - (found[edges[row - 1]].get(at, 0) if row else 0)) > 1e-9
    ]
    used = {cell[1] for cell in cells}
    top = max(used, default=-1) + 1
    return {"edges": edges[:top], "times": times, "cells": cells}


def library(cache: Path) -> str:
    """Fetch the drawing library once."""
    kept = cache / Path(LIBRARY).name
    if not kept.exists():
        cache.mkdir(exist_ok=True)
        with urlopen(LIBRARY) as answer:
            kept.write_bytes(answer.read())
    with tarfile.open(fileobj=io.BytesIO(kept.read_bytes())) as archive:
        return archive.extractfile("package/dist/echarts.min.js").read().decode()


def photograph(page: str, height: int, picture: Path, folder: Path) -> None:
    """Let Chromium draw a page and take its picture."""
    source = folder / f"{picture.stem}.html"
    source.write_text(page)
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-background-networking")
    window = (f"--window-size={WIDTH},{height}", f"--user-data-dir={folder / 'chromium'}", "--virtual-time-budget=4000")
    command = [shutil.which("chromium"), *options, *window, f"--screenshot={picture}", source.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)


def draw(made: dict[str, Any], script: str, picture: Path, folder: Path) -> None:
    """Draw one board."""
    page = (HERE / "pictures.html").read_text()
    data = json.dumps(made).replace("</", "<\\/")
    page = page.replace("/*LIBRARY*/", script).replace("/*BOARD*/null", data)
    rows = max(panel["y"] + panel["h"] for panel in made["panels"])
    photograph(page, rows * (ROW + GAP) + AROUND, picture, folder)


def main() -> None:
    """Draw all boards."""
    pictures, rules = ROOT / "docs" / "pictures", sorted((ROOT / "alerts" / "rules").glob("*.yml"))
    pictures.mkdir(exist_ok=True)
    script, now = library(ROOT / ".cache"), int(time.time())
    with tempfile.TemporaryDirectory() as name:
        print("a week of a fleet goes into a Prometheus: about two minutes", flush=True)
        with settled(shutil.which, Path(name), now, rules) as prometheus:
            for each in NAMES:
                draw(shown(board(each), prometheus, now), script, pictures / f"{each}.png", Path(name))
                print(f"docs/pictures/{each}.png", flush=True)


if __name__ == "__main__":
    main()
