"""agent-exporter: AI agents push OTLP in, one set of Prometheus metrics comes out.

Importing this package starts nothing and loads nothing.
"""

__version__ = "0.1.0"
