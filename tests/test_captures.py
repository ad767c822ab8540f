import gzip

import pytest

import captures
from captures.pack import pack


def test_every_sender_is_there():
    """The archives hold the 62 runs that were captured."""
    assert len(captures.names()) == 62


@pytest.mark.parametrize("name", captures.names())
def test_payloads_are_complete_and_in_order(name):
    """Every capture has payloads numbered from 1, each of a known signal and with a body."""
    payloads = captures.load(name).payloads

    assert [payload.seq for payload in payloads] == list(range(1, len(payloads) + 1))
    assert {payload.signal for payload in payloads} <= {"metrics", "logs", "traces"}
    assert all(payload.body for payload in payloads)


@pytest.mark.parametrize("name", captures.names())
def test_truth_comes_along(name):
    """Every capture has the scripted truth beside it."""
    assert captures.load(name).expected is not None


def test_sessions_of_an_agent():
    """The claude-code capture holds its scripted sessions in the order they ran."""
    capture = captures.load("claude-code-2.1.329/http-protobuf")

    sessions = list(dict.fromkeys(payload.session for payload in capture.payloads))

    assert capture.protocol == "http-protobuf"
    assert sessions == ["s1", "s2", "s3", "s6", "s7", "s8", "s5", "s4"]
    assert capture.observed is None


def test_compression_is_left_on():
    """A body that came compressed is handed out compressed."""
    payload = captures.load("claude-code-2.1.329/http-protobuf-gzip-cumulative").payloads[0]

    assert payload.content_encoding == "gzip"
    assert b"claude-code" in gzip.decompress(payload.body)


def test_grpc_paths_are_methods():
    """A gRPC payload's path is the method that was called."""
    payload = captures.load("mcp-2.3.0/grpc").payloads[0]

    assert payload.content_type == "application/grpc"
    assert payload.path.startswith("/opentelemetry.proto.collector.")


def test_packing_is_repeatable(tmp_path):
    """The same folder packs to the same bytes, and what is for reading only stays behind."""
    run = tmp_path / "demo-1.0" / "grpc"
    (run / "decoded").mkdir(parents=True)
    (run / "001-logs.bin").write_bytes(b"body")
    (run / "decoded" / "001-logs.json").write_text("{}")
    first = pack(tmp_path / "demo-1.0")

    (run / "001-logs.bin").touch()
    (run / "decoded" / "001-logs.json").unlink()

    assert pack(tmp_path / "demo-1.0") == first
