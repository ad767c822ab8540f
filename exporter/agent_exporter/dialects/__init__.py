"""What each agent's vocabulary means, as data: one YAML file an agent, and the engine that compiles them.

Rule: an agent is described in its file and nowhere else; no code here knows the name of one.
"""

from .engine import Dialects
from .files import DialectError
from .memory import Memory
from .privacy import DROP_ATTRIBUTES, compile_drop
from .schema import Setup

__all__ = ["DROP_ATTRIBUTES", "DialectError", "Dialects", "Memory", "Setup", "compile_drop"]
