"""Single OTLP messages to the nouns of `model`, parsed and checked in full: the resolve path.

What may live here: everything that is read once per resource, scope, metric and stream, or
once per log record and span. A fault is an `Invalid` that says what is wrong with this one
thing; the others of the request are untouched.

Rules: T6, T8 to T15, T23, T27 of the type rules; L9 (duplicate attribute keys: the last one wins).
Source: opentelemetry-proto v1.11; the data model's «Exponential Histogram» for bucket bounds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

from google.protobuf import message
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    Exemplar,
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    NumberDataPoint,
    SummaryDataPoint,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource as ResourceMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

from ..model import Attributes, Event, Form, Metric, Resource, Scope, Span, Temporality, Value
from .points import COUNT_LIMIT
from .wire import Header

# An exponential histogram becomes a classic one with these bounds, powers of four from about a
# thousandth to about a thousand million: from scale -1 up every bucket lies within one of them,
# so that nothing is estimated.
EXPONENTIAL_BOUNDS = tuple(4.0**power for power in range(-5, 16))
_NO_RECORDED_VALUE = 1
_MIN_SCALE, _MAX_SCALE = -10, 20  # what the data model's protocols produce; beyond is not sane


class Invalid(ValueError):
    """One thing of a request cannot be taken; `reason` is a label value of a closed set."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Sampled(NamedTuple):
    """An OTLP exemplar: value, Unix nanoseconds, and its filtered attributes with the ids among them."""

    value: float
    time: int
    attributes: Attributes


class Counts(NamedTuple):
    """A histogram's reading: `counts` a bucket (the last is above all bounds), its sum if it has one."""

    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody needs here
    total: float
    counts: list[int]


class Quantiles(NamedTuple):
    """A summary's reading."""

    count: int  # type: ignore[assignment]  # as above
    total: float
    values: list[tuple[float, float]]  # quantile and value, ascending


class Point(NamedTuple):
    """One data point in full; times in Unix nanoseconds.

    `identity` is the same for the same attributes in any order (and the same bounds), `bounds`
    are a histogram's bucket bounds or a summary's quantiles, `gone` says that the stream ended
    (NO_RECORDED_VALUE), `summed` that the histogram has a sum.
    """

    start: int
    time: int
    value: float | Counts | Quantiles
    attributes: Attributes
    identity: bytes
    bounds: tuple[float, ...] = ()
    gone: bool = False
    summed: bool = True
    exemplars: tuple[Sampled, ...] = ()


_Message = TypeVar("_Message", bound=message.Message)


def _parse(kind: type[_Message], raw: bytes, what: str) -> _Message:
    try:
        return kind.FromString(raw)
    except message.DecodeError:
        problem = f"{what} is not readable protobuf"
        raise Invalid("malformed", problem) from None


def text(raw: bytes, what: str) -> str:
    """Decode UTF-8. Raises Invalid."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        problem = f"{what} is not UTF-8"
        raise Invalid("malformed", problem) from None


# -- attributes ---------------------------------------------------------------


def _array(value: AnyValue) -> Value:
    return [_value(item) for item in value.array_value.values]


def _map(value: AnyValue) -> Value:
    return attributes(value.kvlist_value.values)


_PLAIN = frozenset({"string_value", "bool_value", "int_value", "double_value", "bytes_value"})
_NESTED = {"array_value": _array, "kvlist_value": _map}


def _value(value: AnyValue) -> Value:
    kind = value.WhichOneof("value")
    if kind in _PLAIN:
        return getattr(value, kind)  # type: ignore[no-any-return]
    return _NESTED[kind](value) if kind in _NESTED else None  # P20: an empty value is legal


def attributes(pairs: Iterable[KeyValue]) -> Attributes:
    """Turn KeyValue messages into a dict; of duplicate keys the last wins (L9)."""
    return {pair.key: _value(pair.value) for pair in pairs}


# -- who and what -------------------------------------------------------------


def resource(raw: bytes) -> Resource:
    """Parse a Resource. Raises Invalid."""
    return Resource(attributes(_parse(ResourceMessage, raw, "the resource").attributes))


def scope(raw: bytes, schema_url: bytes) -> Scope:
    """Parse an InstrumentationScope. Raises Invalid."""
    made = _parse(InstrumentationScope, raw, "the scope")
    return Scope(made.name, made.version, text(schema_url, "the schema URL"), attributes(made.attributes))


def metric(header: Header) -> Metric:
    """Check what all points of a metric share. Raises Invalid (T6; a metric without name or data)."""
    name = text(header.name, "the metric's name")
    if not name:
        raise Invalid("unnamed", "the metric has no name")
    if not header.form:
        raise Invalid("no_data", "the metric has no data of a known kind")
    form = Form(header.form)
    if form not in (Form.GAUGE, Form.SUMMARY) and header.temporality not in (Temporality.DELTA, Temporality.CUMULATIVE):
        raise Invalid("no_temporality", "aggregation temporality must be delta (1) or cumulative (2)")
    pairs = [_parse(KeyValue, raw, "the metric's metadata") for raw in header.metadata]
    return Metric(
        name,
        form,
        text(header.unit, "the unit"),
        text(header.description, "the description"),
        Temporality(header.temporality) if form not in (Form.GAUGE, Form.SUMMARY) else Temporality.CUMULATIVE,
        header.monotonic,
        attributes(pairs),
    )


# -- points -------------------------------------------------------------------

_Sampling = NumberDataPoint | HistogramDataPoint | ExponentialHistogramDataPoint
_PointMessage = _Sampling | SummaryDataPoint


def _sampled(made: _Sampling) -> tuple[Sampled, ...]:
    return tuple(
        Sampled(
            float(getattr(each, kind)),
            each.time_unix_nano,
            attributes(each.filtered_attributes) | _ids(each),
        )
        for each in made.exemplars
        if (kind := each.WhichOneof("value"))
    )


def _ids(made: Exemplar) -> dict[str, Value]:
    """Take trace and span id, which win over attributes of the same name (T19)."""
    ids = {"trace_id": made.trace_id.hex(), "span_id": made.span_id.hex()}
    return {name: value for name, value in ids.items() if value}


def _identity(made: _PointMessage, bounds: Iterable[float] = ()) -> bytes:
    """Serialise what makes the stream, attributes sorted: equal to the raw bytes where a sender sorts too."""
    pairs = sorted(made.attributes, key=lambda pair: pair.key)
    only = HistogramDataPoint(attributes=pairs, explicit_bounds=bounds) if bounds else type(made)(attributes=pairs)
    return only.SerializeToString(deterministic=True)


def _number(made: NumberDataPoint) -> Point:
    kind = made.WhichOneof("value")
    gone = bool(made.flags & _NO_RECORDED_VALUE)
    if kind is None and not gone:
        raise Invalid("no_value", "the point has no value")
    return Point(
        made.start_time_unix_nano,
        made.time_unix_nano,
        float(getattr(made, kind)) if kind else 0.0,
        attributes(made.attributes),
        _identity(made),
        gone=gone,
        exemplars=_sampled(made) if made.exemplars else (),
    )


def _histogram(made: HistogramDataPoint) -> Point:
    bounds, counts = tuple(made.explicit_bounds), list(made.bucket_counts)
    gone = bool(made.flags & _NO_RECORDED_VALUE)
    if not gone:
        counts = _check_buckets(bounds, counts, made.count)
    if len(counts) == 1:  # T9: no buckets is legal, only +Inf remains
        bounds = ()
    return Point(
        made.start_time_unix_nano,
        made.time_unix_nano,
        Counts(made.count, made.sum, counts),
        attributes(made.attributes),
        _identity(made, bounds),
        bounds,
        gone,
        made.HasField("sum"),
        _sampled(made) if made.exemplars else (),
    )


def _check_buckets(bounds: tuple[float, ...], counts: list[int], count: int) -> list[int]:
    """Return the counts of a sane explicit histogram; T9 and T10."""
    if count >= COUNT_LIMIT:
        raise Invalid("count_too_large", f"a count of {count} is beyond what a float64 can hold exactly")
    if not counts:
        return [count]
    if len(counts) != len(bounds) + 1:
        raise Invalid("buckets", f"{len(counts)} bucket counts do not fit {len(bounds)} bounds")
    if any(not low < high for low, high in pairwise(bounds)) or not all(map(math.isfinite, bounds)):
        raise Invalid("bounds", "the bounds are not finite and ascending")
    if sum(counts) != count:
        raise Invalid("buckets", f"the buckets add up to {sum(counts)}, the count says {count}")
    return counts


def _exponential(made: ExponentialHistogramDataPoint) -> Point:
    """Read an exponential histogram as a classic one with EXPONENTIAL_BOUNDS (T14)."""
    gone = bool(made.flags & _NO_RECORDED_VALUE)
    if not gone:
        _check_exponential(made)
    return Point(
        made.start_time_unix_nano,
        made.time_unix_nano,
        Counts(made.count, made.sum, [0] if gone else _classic(made)),
        attributes(made.attributes),
        _identity(made),
        EXPONENTIAL_BOUNDS,
        gone,
        exemplars=_sampled(made) if made.exemplars else (),
    )


def _check_exponential(made: ExponentialHistogramDataPoint) -> None:
    if not made.HasField("sum"):
        raise Invalid("no_sum", "an exponential histogram needs a sum")  # T15
    if not _MIN_SCALE <= made.scale <= _MAX_SCALE:
        raise Invalid("scale", f"scale {made.scale} is outside {_MIN_SCALE} to {_MAX_SCALE}")
    if made.count >= COUNT_LIMIT:
        raise Invalid("count_too_large", f"a count of {made.count} is beyond what a float64 can hold exactly")
    found = made.zero_count + sum(made.positive.bucket_counts) + sum(made.negative.bucket_counts)
    if found != made.count:
        raise Invalid("buckets", f"the buckets add up to {found}, the count says {made.count}")


def _classic(made: ExponentialHistogramDataPoint) -> list[int]:
    """Count an exponential histogram's buckets by EXPONENTIAL_BOUNDS.

    Bucket i holds (base**i, base**(i + 1)] with base 2**(2**-scale), so that its upper bound in
    powers of four is (i + 1) * 2**-scale / 2: compared exactly, without a logarithm. Negative
    values and zeros are at or below the first bound.
    """
    counts = [0] * (len(EXPONENTIAL_BOUNDS) + 1)
    counts[0] = made.zero_count + sum(made.negative.bucket_counts)
    for index, count in enumerate(made.positive.bucket_counts, made.positive.offset + 1):
        if count:
            power = -(-index >> (made.scale + 1)) if made.scale >= -1 else index << (-made.scale - 1)
            counts[min(max(power + 5, 0), len(counts) - 1)] += count
    return counts


def _summary(made: SummaryDataPoint) -> Point:
    pairs = sorted((entry.quantile, entry.value) for entry in made.quantile_values)
    quantiles = tuple(quantile for quantile, _ in pairs)
    if any(not 0.0 <= quantile <= 1.0 for quantile in quantiles) or len(set(quantiles)) != len(quantiles):
        raise Invalid("quantiles", "quantiles must be between 0 and 1, each once")  # T17
    return Point(
        made.start_time_unix_nano,
        made.time_unix_nano,
        Quantiles(made.count, made.sum, pairs),
        attributes(made.attributes),
        _identity(made),
        quantiles,
        bool(made.flags & _NO_RECORDED_VALUE),
    )


_POINTS: dict[Form, tuple[Any, Any]] = {
    Form.GAUGE: (NumberDataPoint, _number),
    Form.SUM: (NumberDataPoint, _number),
    Form.HISTOGRAM: (HistogramDataPoint, _histogram),
    Form.EXPONENTIAL_HISTOGRAM: (ExponentialHistogramDataPoint, _exponential),
    Form.SUMMARY: (SummaryDataPoint, _summary),
}


def point(form: Form, raw: bytes) -> Point:
    """Parse one data point in full. Raises Invalid."""
    kind, read = _POINTS[form]
    made: Point = read(_parse(kind, raw, "the point"))
    return made


_VARIABLE = {
    Form.GAUGE: ("start_time_unix_nano", "time_unix_nano", "as_double", "as_int"),
    Form.SUM: ("start_time_unix_nano", "time_unix_nano", "as_double", "as_int"),
    Form.HISTOGRAM: ("start_time_unix_nano", "time_unix_nano", "count", "sum", "bucket_counts", "min", "max"),
}


def confirm(form: Form, raw: bytes, key: bytes) -> bool:
    """Tell whether `key` is exactly what the main path may leave unread of this point.

    True when the key, read as a point of its own, holds all of the point but the fields that
    the main path reads, and the point no exemplars. Then each later point with these key bytes
    differs from this one in those fields only.
    """
    kind, _ = _POINTS[form]
    made = _parse(kind, raw, "the point")
    for name in _VARIABLE[form]:
        made.ClearField(name)
    try:
        return bool(kind.FromString(key) == made and not made.exemplars and not made.flags & _NO_RECORDED_VALUE)
    except message.DecodeError:
        return False


# -- events and spans ---------------------------------------------------------


def event(raw: bytes, resource: Resource, scope: Scope) -> Event:
    """Parse a LogRecord. Raises Invalid."""
    made = _parse(LogRecord, raw, "the log record")
    found = attributes(made.attributes)
    time = made.time_unix_nano or made.observed_time_unix_nano
    return Event(made.event_name, time, found, _value(made.body), resource, scope)


def span(raw: bytes, resource: Resource, scope: Scope) -> Span:
    """Parse a Span. Raises Invalid."""
    made = _parse(SpanMessage, raw, "the span")
    return Span(
        made.name,
        made.kind,
        made.start_time_unix_nano,
        made.end_time_unix_nano,
        made.status.code,
        attributes(made.attributes),
        made.trace_id.hex(),
        made.span_id.hex(),
        made.parent_span_id.hex(),
        resource,
        scope,
    )
