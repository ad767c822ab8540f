"""OTLP/JSON to OTLP protobuf bytes, so that one decoder serves both encodings (rule P15).

May live here: the table compiled from the OTLP descriptors (JSON name -> writer of wire
bytes), the walk that it drives, and the limits of that walk. Nothing here knows what a
metric means, and nothing here reads protobuf.

The bytes are those that protobuf itself would write: fields in the order of their numbers,
defaults left out, numbers packed. So a stream has the same raw bytes, whichever encoding
its client speaks.
"""

from __future__ import annotations

import binascii
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import orjson
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from ..model import Malformed, Signal

Reader = Callable[[object], Any]  # JSON value -> Python value
Writer = Callable[[object, int], bytes]  # (JSON value, depth left) -> tag and value on the wire, b"" for a default

DEPTH = 100  # messages inside messages; protobuf's own readers stop here as well
VALUES = 8_000_000  # commas and opening brackets of one body: Python objects are 20 times larger than «{},»

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_ID_SIZES = {"traceId": 16, "spanId": 8, "parentSpanId": 8}  # bytes; hex in JSON, unlike all other bytes
_INTEGER = re.compile(r"-?[0-9]{1,20}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,400}(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,4})?", re.ASCII)
_NOT_NUMBERS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_EXACT = float(2**63)  # a float at or beyond it is no 64-bit integer that orjson could not have kept exact


class _Wrong(ValueError):
    """A JSON value that the schema does not allow; `path` grows from the leaf to the root."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.path: list[str] = []

    def __str__(self) -> str:
        where = "".join(step if step.startswith("[") else f".{step}" for step in reversed(self.path))
        return f"{where.lstrip('.') or 'body'}: {self.args[0]}"


@dataclass(slots=True)
class _Shape:
    """One message type: its fields in the order of their numbers, and the groups of which one may be set."""

    encode: Writer  # the body of a message alone, without tag and length
    fields: list[tuple[str, Writer]] = field(default_factory=list)
    by_name: dict[str, Writer] = field(default_factory=dict)
    choices: list[frozenset[str]] = field(default_factory=list)


def to_protobuf(signal: Signal, body: bytes) -> bytes:
    """Rewrite an OTLP/JSON request as the protobuf bytes of the same request.

    Accepted beyond P15, as protobuf's own JSON readers do: numbers in strings, integral
    floats for integers, known enum names. Unknown keys and nulls are skipped. Raises
    Malformed, which names the path of the value that is wrong.
    """
    if len(body) > VALUES and sum(map(body.count, (b",", b"[", b"{"))) > VALUES:
        raise Malformed(f"more than {VALUES} values in one JSON body")
    try:
        return _ROOTS[signal].encode(orjson.loads(body), DEPTH)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"invalid JSON: {error.msg} at byte {error.pos}") from None
    except _Wrong as error:
        raise Malformed(str(error)) from None


# --- the walk ---


def _message(shape: _Shape, value: object, depth: int) -> bytes:
    """Write the fields of one message, without its tag and length."""
    if type(value) is not dict:
        raise _wrong("an object", value)
    if not depth:
        raise _Wrong(f"more than {DEPTH} levels deep")
    parts = []
    name = ""
    try:
        if len(value) == 1:  # an AnyValue nearly always
            name, item = next(iter(value.items()))
            write = shape.by_name.get(name)
            return b"" if write is None or item is None else write(item, depth - 1)
        for name, write in shape.fields:
            item = value.get(name)
            if item is not None:
                parts.append(write(item, depth - 1))
    except _Wrong as error:
        error.path.append(name)
        raise
    for names in shape.choices:
        if len(names.intersection(value)) > 1:
            _check_choice(names, value)
    return b"".join(parts)


def _check_choice(names: frozenset[str], value: dict[str, Any]) -> None:
    present = sorted(name for name in names if value.get(name) is not None)
    if len(present) > 1:
        raise _Wrong("only one may be set of " + ", ".join(present))


def _attribute(shape: _Shape, holders: _Shape, value: object, depth: int) -> bytes:
    """Write a KeyValue: most of any request, so that its usual form takes a short way to the same bytes."""
    if type(value) is not dict or len(value) != 2 or depth < 2:
        return _message(shape, value, depth)
    key, holder = value.get("key"), value.get("value")
    if not key or type(key) is not str or type(holder) is not dict or len(holder) != 1:
        return _message(shape, value, depth)
    name, item = next(iter(holder.items()))
    write = holders.by_name.get(name)
    if write is None or item is None:
        return _message(shape, value, depth)
    try:
        payload = write(item, depth - 2)
    except _Wrong as error:
        error.path += (name, "value")
        raise
    text = key.encode()
    return b"\x0a%b%b\x12%b%b" % (_length(len(text)), text, _length(len(payload)), payload)


def _wrong(expected: str, value: object) -> _Wrong:
    """Say what was expected; the value itself stays out, for it may be private."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return _Wrong(f"expected {expected}, not {names.get(type(value), 'this number')}")


def _items(value: object) -> list[Any]:
    if type(value) is not list:
        raise _wrong("an array", value)
    return value


def _varint(number: int) -> bytes:
    """Write an unsigned varint; negative numbers as 64-bit two's complement."""
    number &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_SMALL = [_varint(number) for number in range(1 << 14)]


def _length(size: int) -> bytes:
    return _SMALL[size] if size < 1 << 14 else _varint(size)  # sizes are never negative


# --- JSON values to Python values ---


def _integer(low: int, high: int) -> Callable[[object], int]:
    """Make a reader of integers from `low` to `high`: numbers, decimal strings, integral floats."""
    expected = f"an integer from {low} to {high}"

    def read(value: object) -> int:
        if type(value) is int:
            number = value
        elif type(value) is str and len(value) <= 20 and value.isascii() and value.isdecimal():
            number = int(value)
        else:
            number = _whole(value, expected)
        if low <= number <= high:
            return number
        raise _wrong(expected, value)

    return read


def _whole(value: object, expected: str) -> int:
    if type(value) is str:
        if _INTEGER.fullmatch(value):
            return int(value)
        if not _NUMBER.fullmatch(value):
            raise _wrong(expected, value)
        value = float(value)
    if type(value) is float and value.is_integer() and -_EXACT < value < 2 * _EXACT:
        return int(value)
    raise _wrong(expected, value)


def _double(value: object) -> float:
    if type(value) is float:
        return value
    if type(value) is int:
        return float(value)
    if type(value) is not str:
        raise _wrong("a number", value)
    known = _NOT_NUMBERS.get(value)
    if known is not None:
        return known
    number = float(value) if _NUMBER.fullmatch(value) else float("inf")
    if number in (float("inf"), float("-inf")):
        raise _wrong('a finite number, "NaN", "Infinity" or "-Infinity"', value)
    return number


def _boolean(value: object) -> int:
    if type(value) is not bool:
        raise _wrong("true or false", value)
    return value


def _enum(descriptor: EnumDescriptor) -> Callable[[object], int]:
    """Make a reader of enums: integers (P15; unknown ones too) and, leniently, known names."""
    numbers = {item.name: item.number for item in descriptor.values}
    integer = _integer(-(2**31), 2**31 - 1)
    return lambda value: numbers[value] if type(value) is str and value in numbers else integer(value)


def _text(value: object) -> bytes:
    if type(value) is not str:
        raise _wrong("a string", value)
    return value.encode()


def _base64(value: object) -> bytes:
    """Read base64 of either alphabet, padded or not."""
    if type(value) is not str:
        raise _wrong("a base64 string", value)
    text = value.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
    except ValueError:  # binascii.Error is one; so is the error about letters outside ASCII
        raise _wrong("base64", value) from None


def _id(size: int) -> Callable[[object], bytes]:
    """Make a reader of ids: hex in any case, none or exactly `size` bytes."""
    expected = f"no or {2 * size} hex digits"

    def read(value: object) -> bytes:
        if type(value) is not str or len(value) not in (0, 2 * size):
            raise _wrong(expected, value)
        try:
            return binascii.unhexlify(value)
        except ValueError:
            raise _wrong(expected, value) from None

    return read


# --- writers ---


def _number(tag: int, read: Reader, layout: str | None, keep: bool) -> Writer:
    """Make the writer of one number; `keep` writes a zero as well (fields that know whether they are set)."""
    pack = _packer(layout)
    head = _varint(tag << 3 | _WIRE_TYPES[layout])

    def write(value: object, _depth: int) -> bytes:
        number = read(value)
        if number or keep or str(number) == "-0.0":  # which protobuf takes for a value, not for the default
            return head + pack(number)
        return b""

    return write


def _numbers(tag: int, read: Reader, layout: str | None) -> Writer:
    """Make the writer of packed numbers."""
    pack = _packer(layout)
    head = _varint(tag << 3 | _BYTES)

    def write(value: object, _depth: int) -> bytes:
        numbers = _each(_items(value), read)
        payload = struct.pack(f"<{len(numbers)}{layout}", *numbers) if layout else b"".join(map(pack, numbers))
        return head + _length(len(payload)) + payload if payload else b""

    return write


def _each(values: list[Any], read: Reader) -> list[Any]:
    out: list[Any] = []
    try:
        for value in values:
            out.append(read(value))  # noqa: PERF401  # the index of the wrong one is len(out)
    except _Wrong as error:
        error.path.append(f"[{len(out)}]")
        raise
    return out


def _blob(tag: int, read: Callable[[object], bytes], keep: bool) -> Writer:
    """Make the writer of one string or bytes."""
    head = _varint(tag << 3 | _BYTES)

    def write(value: object, _depth: int) -> bytes:
        payload = value.encode() if type(value) is str and read is _text else read(value)
        size = len(payload)
        if size < 1 << 14:
            return head + _SMALL[size] + payload if size or keep else b""
        return head + _varint(size) + payload

    return write


def _blobs(tag: int, read: Callable[[object], bytes]) -> Writer:
    """Make the writer of repeated strings or bytes."""
    one = _blob(tag, read, keep=True)
    return lambda value, depth: b"".join(_each(_items(value), lambda item: one(item, depth)))


def _submessage(tag: int, shape: _Shape) -> Writer:
    """Make the writer of one message."""
    head = _varint(tag << 3 | _BYTES)

    def write(value: object, depth: int) -> bytes:
        payload = shape.encode(value, depth)
        return head + _length(len(payload)) + payload

    return write


def _submessages(tag: int, shape: _Shape) -> Writer:
    """Make the writer of repeated messages."""
    head = _varint(tag << 3 | _BYTES)

    def write(value: object, depth: int) -> bytes:
        parts: list[bytes] = []
        try:
            for item in _items(value):
                payload = shape.encode(item, depth)
                parts += (head, _length(len(payload)), payload)
        except _Wrong as error:
            if type(value) is list:
                error.path.append(f"[{len(parts) // 3}]")
            raise
        return b"".join(parts)

    return write


def _zigzag(number: int) -> bytes:
    return _varint(number << 1 ^ number >> 63)


def _packer(layout: str | None) -> Callable[[Any], bytes]:
    if layout == "z":
        return _zigzag
    return struct.Struct("<" + layout).pack if layout else _varint


# --- compiling ---

_WIRE_TYPES = {None: _VARINT, "z": _VARINT, "d": _FIXED64, "Q": _FIXED64, "q": _FIXED64, "I": _FIXED32, "i": _FIXED32}
_INT32 = _integer(-(2**31), 2**31 - 1)
_UINT32 = _integer(0, 2**32 - 1)
_INT64 = _integer(-(2**63), 2**63 - 1)
_UINT64 = _integer(0, 2**64 - 1)
_NUMBERS: dict[int, tuple[Reader, str | None]] = {  # type -> reader, struct layout (None: varint)
    FieldDescriptor.TYPE_DOUBLE: (_double, "d"),
    FieldDescriptor.TYPE_BOOL: (_boolean, None),
    FieldDescriptor.TYPE_INT32: (_INT32, None),
    FieldDescriptor.TYPE_UINT32: (_UINT32, None),
    FieldDescriptor.TYPE_SINT32: (_INT32, "z"),
    FieldDescriptor.TYPE_FIXED32: (_UINT32, "I"),
    FieldDescriptor.TYPE_SFIXED32: (_INT32, "i"),
    FieldDescriptor.TYPE_INT64: (_INT64, None),
    FieldDescriptor.TYPE_UINT64: (_UINT64, None),
    FieldDescriptor.TYPE_SINT64: (_INT64, "z"),
    FieldDescriptor.TYPE_FIXED64: (_UINT64, "Q"),
    FieldDescriptor.TYPE_SFIXED64: (_INT64, "q"),
}


def _compile(message: Descriptor, shapes: dict[str, _Shape]) -> _Shape:
    """Turn a descriptor into its shape; `shapes` breaks the circle AnyValue -> ArrayValue -> AnyValue."""
    known = shapes.get(message.full_name)
    if known is not None:
        return known
    shape = shapes[message.full_name] = _Shape(encode=_message)  # type: ignore[arg-type]  # bound in the next line
    shape.encode = partial(_message, shape)
    for item in sorted(message.fields, key=lambda item: item.number):
        name: str = item.json_name
        shape.by_name[name] = _writer(item, shapes)
        shape.fields.append((name, shape.by_name[name]))
    groups = (frozenset(item.json_name for item in group.fields) for group in message.oneofs)
    shape.choices = [group for group in groups if len(group) > 1]
    if message.full_name == KeyValue.DESCRIPTOR.full_name:
        shape.encode = partial(_attribute, shape, shapes[AnyValue.DESCRIPTOR.full_name])
    return shape


def _writer(item: FieldDescriptor, shapes: dict[str, _Shape]) -> Writer:
    tag, many = item.number, item.is_repeated
    if item.message_type is not None:
        shape = _compile(item.message_type, shapes)
        return _submessages(tag, shape) if many else _submessage(tag, shape)
    if item.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
        blob = _blob_reader(item)
        return _blobs(tag, blob) if many else _blob(tag, blob, item.has_presence)
    read, layout = (_enum(item.enum_type), None) if item.enum_type is not None else _NUMBERS[item.type]
    return _numbers(tag, read, layout) if many else _number(tag, read, layout, item.has_presence)


def _blob_reader(item: FieldDescriptor) -> Callable[[object], bytes]:
    if item.type == FieldDescriptor.TYPE_STRING:
        return _text
    size = _ID_SIZES.get(item.json_name)
    return _id(size) if size else _base64


def _roots() -> dict[Signal, _Shape]:
    shapes: dict[str, _Shape] = {}
    requests: dict[Signal, type[Message]] = {
        Signal.METRICS: ExportMetricsServiceRequest,
        Signal.LOGS: ExportLogsServiceRequest,
        Signal.TRACES: ExportTraceServiceRequest,
    }
    return {signal: _compile(cast("Descriptor", request.DESCRIPTOR), shapes) for signal, request in requests.items()}


_ROOTS = _roots()
