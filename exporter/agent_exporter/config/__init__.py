"""One frozen configuration; defaults, a YAML file, the environment and flags, in this order of weight."""

from .keys import Config
from .notation import Address, Addresses
from .sources import ConfigError, load

__all__ = ["Address", "Addresses", "Config", "ConfigError", "load"]
