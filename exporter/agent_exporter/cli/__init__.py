"""The command line: a table of commands, each in a file of its own that is imported when it is called.

What may live here: the table and the group. A command file defines `command`, a click command.
"""

from __future__ import annotations

import importlib

import click

from .. import __version__

COMMANDS = {
    "check": "Check the configuration, dialect files, rules and dashboards.",
    "profile": "Show what a running Python agent spends its processor time on.",
    "serve": "Receive OTLP from agents and serve /metrics.",
    "setup": "Show or write the settings that point an agent here.",
    "stack": "Write dashboards, rules and the rest of a whole stack to a folder.",
}


class Commands(click.Group):
    """A group whose commands are loaded when they are called; its help loads none."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Name every command."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import the file of one command; None if there is none."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f".{cmd_name}", __name__).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """Write the table of commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="agent-exporter")
def main() -> None:
    """AI agents push OTLP in; one set of Prometheus metrics comes out."""
