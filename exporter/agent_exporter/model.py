"""The nouns that travel between the rooms.

Rule: this module imports the standard library and nothing else, holds data and no
behaviour beyond what its fields imply, and knows neither OTLP bytes nor Prometheus text.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import NamedTuple

Value = None | bool | int | float | str | bytes | list["Value"] | dict[str, "Value"]
Attributes = dict[str, Value]
Labels = tuple[tuple[str, str], ...]


class Signal(StrEnum):
    """What an OTLP request carries."""

    METRICS = "metrics"
    LOGS = "logs"
    TRACES = "traces"


class Kind(StrEnum):
    """What a family is on the page (OpenMetrics 1.0, «Metric Types»)."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    SUMMARY = "summary"
    INFO = "info"
    STATESET = "stateset"
    UNKNOWN = "unknown"


class Form(StrEnum):
    """What kind of data an OTLP metric holds; the names are those of metrics.proto."""

    GAUGE = "gauge"
    SUM = "sum"
    HISTOGRAM = "histogram"
    EXPONENTIAL_HISTOGRAM = "exponential_histogram"
    SUMMARY = "summary"


class Temporality(IntEnum):
    """How successive points of a stream relate; the numbers are those of metrics.proto."""

    UNSPECIFIED = 0
    DELTA = 1
    CUMULATIVE = 2


@dataclass(frozen=True, slots=True)
class Resource:
    """Who sent it: the process, host and service that the attributes describe."""

    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Scope:
    """Which instrumentation inside the process made it."""

    name: str = ""
    version: str = ""
    schema_url: str = ""
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Metric:
    """One OTLP metric without its points."""

    name: str
    form: Form
    unit: str = ""
    description: str = ""
    temporality: Temporality = Temporality.UNSPECIFIED
    monotonic: bool = False
    metadata: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """One OTLP log record; times are Unix nanoseconds."""

    name: str
    time: int
    attributes: Attributes
    body: Value
    resource: Resource
    scope: Scope


@dataclass(frozen=True, slots=True)
class Span:
    """One OTLP span; times are Unix nanoseconds, ids are lower-case hex."""

    name: str
    kind: int
    start: int
    end: int
    status: int
    attributes: Attributes
    trace_id: str
    span_id: str
    parent_id: str
    resource: Resource
    scope: Scope


@dataclass(frozen=True, slots=True)
class Instrument:
    """One row of the catalogue: a normalised metric.

    `labels` are the only labels its family may have, in the order of the documentation.
    `bounds` are the upper bounds of a histogram's finite buckets.
    `siblings` names a label and the values that are created together at 0, so that a
    first error is an increase from 0 and not the birth of a series.
    """

    name: str
    kind: Kind
    unit: str
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    siblings: tuple[str, tuple[str, ...]] | None = None

    @property
    def is_amount(self) -> bool:
        """Tell whether values of several make a whole together: bytes and counts do; shares, ages and times do not."""
        return self.unit == "By" or self.unit.startswith("{")


class Feed(NamedTuple):
    """What a stream adds to a normalised family: decided once, at its first point.

    `part` says what of a histogram feeds a number: "count" or "sum" a counter, "mean" (of the last
    interval) a gauge.
    """

    instrument: Instrument
    labels: Labels
    scale: float = 1.0
    part: str = ""


class Measurement(NamedTuple):
    """What one event or span adds to a normalised family."""

    instrument: Instrument
    labels: Labels
    value: float


class Exemplar(NamedTuple):
    """A sample that led to a value; `text` is its label block without braces, `time` in Unix seconds."""

    text: bytes
    value: float
    time: float


class Rejection(NamedTuple):
    """Points, records or spans that were not taken, and why.

    `reason` is one of a closed set and may be a label; `subject` (a metric's name) and
    `detail` are for the sender and the human page only.
    """

    reason: str
    subject: str
    detail: str
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody needs here


@dataclass(slots=True)
class Answer:
    """What became of one OTLP request."""

    accepted: int = 0
    rejections: list[Rejection] = field(default_factory=list)

    @property
    def rejected(self) -> int:
        """Sum what the client has to be told of (`partial_success`)."""
        return sum(rejection.count for rejection in self.rejections)


class Malformed(ValueError):
    """The request cannot be read at all: HTTP 400, gRPC INVALID_ARGUMENT."""


class Overloaded(RuntimeError):
    """The request cannot be taken now: HTTP 503, gRPC UNAVAILABLE; `retry_after` in seconds."""

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(slots=True)
class Table:
    """The series of one family that share bucket bounds (or quantiles), in columns.

    A row is a series, a cell one float64 of it; row r owns the cells r*width to
    (r+1)*width. A scalar has width 1. A histogram has one cell a finite bucket, then
    +Inf, sum, count; bucket cells are cumulative, as on the page. A summary has one cell
    a quantile, then sum, count.
    """

    width: int
    bounds: tuple[float, ...] = ()
    texts: list[bytes] = field(default_factory=list)  # label block a row, without braces: b'a="x",b="y"'
    values: array[float] = field(default_factory=lambda: array("d"))
    created: array[float] = field(default_factory=lambda: array("d"))  # Unix seconds a row; NaN: unknown
    hidden: set[int] = field(default_factory=set)  # rows that are not on the page
    absent: set[int] = field(default_factory=set)  # cells that are not on the page (a histogram without sum)
    exemplars: dict[int, Exemplar] = field(default_factory=dict)  # by cell
    layout: int = 0  # moves whenever texts, hidden or absent change


@dataclass(slots=True)
class Family:
    """All series of one name on the page; `name` is the sample name (with `_total`) and already translated."""

    name: str
    kind: Kind
    unit: str  # the word that the name ends with ("seconds"), or ""
    help: str
    tables: list[Table] = field(default_factory=list)
