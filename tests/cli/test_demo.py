import gzip
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psutil
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

REQUESTS = {"/v1/logs": ExportLogsServiceRequest, "/v1/metrics": ExportMetricsServiceRequest}


@pytest.fixture
def door():
    """Serve HTTP and keep the OTLP requests that arrive."""
    received = []

    class Door(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            received.append(REQUESTS[self.path].FromString(body))
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    thread.join()
    server.server_close()


def start(*arguments: str) -> subprocess.Popen:
    """Start the demo agent."""
    command = [sys.executable, "-m", "agent_exporter.demo", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(agent: subprocess.Popen) -> tuple[int, str]:
    """Stop the demo agent and return its exit code and all it said."""
    agent.send_signal(signal.SIGTERM)
    out, err = agent.communicate(timeout=10)
    return agent.returncode, out + err


def wait(condition, seconds: float = 30) -> None:
    """Wait until something holds."""
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "never came true"
        time.sleep(0.05)


def records(received) -> list:
    """List the log records in all requests."""
    logs = [request for request in received if isinstance(request, ExportLogsServiceRequest)]
    return [
        record
        for request in logs
        for resource in request.resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
    ]


def event(record) -> str:
    """Name the event of a log record."""
    return next(pair.value.string_value for pair in record.attributes if pair.key == "event.name")


def test_metrics_and_events_arrive(door):
    """The demo agent pushes the metrics and events of Claude Code, marked as a demo, and ends when told."""
    endpoint, received = door
    agent = start("--endpoint", endpoint, "--seed", "1", "--speed", "200")
    wanted = {"user_prompt", "api_request", "api_error", "tool_decision", "tool_result", "compaction"}
    wait(lambda: wanted <= {event(record) for record in records(received)})
    wait(lambda: any(isinstance(request, ExportMetricsServiceRequest) for request in received))

    assert end(agent) == (0, "")
    metrics = next(request for request in received if isinstance(request, ExportMetricsServiceRequest))
    names = {metric.name for metric in metrics.resource_metrics[0].scope_metrics[0].metrics}
    resource = {pair.key: pair.value for pair in metrics.resource_metrics[0].resource.attributes}
    assert {"claude_code.session.count", "claude_code.token.usage", "claude_code.cost.usage"} <= names
    assert resource["demo"].bool_value is True
    results = Counter(event(record) for record in records(received))
    assert results["tool_decision"] > results["tool_result"] > 0


def test_sums_are_delta(door):
    """Counters are pushed as increments, as Claude Code pushes them."""
    endpoint, received = door
    agent = start("--endpoint", endpoint, "--speed", "50")
    wait(lambda: any(isinstance(request, ExportMetricsServiceRequest) for request in received))
    end(agent)

    metrics = next(request for request in received if isinstance(request, ExportMetricsServiceRequest))
    sums = [metric.sum for metric in metrics.resource_metrics[0].scope_metrics[0].metrics]
    assert {(one.aggregation_temporality, one.is_monotonic) for one in sums} == {(1, True)}


def test_no_collector_no_noise():
    """Without a collector the demo agent says nothing and still ends when told."""
    agent = start("--endpoint", "http://127.0.0.1:9", "--speed", "50")
    time.sleep(4)  # long enough for an export to fail

    assert end(agent) == (0, "")


def test_ends_with_its_parent():
    """The demo agent does not outlive the process that started it."""
    code = (
        "import subprocess, sys, time; child = subprocess.Popen([sys.executable, '-m', 'agent_exporter.demo',"
        " '--endpoint', 'http://127.0.0.1:9', '--speed', '20']); print(child.pid, flush=True); time.sleep(2)"
    )
    pid = int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60).stdout)

    wait(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def test_does_not_start_without_its_parent():
    """A demo agent whose parent died before it was up ends at once."""
    agent = start("--endpoint", "http://127.0.0.1:9", "--parent", "1")

    out, err = agent.communicate(timeout=30)

    assert (agent.returncode, out + err) == (0, "")
