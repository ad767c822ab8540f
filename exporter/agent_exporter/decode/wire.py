"""OTLP requests framed by descriptors of our own, which stop where the main path stops reading.

What may live here: message shapes and the walk over them. A resource, a scope, each metric,
record and span and each data point stay bytes: protobuf's C parser finds where they begin and
end and parses nothing below, so that a known stream costs no parsing at all (`points` slices its
fixed-width fields) and a fault in one point stays in that point. Names are bytes too, because
invalid UTF-8 in one of them must not refuse the whole request.

Source: opentelemetry-proto v1.11, metrics.proto, logs.proto, trace.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

from ..model import Form, Malformed

_Field = descriptor_pb2.FieldDescriptorProto
_ONE, _MANY = _Field.LABEL_OPTIONAL, _Field.LABEL_REPEATED
_BYTES, _INT32, _BOOL = _Field.TYPE_BYTES, _Field.TYPE_INT32, _Field.TYPE_BOOL

_SHAPES: dict[str, tuple[tuple[str, int, int, int | str], ...]] = {
    "Request": (("resources", 1, _MANY, "Resource"),),
    "Resource": (("resource", 1, _ONE, _BYTES), ("scopes", 2, _MANY, "Scope"), ("schema_url", 3, _ONE, _BYTES)),
    "Scope": (("scope", 1, _ONE, _BYTES), ("items", 2, _MANY, _BYTES), ("schema_url", 3, _ONE, _BYTES)),
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
_Request, _Metric = _MESSAGES["Request"], _MESSAGES["Metric"]

Key = tuple[bytes, str, bytes, int, bool]  # the first fields of a header


class Header(NamedTuple):
    """A metric without its points, as sent.

    Its first five fields are its key, which tells one metric of a scope from another: the others may change while the
    metric stays the same.
    """

    name: bytes
    form: str
    unit: bytes
    temporality: int
    monotonic: bool
    description: bytes
    metadata: tuple[bytes, ...]


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


def items(body: bytes) -> Iterator[tuple[Origin, list[bytes]]]:
    """Walk an Export…ServiceRequest: origin and raw metrics, records or spans of each scope. Raises Malformed.

    Lists, because protobuf's own containers are slow to iterate.
    """
    for resource in _parse(_Request, body).resources:
        for scope in resource.scopes:
            yield Origin(resource.resource, scope.scope, scope.schema_url), scope.items[:]


def metric(raw: bytes) -> tuple[Key, list[bytes]]:
    """Read a metric: its key and its raw points; form "" and no points without data. Raises Malformed."""
    made = _parse(_Metric, raw)
    form = made.WhichOneof("data")
    if form is None:
        return (made.name, "", made.unit, 0, False), []
    data = getattr(made, form)
    return (made.name, form, made.unit, data.temporality, data.monotonic), data.points[:]


def header(key: Key, raw: bytes) -> Header:
    """Read the rest of a metric that is seen for the first time."""
    made = _parse(_Metric, raw)
    return Header(*key, made.description, tuple(made.metadata[:]))
