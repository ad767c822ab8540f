"""`limits.label_values`: how many tools and models an agent has on the page, from the start and after a reload."""

from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from agent_exporter.collector import Collector
from agent_exporter.config import Config
from agent_exporter.model import Signal
from otlp import logs, pairs


def limited(values):
    """Return a configuration that allows so many values of a label."""
    return Config.model_validate({"limits": {"label_values": values}, "sample": {"host": False, "processes": False}})


class Page:
    """A whole collector, without doors, of which the limit can be changed."""

    def __init__(self, values):
        self.config = limited(values)
        self.collector = Collector(self.config, lambda: self.config)
        self.calls = 0

    def allow(self, values):
        """Change the limit and reload."""
        self.config = limited(values)
        self.collector.reload()

    def use(self, *tools):
        """Tell of one call of each tool."""
        for tool in tools:
            self.calls += 1  # no two requests are the same: that would be one request, repeated
            attributes = pairs({"tool_name": tool, "success": "true", "tool_use_id": str(self.calls)})
            record = LogRecord(event_name="claude_code.tool_result", attributes=attributes)
            assert not self.collector.take("http", Signal.LOGS, logs(record)).rejections

    def tools(self):
        """Tell how often each tool was used, and how many names were folded."""
        cells = {
            text.decode(): table.values[row]
            for family in self.collector.snapshot()
            if family.name in ("agent_tool_executions_total", "agent_exporter_folded_labels_total")
            for table in family.tables
            for row, text in enumerate(table.texts)
            if row not in table.hidden and table.values[row]
        }
        folded = sum(value for labels, value in cells.items() if 'label="' in labels)
        used = {labels.split('tool="')[1].split('"')[0]: value for labels, value in cells.items() if 'tool="' in labels}
        return used, folded


def test_the_limit_of_the_configuration_counts():
    """As many tools as the configuration allows have names; the rest is `other`, once an event and label."""
    page = Page(2)

    page.use("a", "b", "c", "a")

    used, folded = page.tools()
    assert used == {"a": 2, "b": 1, "other": 1}
    assert folded > 0


def test_a_reload_changes_the_limit():
    """A reload allows more names at once; names that are known stay when it allows fewer."""
    page = Page(2)
    page.use("a", "b", "c")

    page.allow(3)
    page.use("c", "d")
    page.allow(1)
    page.use("a", "b", "c", "e")

    assert page.tools()[0] == {"a": 2, "b": 2, "c": 2, "other": 3}
