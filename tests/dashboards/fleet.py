"""A real Prometheus that knows the fleet's week, with our rules over it.

What may live here: getting pages and recorded series into its storage by promtool, and starting it.
"""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import yaml

from dashboards import history
from end_to_end.prometheus import Prometheus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

ONE_BLOCK = "--max-block-duration=1440h"
# Recorded over the week as often as there are looks, and over its end as often as in life.
PASSES = ((history.LONG, "5m"), (history.RECENT - 5 * history.MINUTE, "1m"))
DEPTH = 3  # recorded series that are made of recorded series that are made of recorded series
KEEP = ("--storage.tsdb.retention.time=60d",)


@contextmanager
def settled(program: Callable[[str], str], folder: Path, now: int, rules: Sequence[Path]) -> Iterator[Prometheus]:
    """Run a Prometheus in a folder that has seen the fleet's week; ask it about `now`, in Unix seconds.

    Rules were over it as they would have been; they are not any more, because what comes after a
    block that was brought to Prometheus is refused until hours later.
    """
    week, data = folder / "week.om", folder / "data"
    history.write(week, now)
    _promtool(program, "tsdb", "create-blocks-from", "openmetrics", ONE_BLOCK, "-q", str(week), str(data))
    week.unlink()
    for _ in range(DEPTH):
        with _running(program, folder) as prometheus:
            for number, (back, interval) in enumerate(PASSES):
                slower = [_slower(each, folder / f"{number}-{each.name}", interval) for each in rules]
                _record(program, prometheus, data, (now - back, now), slower)
    with _running(program, folder) as prometheus:
        yield prometheus


@contextmanager
def _running(program: Callable[[str], str], folder: Path) -> Iterator[Prometheus]:
    prometheus = Prometheus(program("prometheus"), folder, "scrape_configs: []", *KEEP)
    try:
        yield prometheus
    finally:
        complaints = prometheus.stop()
    assert [line for line in complaints if "Overlapping blocks" not in line] == []  # blocks do overlap here


def _slower(rules: Path, copy: Path, interval: str) -> Path:
    """Copy a file of rules whose groups are evaluated so often; promtool takes no other word for it."""
    made: dict[str, Any] = yaml.safe_load(rules.read_text())
    made["groups"] = [{**group, "interval": interval} for group in made["groups"]]
    copy.write_text(yaml.safe_dump(made))
    return copy


def _record(
    program: Callable[[str], str], prometheus: Prometheus, data: Path, window: tuple[int, int], rules: Sequence[Path]
) -> None:
    start, end = window
    options = (f"--url=http://127.0.0.1:{prometheus.port}", f"--start={start}", f"--end={end}", f"--output-dir={data}")
    _promtool(program, "tsdb", "create-blocks-from", "rules", *options, ONE_BLOCK, *map(str, rules))


def _promtool(program: Callable[[str], str], *arguments: str) -> None:
    done = subprocess.run([program("promtool"), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
