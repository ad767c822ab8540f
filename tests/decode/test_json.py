"""OTLP/JSON against protobuf's own JSON reader: real captures, made-up messages, and a table of mistakes."""

import base64
import contextlib
import json
import math

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

import captures
from agent_exporter.decode.json import DEPTH, VALUES, to_protobuf
from agent_exporter.model import Malformed, Signal

REQUESTS = {
    Signal.METRICS: ExportMetricsServiceRequest,
    Signal.LOGS: ExportLogsServiceRequest,
    Signal.TRACES: ExportTraceServiceRequest,
}
IDS = ("traceId", "spanId", "parentSpanId")
JSON_CAPTURES = [name for name in captures.names() if name.endswith("/http-json")]


def _converted(node, convert):
    """Copy JSON with its ids in another notation."""
    if isinstance(node, dict):
        return {key: convert(value) if key in IDS else _converted(value, convert) for key, value in node.items()}
    return [_converted(item, convert) for item in node] if isinstance(node, list) else node


def _to_base64(text):
    return base64.b64encode(bytes.fromhex(text)).decode()


def _to_hex(text):
    return base64.b64decode(text).hex()


def _decoded(signal, body):
    return REQUESTS[signal].FromString(to_protobuf(signal, body))


def _attribute(value):
    """Make a logs request whose only attribute has this AnyValue."""
    return {"resourceLogs": [{"resource": {"attributes": [{"key": "k", "value": value}]}}]}


def _read_attribute(value):
    request = _decoded(Signal.LOGS, json.dumps(_attribute(value)).encode())
    return request.resource_logs[0].resource.attributes[0].value


def _point(**fields):
    """Make a metrics request with one histogram point."""
    return {"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"histogram": {"dataPoints": [fields]}}]}]}]}


def _read_point(**fields):
    request = _decoded(Signal.METRICS, json.dumps(_point(**fields)).encode())
    return request.resource_metrics[0].scope_metrics[0].metrics[0].histogram.data_points[0]


@pytest.mark.parametrize("name", JSON_CAPTURES)
def test_captures_read_as_protobuf_reads_them(name):
    """Every captured JSON body becomes the very bytes that protobuf writes for it."""
    for payload in captures.load(name).payloads:
        signal = Signal(payload.signal)
        document = _converted(json.loads(payload.body), _to_base64)
        expected = json_format.ParseDict(document, REQUESTS[signal](), ignore_unknown_fields=True)

        assert to_protobuf(signal, payload.body) == expected.SerializeToString(deterministic=True)


def _fields(descriptor, seen):
    """List the fields of a message and of all messages in it."""
    if descriptor.full_name in seen:
        return []
    seen.add(descriptor.full_name)
    below = [field.message_type for field in descriptor.fields if field.message_type]
    return [*descriptor.fields, *(field for message in below for field in _fields(message, seen))]


SCALARS = {
    "double": st.floats(allow_nan=False),
    "fixed32": st.integers(0, 2**32 - 1),
    "uint32": st.integers(0, 2**32 - 1),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "sint32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "sfixed64": st.integers(-(2**63), 2**63 - 1),
    "uint64": st.integers(0, 2**64 - 1),
    "fixed64": st.integers(0, 2**64 - 1),
    "bool": st.booleans(),
    "string": st.text(max_size=20),
    "bytes": st.binary(max_size=20),
}
TYPES = {1: "double", 3: "int64", 4: "uint64", 5: "int32", 6: "fixed64", 7: "fixed32", 8: "bool", 9: "string"}
TYPES |= {12: "bytes", 13: "uint32", 16: "sfixed64", 17: "sint32"}


def _value_of(draw, field, depth):
    if field.message_type:
        return _message_of(draw, field.message_type, depth - 1)
    if field.json_name in IDS:
        size = 16 if field.json_name == "traceId" else 8
        return draw(st.sampled_from([b"", bytes(range(size)), b"\xff" * size]))
    if field.enum_type:
        return draw(st.sampled_from([item.number for item in field.enum_type.values] + [77]))
    return draw(SCALARS[TYPES[field.type]])


def _message_of(draw, descriptor, depth):
    """Draw a message of any type from its descriptor."""
    message = descriptor._concrete_class()
    fields = [field for field in descriptor.fields if depth > 0 or not field.message_type]
    chosen = draw(st.lists(st.sampled_from(fields), unique=True, max_size=4)) if fields else []
    groups = {}
    for field in chosen:
        group = field.containing_oneof.name if field.containing_oneof else field.name
        groups[group] = field
    for field in groups.values():
        count = draw(st.integers(1, 3)) if field.is_repeated else 1
        values = [_value_of(draw, field, depth) for _ in range(count)]
        if field.is_repeated:
            getattr(message, field.name).extend(values)
        elif field.message_type:
            getattr(message, field.name).CopyFrom(values[0])
        else:
            setattr(message, field.name, values[0])
    return message


@st.composite
def _requests(draw):
    signal = draw(st.sampled_from(list(Signal)))
    return signal, _message_of(draw, REQUESTS[signal].DESCRIPTOR, 7)


@given(_requests())
@settings(max_examples=300, deadline=None)
def test_round_trip(drawn):
    """Any message written as JSON by protobuf comes back as the same bytes."""
    signal, message = drawn
    document = _converted(json_format.MessageToDict(message, use_integers_for_enums=True), _to_hex)

    assert to_protobuf(signal, json.dumps(document).encode()) == message.SerializeToString(deterministic=True)


_KEYS = sorted({field.json_name for request in REQUESTS.values() for field in _fields(request.DESCRIPTOR, set())})
_LEAVES = st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats(allow_nan=False, allow_infinity=False)
_DOCUMENTS = st.recursive(
    _LEAVES | st.text(max_size=10) | st.sampled_from(["NaN", "1", "ab" * 8, "YQ=="]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=4),
)


@given(st.sampled_from(list(Signal)), _DOCUMENTS)
@settings(max_examples=300, deadline=None)
def test_anything_is_read_or_malformed(signal, document):
    """Any JSON becomes protobuf that reads, or is Malformed; nothing else is raised."""
    with contextlib.suppress(Malformed):
        _decoded(signal, json.dumps({f"resource{signal.title().replace('Traces', 'Spans')}": [document]}).encode())


@given(st.sampled_from(list(Signal)), st.binary(max_size=100))
def test_any_bytes_are_read_or_malformed(signal, body):
    """Any bytes become protobuf that reads, or are Malformed."""
    with contextlib.suppress(Malformed):
        _decoded(signal, body)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, 5),
        ("5", 5),
        ("-9223372036854775808", -(2**63)),
        ("9223372036854775807", 2**63 - 1),
        (9223372036854775807, 2**63 - 1),
        (1.0, 1),
        (1e3, 1000),
        ("1e3", 1000),
        ("1.0", 1),
        ("007", 7),
    ],
)
def test_integers(value, expected):
    """64-bit integers come as numbers or strings and stay exact; integral floats pass, as in protobuf JSON."""
    assert _read_attribute({"intValue": value}).int_value == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, 1.0), (1.5, 1.5), ("2.5", 2.5), ("-1e-3", -0.001), ("Infinity", math.inf), ("-Infinity", -math.inf)],
)
def test_doubles(value, expected):
    """Doubles come as numbers, numeric strings or the names of what JSON cannot write."""
    assert _read_attribute({"doubleValue": value}).double_value == expected


def test_not_a_number():
    """NaN comes as a string."""
    assert math.isnan(_read_attribute({"doubleValue": "NaN"}).double_value)


def test_negative_zero_is_kept():
    """Minus zero is a value, not the default."""
    assert math.copysign(1, _read_attribute({"doubleValue": -0.0}).double_value) == -1


def test_zeros_in_a_oneof_are_set():
    """A zero that is one of several choices is written."""
    assert _read_attribute({"intValue": 0}).WhichOneof("value") == "int_value"
    assert _read_attribute({"stringValue": ""}).WhichOneof("value") == "string_value"


def test_optional_zero_is_set():
    """A sum of zero differs from no sum."""
    assert _read_point(sum=0).HasField("sum")
    assert not _read_point().HasField("sum")


def test_empty_value_is_present():
    """An AnyValue without content, as gemini sends it, is an empty value and not an absent one."""
    assert _read_attribute({}) == AnyValue()


@pytest.mark.parametrize("value", ["+/8=", "+/8", "-_8=", "-_8"])
def test_bytes_are_base64(value):
    """Bytes that are no ids are base64, in either alphabet, padded or not."""
    assert _read_attribute({"bytesValue": value}).bytes_value == b"\xfb\xff"


@pytest.mark.parametrize("text", ["0af7651916cd43dd8448eb211c80319c", "0AF7651916CD43DD8448EB211C80319C", ""])
def test_ids_are_hex(text):
    """Ids are hex in any case, or empty."""
    body = {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"traceId": text}]}]}]}
    request = _decoded(Signal.LOGS, json.dumps(body).encode())

    assert request.resource_logs[0].scope_logs[0].log_records[0].trace_id == bytes.fromhex(text)


@pytest.mark.parametrize(("value", "expected"), [(2, 2), ("AGGREGATION_TEMPORALITY_DELTA", 1), (99, 99), ("2", 2)])
def test_enums(value, expected):
    """Enums are integers, unknown ones too; known names pass."""
    body = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"sum": {"aggregationTemporality": value}}]}]}]}
    request = _decoded(Signal.METRICS, json.dumps(body).encode())

    assert request.resource_metrics[0].scope_metrics[0].metrics[0].sum.aggregation_temporality == expected


def test_unknown_and_snake_case_keys_are_ignored():
    """Keys that are not the lowerCamelCase names of the schema are skipped, whatever they hold."""
    body = b'{"resource_logs": [{}], "future": {"a": [1, null]}, "resourceLogs": [{"schema_url": "x"}]}'

    assert to_protobuf(Signal.LOGS, body) == ExportLogsServiceRequest(resource_logs=[{}]).SerializeToString()


def test_null_is_absent():
    """A null field is a field that is not there, also among choices."""
    assert _read_attribute({"stringValue": None, "intValue": 1}).int_value == 1
    assert to_protobuf(Signal.TRACES, b'{"resourceSpans": null}') == b""


ANY = "resourceLogs[0].resource.attributes[0].value"
POINT = "resourceMetrics[0].scopeMetrics[0].metrics[0].histogram.dataPoints[0]"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (_attribute({"intValue": "x"}), ANY + ".intValue"),
        (_attribute({"intValue": 1.5}), ANY + ".intValue"),
        (_attribute({"intValue": 2**63}), ANY + ".intValue"),
        (_attribute({"intValue": -(2**63) - 1}), ANY + ".intValue"),
        (_attribute({"intValue": "9" * 5000}), ANY + ".intValue"),
        (_attribute({"intValue": "1e999999999"}), ANY + ".intValue"),
        (_attribute({"intValue": True}), ANY + ".intValue"),
        (_attribute({"intValue": " 1"}), ANY + ".intValue"),
        (_attribute({"intValue": "٣"}), ANY + ".intValue"),
        (_attribute({"doubleValue": "nan"}), ANY + ".doubleValue"),
        (_attribute({"doubleValue": "1_0"}), ANY + ".doubleValue"),
        (_attribute({"doubleValue": "1e999"}), ANY + ".doubleValue"),
        (_attribute({"doubleValue": []}), ANY + ".doubleValue"),
        (_attribute({"boolValue": "true"}), ANY + ".boolValue"),
        (_attribute({"stringValue": 1}), ANY + ".stringValue"),
        (_attribute({"bytesValue": "a"}), ANY + ".bytesValue"),
        (_attribute({"bytesValue": "ab=c"}), ANY + ".bytesValue"),
        (_attribute({"bytesValue": "äöü="}), ANY + ".bytesValue"),
        (_attribute({"arrayValue": {"values": [{}, {"boolValue": 1}]}}), ANY + ".arrayValue.values[1].boolValue"),
        (_attribute({"arrayValue": {"values": [None]}}), ANY + ".arrayValue.values[0]"),
        (_attribute({"arrayValue": []}), ANY + ".arrayValue"),
        (_attribute("text"), ANY),
        (_attribute({"stringValue": "a", "intValue": 1}), ANY),
        (_point(bucketCounts=["1", "x"]), POINT + ".bucketCounts[1]"),
        (_point(bucketCounts=[-1]), POINT + ".bucketCounts[0]"),
        (_point(bucketCounts=5), POINT + ".bucketCounts"),
        (_point(explicitBounds=[None]), POINT + ".explicitBounds[0]"),
        (_point(flags=2**32), POINT + ".flags"),
        (_point(count=2**64), POINT + ".count"),
        (_point(exemplars=[{"spanId": "0123"}]), POINT + ".exemplars[0].spanId"),
        (_point(exemplars=[{"spanId": "zz" * 8}]), POINT + ".exemplars[0].spanId"),
        (_point(exemplars=[{"spanId": "01 3456789abcdef"}]), POINT + ".exemplars[0].spanId"),
        (_point(exemplars=[{"traceId": "0123456789abcdef"}]), POINT + ".exemplars[0].traceId"),
        (_point(exemplars={}), POINT + ".exemplars"),
        ({"resourceLogs": [{}, 5]}, "resourceLogs[1]"),
        ([], "body"),
        (None, "body"),
    ],
)
def test_mistakes_are_named_by_their_path(body, path):
    """A value that the schema does not allow is refused with the path to it."""
    signal = Signal.METRICS if path.startswith("resourceMetrics") else Signal.LOGS
    with pytest.raises(Malformed) as raised:
        to_protobuf(signal, json.dumps(body).encode())

    assert str(raised.value).split(":", maxsplit=1)[0] == path


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{}x",
        b'{"resourceLogs": [\xff]}',
        b'{"a": "\xff"}',
        b'{"a": "\\ud800"}',
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
    ],
)
def test_what_is_no_json_is_malformed(body):
    """Broken JSON, bad UTF-8, lone surrogates and endless nesting are Malformed."""
    with pytest.raises(Malformed):
        to_protobuf(Signal.LOGS, body)


def test_a_message_does_not_show_the_payload():
    """What is wrong is described, not quoted: it may be private."""
    with pytest.raises(Malformed) as raised:
        to_protobuf(Signal.LOGS, json.dumps(_attribute({"intValue": "a secret"})).encode())

    assert "secret" not in str(raised.value)


def _nested(levels):
    value = {"stringValue": "deep"}
    for _ in range(levels):
        value = {"arrayValue": {"values": [value]}}
    return json.dumps(_attribute(value)).encode()


def test_nesting_that_protobuf_reads():
    """Values may be nested as deeply as protobuf's own reader allows."""
    levels = (DEPTH - 5) // 2

    assert _decoded(Signal.LOGS, _nested(levels)).resource_logs


@pytest.mark.parametrize("levels", [DEPTH // 2 - 1, DEPTH // 2, 300])
def test_nesting_is_bounded(levels):
    """Values nested deeper than the limit are Malformed, not a RecursionError."""
    with pytest.raises(Malformed, match=r"levels deep|depth limit"):
        to_protobuf(Signal.LOGS, _nested(levels))


def test_nesting_of_attributes_is_bounded():
    """Attributes inside attributes have the same limit."""
    value = {"stringValue": "deep"}
    for _ in range(100):
        value = {"kvlistValue": {"values": [{"key": "k", "value": value}]}}
    with pytest.raises(Malformed, match="levels deep"):
        to_protobuf(Signal.LOGS, json.dumps(_attribute(value)).encode())


def test_number_of_values_is_bounded():
    """A body of nothing but brackets is refused before it becomes objects twenty times its size."""
    body = b'{"resourceLogs":[' + b"{}," * VALUES + b"{}]}"

    with pytest.raises(Malformed, match=str(VALUES)):
        to_protobuf(Signal.LOGS, body)
