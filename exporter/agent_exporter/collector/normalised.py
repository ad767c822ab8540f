"""The normalised families: a place for every label set, by catalogue instrument.

What may live here: opening their series (with siblings and overflow) and adding what events
and spans measure. Streams that feed the same families add by themselves (`intake`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from ..catalog import CATALOG, SHARED
from ..expose.labels import block
from ..expose.names import Strategy, metric_name
from ..model import Instrument, Kind, Labels, Measurement
from ..store.families import Conflict, Families, Rows, Series
from ..store.histograms import observe
from .ledger import Ledger

log = logging.getLogger("agent_exporter")

PLACES = 20_000  # label sets whose place is remembered between two sweeps
OVERFLOW: Labels = (("otel_metric_overflow", "true"),)  # the SDK's name for what is over a limit


def _add(table: Rows, row: int, value: float) -> None:
    table.values[row] += value


def _set(table: Rows, row: int, value: float) -> None:
    table.values[row] = value


def _observe(table: Rows, row: int, value: float) -> None:
    observe(table.values, row * table.width, table.bounds, value)


_RECORD: dict[Kind, Callable[[Rows, int, float], None]] = {
    Kind.COUNTER: _add,
    Kind.GAUGE: _set,
    Kind.HISTOGRAM: _observe,
}


class Normalised:
    """Families of the catalogue, whose names nothing that is passed through may take."""

    def __init__(self, families: Families, strategy: Strategy, ledger: Ledger) -> None:
        self._families = families
        self._strategy = strategy
        self._ledger = ledger
        self._series: dict[str, Series] = {}
        self._places: dict[tuple[str, Labels], tuple[Rows, int]] = {}
        self.define(CATALOG)

    def define(self, instruments: Mapping[str, Instrument]) -> None:
        """Claim the names of instruments; one whose name is taken is kept, but not shown."""
        for instrument in instruments.values():
            family = self._series.get(instrument.name)
            if family is None or family.kind is not instrument.kind:
                self._series[instrument.name] = self._open(instrument)

    def _open(self, instrument: Instrument) -> Series:
        name = metric_name(instrument.name, instrument.unit, instrument.kind, self._strategy)
        taken = f"{name.sample} is another metric's name already"
        try:
            if name.sample not in self._families.by_name:
                shared = instrument.name.startswith(SHARED)
                return self._families.open(
                    name.sample, instrument.kind, name.unit, instrument.help, reserved=True, shared=shared
                )
        except Conflict as error:
            taken = str(error)
        log.error("a metric of a dialect file is not shown", extra={"metric": instrument.name, "error": taken})
        limit = self._families.limit
        return Series(name.sample, instrument.kind, name.unit, instrument.help, limit=limit, reserved=True)

    def row(self, instrument: Instrument, labels: Labels, created: float) -> tuple[Rows, int]:
        """Find or open the series of a label set, its siblings with it."""
        family = self._series[instrument.name]
        text = block(labels)
        if family.find(text) is None:
            if family.full:
                self._ledger.count("agent_exporter.overflowed.streams")
                text = block(OVERFLOW)
            else:
                self._open_siblings(family, instrument, labels, created)
        table, row = family.series(text, instrument.bounds, created)
        table.fleeting = instrument.kind is Kind.GAUGE
        return table, row

    def _open_siblings(self, family: Series, instrument: Instrument, labels: Labels, created: float) -> None:
        """Open the other outcomes at 0, so that a first error is an increase and not a birth."""
        if instrument.siblings is None:
            return
        label, values = instrument.siblings
        rest = [(name, value) for name, value in labels if name not in (label, "error_type")]
        for value in values:
            family.series(block((*rest, (label, value))), instrument.bounds, created)

    def record(self, measurement: Measurement, now: float) -> None:
        """Add what one event or span measured; `now` in Unix seconds."""
        instrument, labels, value = measurement
        key = instrument.name, labels
        place = self._places.get(key)
        if place is None:
            if len(self._places) >= PLACES:
                self._places.clear()
            place = self._places[key] = self.row(instrument, labels, now)
        _RECORD[instrument.kind](*place, value)

    def unlearn(self) -> None:
        """Forget where label sets live; a sweep may have given their rows to others."""
        self._places.clear()
