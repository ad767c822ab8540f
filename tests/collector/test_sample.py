import logging
import os
import platform

import pytest

from agent_exporter.collector import Collector
from agent_exporter.config import Config
from agent_exporter.model import Signal
from otlp import Bench, number, request, total
from sample.toy import NAME, SECRET, Toys

DIALECT = f"""\
agent: toy
claims: {{services: toy}}
processes:
  - {{name: {NAME}, command: nobody-what, role: main}}
"""
HOST = platform.node()


@pytest.fixture
def toys(tmp_path):
    """Start processes that do what they are told."""
    toys = Toys(tmp_path)
    yield toys
    toys.stop()


class Page:
    """A whole collector, without doors, that looks at this machine whenever it is asked."""

    def __init__(self, tmp_path, **sample):
        (tmp_path / "toy.yaml").write_text(DIALECT)
        self.config = Config.model_validate(
            {"dialects": {"paths": [tmp_path / "toy.yaml"]}, "sample": {"interval": "1ms", **sample}}
        )
        self.collector = Collector(self.config, lambda: self.config)

    def push(self, body):
        """Push metrics as a client would."""
        assert not self.collector.take("http", Signal.METRICS, body).rejections

    def __call__(self):
        """Tell the value of every series of the machine, by name and labels."""
        return {
            f"{family.name}{{{text.decode()}}}": table.values[row]
            for family in self.collector.snapshot()
            for table in family.tables
            for row, text in enumerate(table.texts)
            if row not in table.hidden and table.width == 1
        }


def by_instance(page, instance):
    """Tell the families of an instance."""
    return {name.partition("{")[0] for name in page if f'agent_instance="{instance}"' in name}


def test_an_agents_process_stands_next_to_its_tools(toys, tmp_path, caplog):
    """A process that a dialect knows is there by host and pid, and under its own id once it has pushed."""
    caplog.set_level(logging.DEBUG)
    toy, page = toys.start(), Page(tmp_path)
    toy.do("burn", 0.1)
    resource = {"service.name": "toy", "service.instance.id": "id-7", "process.pid": toy.pid, "host.name": HOST}

    before = page()
    toy.do("burn", 0.1)
    page.push(request(total("agent.turns", number(1), unit="{turn}"), resource=resource))
    found = page()

    labels = f'agent="toy",agent_instance="{HOST}:{toy.pid}",role="main"'
    assert before[f"agent_process_cpu_time_seconds_total{{{labels}}}"] >= 0.1
    assert before[f'agent_process_memory_usage_bytes{{{labels},type="rss"}}'] > 1_000_000
    assert found['agent_turns_total{agent="toy"}'] == 1
    assert found['agent_process_threads{agent="toy",agent_instance="id-7",role="main"}'] == 1
    assert by_instance(found, "id-7") == {
        *("agent_process_cpu_time_seconds_total", "agent_process_disk_io_bytes_total", "agent_process_fd_limit"),
        *("agent_process_memory_usage_bytes", "agent_process_open_fds", "agent_process_restarts_total"),
        *("agent_process_start_time_seconds", "agent_process_threads"),
    }
    assert by_instance(found, f"{HOST}:{toy.pid}") == {
        *("agent_process_cpu_time_seconds_total", "agent_process_disk_io_bytes_total"),
    }
    assert SECRET not in str(before) + str(found) + caplog.text


def test_a_vanished_process_leaves_its_totals(toys, tmp_path, caplog):
    """When an agent ends, its gauges leave with the next look, its totals stay, and nothing is said of it."""
    toy, page = toys.start(), Page(tmp_path)
    toy.do("burn", 0.1)
    before = page()
    toy.end()
    after = page()

    instance = f"{HOST}:{toy.pid}"
    total_ = f'agent_process_cpu_time_seconds_total{{agent="toy",agent_instance="{instance}",role="main"}}'
    assert before[total_] == after[total_] >= 0.1
    assert by_instance(after, instance) == {
        *("agent_process_cpu_time_seconds_total", "agent_process_disk_io_bytes_total"),
    }
    assert {value for name, value in after.items() if name.startswith("agent_exporter_sample_errors")} == {0}
    assert caplog.text == ""


def test_the_collector_itself_stays(tmp_path):
    """The own process has its numbers whatever is switched off."""
    page = Page(tmp_path, host=False, processes=False)()

    own = f'agent="agent-exporter",agent_instance="{HOST}:{os.getpid()}",role="collector"'
    assert f"agent_process_threads{{{own}}}" in page
    assert not [name for name in page if name.startswith("system_")]


def test_the_host_has_no_labels_but_its_own(tmp_path):
    """The machine's series name neither job nor instance, which the scrape adds."""
    page = Page(tmp_path)()

    assert 'system_cpu_time_seconds_total{cpu_mode="user"}' in page
    assert page["system_cpu_logical_count{}"] == os.cpu_count()
    assert not [name for name in page if name.startswith("system_") and ("job=" in name or "agent" in name)]


def test_another_machines_numbers_stand_beside():
    """What others push as `system.*` is passed through with their job and instance, and not added up with ours."""
    bench = Bench()
    sent = total("system.cpu.time", number(7.0, {"cpu.mode": "user"}), unit="s")
    resource = {"service.name": "app", "service.instance.id": "far"}

    answer = bench.send(sent, resource=resource)
    bench.ingest.own(request(sent, resource={"service.name": "agent-exporter"}, scope="agent-exporter"))

    assert answer.rejections == []
    found = {name for name in bench.page() if name.startswith("system_")}
    assert 'system_cpu_time_seconds_total{cpu_mode="user",instance="far",job="app"}' in found
    assert len(found) == 2


def test_another_machine_without_a_name():
    """What would look like the collector's own machine is not taken, and its sender is told."""
    answer = Bench().send(total("system.cpu.time", number(7.0, {"cpu.mode": "user"}), unit="s"), resource={})

    assert [(each.reason, each.count) for each in answer.rejections] == [("reserved_name", 1)]


def test_families_of_others_outlive_their_silence():
    """The family stays claimed when the last series of others has left it."""
    bench = Bench(expiry={"stream": "15s", "series": "15s", "memory": "15s"})
    sent = total("system.cpu.time", number(7.0), unit="s")
    bench.send(sent)
    for _ in range(4):
        bench.ingest.sweep()
    again = bench.send(total("system.cpu.time", number(8.0, time=3), unit="s"))

    assert again.rejections == []
    assert [name for name in bench.page() if name.startswith("system_")]


@pytest.mark.parametrize("pid", [4242, "4242"])
def test_pushers_are_known_by_pid_and_host(pid):
    """A resource that tells its pid and host is remembered with its agent and id."""
    bench = Bench()
    bench.send(total("x", number(1)), resource={"service.name": "app", "host.name": "here", "process.pid": pid})
    bench.send(total("x", number(1)), resource={"service.name": "app", "process.pid": pid})
    bench.send(total("x", number(1)), resource={"service.name": "app", "host.name": "here"})

    assert [(push.agent, push.instance, push.pid, push.host) for push in bench.ingest.pushers.read()] == [
        ("app", "here:4242", 4242, "here")
    ]
