"""A collector of the least kind: remembers what each instance pushed last, over HTTP."""

from __future__ import annotations

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest


class Received:
    """What came, and where it is to be pushed to."""

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"
        self._instances = {}

    def total(self, name, **labels):
        """Add up a counter over all instances, of the points that have these labels."""
        return sum(
            point.as_double
            for metrics in tuple(self._instances.values())
            for metric in metrics
            if metric.name == name
            for point in metric.sum.data_points
            if labels.items() <= _texts(point.attributes).items()
        )

    def take(self, body):
        """Take a push, which says everything that the ones before it said."""
        for each in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            instance = _texts(each.resource.attributes)["service.instance.id"]
            self._instances[instance] = [metric for scope in each.scope_metrics for metric in scope.metrics]


def _texts(attributes):
    return {each.key: each.value.string_value for each in attributes}


@contextlib.contextmanager
def receiver():
    """Run one on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            received.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received = Received(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
