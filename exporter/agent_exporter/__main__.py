"""`python -m agent_exporter` is the command `agent-exporter`.

The library inside agents may be installed without what the collector needs (docs/library.md, Install); the command
is there all the same, and says so.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command; end with one line if something that it needs is not installed."""
    try:
        from .cli import main as command  # noqa: PLC0415 - it needs click

        command(prog_name="agent-exporter")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith(__package__):
            raise
        sys.exit(
            f"only the library is installed here ({error.name} is missing); "
            "to run the collector: pip install agent-exporter"
        )


if __name__ == "__main__":
    main()
