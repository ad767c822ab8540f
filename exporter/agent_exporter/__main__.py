"""`python -m agent_exporter` is the command `agent-exporter`."""

from .cli import main

main(prog_name="agent-exporter")
