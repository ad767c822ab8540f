"""OTLP requests framed by descriptors of our own, which stop where the main path stops reading.

What may live here: message shapes and the walk over them. A resource, a scope and each data
point stay bytes: protobuf's C parser finds where they begin and end and parses nothing below,
so that a known stream costs no parsing at all (`points` slices its fixed-width fields) and a
fault in one point stays in that point. Names are bytes too, because invalid UTF-8 in one of
them must not refuse the whole request.

Source: opentelemetry-proto v1.11, metrics.proto, logs.proto, trace.proto.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

from ..model import Form, Malformed, Signal

_Field = descriptor_pb2.FieldDescriptorProto
_ONE, _MANY = _Field.LABEL_OPTIONAL, _Field.LABEL_REPEATED
_BYTES, _INT32, _BOOL = _Field.TYPE_BYTES, _Field.TYPE_INT32, _Field.TYPE_BOOL

_SHAPES: dict[str, tuple[tuple[str, int, int, int | str], ...]] = {
    "Request": (("resources", 1, _MANY, "Resource"),),
    "Resource": (("resource", 1, _ONE, _BYTES), ("scopes", 2, _MANY, "Scope"), ("schema_url", 3, _ONE, _BYTES)),
    "Scope": (("scope", 1, _ONE, _BYTES), ("metrics", 2, _MANY, "Metric"), ("schema_url", 3, _ONE, _BYTES)),
    "Metric": (
        ("name", 1, _ONE, _BYTES),
        ("description", 2, _ONE, _BYTES),
        ("unit", 3, _ONE, _BYTES),
        ("gauge", 5, _ONE, "Data"),
        ("sum", 7, _ONE, "Data"),
        ("histogram", 9, _ONE, "Data"),
        ("exponential_histogram", 10, _ONE, "Data"),
        ("summary", 11, _ONE, "Data"),
        ("metadata", 12, _MANY, _BYTES),
    ),
    "Data": (("points", 1, _MANY, _BYTES), ("temporality", 2, _ONE, _INT32), ("monotonic", 3, _ONE, _BOOL)),
    "ItemRequest": (("resources", 1, _MANY, "ItemResource"),),
    "ItemResource": (("resource", 1, _ONE, _BYTES), ("scopes", 2, _MANY, "ItemScope"), ("schema_url", 3, _ONE, _BYTES)),
    "ItemScope": (("scope", 1, _ONE, _BYTES), ("items", 2, _MANY, _BYTES), ("schema_url", 3, _ONE, _BYTES)),
}
_FORMS = frozenset(Form)


def _compile() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="agent_exporter/wire.proto", package="agent_exporter.wire", syntax="proto3"
    )
    for shape, fields in _SHAPES.items():
        made = file.message_type.add(name=shape)
        for name, number, label, kind in fields:
            field = made.field.add(name=name, number=number, label=label)
            if isinstance(kind, str):
                field.type, field.type_name = _Field.TYPE_MESSAGE, f".agent_exporter.wire.{kind}"
            else:
                field.type = kind  # type: ignore[assignment]  # the stub's enum
            if name in _FORMS:
                field.oneof_index = 0
        if shape == "Metric":
            made.oneof_decl.add(name="data")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    classes = message_factory.GetMessageClassesForFiles([file.name], pool)
    return {name.rpartition(".")[2]: cls for name, cls in classes.items()}


_MESSAGES = _compile()
_Request, _ItemRequest = _MESSAGES["Request"], _MESSAGES["ItemRequest"]


class Header(NamedTuple):
    """A metric without its points, as sent; `key` tells one metric of a scope from another."""

    name: bytes
    form: str
    unit: bytes
    temporality: int
    monotonic: bool
    description: bytes
    metadata: tuple[bytes, ...]

    @property
    def key(self) -> tuple[object, ...]:
        """Leave out what may change while the metric stays the same: description and metadata."""
        return self[:5]


class Origin(NamedTuple):
    """Where something comes from: resource and scope messages as sent, with their schema URLs."""

    resource: bytes
    scope: bytes
    schema_url: bytes


def _parse(kind: Any, body: bytes) -> Any:
    try:
        return kind.FromString(body)
    except message.DecodeError as error:
        raise Malformed(f"the body is not an OTLP protobuf message: {error}") from None


def metrics(body: bytes) -> Iterator[tuple[Origin, Header, Sequence[bytes]]]:
    """Walk an ExportMetricsServiceRequest: origin, header and raw points of each metric.

    A metric without data has form "" and no points. Raises Malformed.
    """
    for resource in _parse(_Request, body).resources:
        for scope in resource.scopes:
            origin = Origin(resource.resource, scope.scope, scope.schema_url)
            for metric in scope.metrics:
                yield origin, *_metric(metric)


def _metric(metric: Any) -> tuple[Header, Sequence[bytes]]:
    """Read a metric; lists, because protobuf's own containers are slow to iterate."""
    form = metric.WhichOneof("data")
    if form is None:
        return Header(metric.name, "", metric.unit, 0, False, metric.description, ()), ()
    data = getattr(metric, form)
    header = Header(
        metric.name, form, metric.unit, data.temporality, data.monotonic, metric.description, tuple(metric.metadata[:])
    )
    return header, data.points[:]


def items(signal: Signal, body: bytes) -> Iterator[tuple[Origin, Sequence[bytes]]]:
    """Walk a logs or traces request: origin and raw records or spans of each scope. Raises Malformed."""
    if signal is Signal.METRICS:
        message_ = "metrics have their own walk"
        raise ValueError(message_)
    for resource in _parse(_ItemRequest, body).resources:
        for scope in resource.scopes:
            yield Origin(resource.resource, scope.scope, scope.schema_url), scope.items
