"""What the collector measures itself, on OpenTelemetry instruments.

Rule: nothing here writes to the store. Instruments are read by the SDK, its encoder makes the
same OTLP request that a remote agent would send, and `send` takes it to the same ingest.
"""

from .machine import Machine, Settings
from .own import Sampler
from .reading import Reading
from .tree import Push

__all__ = ["Machine", "Push", "Reading", "Sampler", "Settings"]
