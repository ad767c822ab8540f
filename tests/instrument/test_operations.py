"""Operations, turns, sessions and interfaces: what an agent says of itself."""

import asyncio
import os

import pytest

from agent_exporter.instrument import (
    cells,
    compacted,
    context_used,
    feedback,
    interface,
    operation,
    session,
    transition,
    turn,
)

FAILURES = "agent.telemetry.failures"


@pytest.fixture
def counts(points):
    """List what was recorded; of histograms, how much."""

    def counts(prefix=""):
        found = points(prefix).items()
        return {key: value if isinstance(value, (int, float)) else sum(value.counts) for key, value in found}

    return counts


def timed(*labels):
    """Name a point of the operations' family."""
    return ("agent.operation.duration", *labels)


def test_a_block(counts):
    """A block is timed under its name and mode, by how it ended."""
    with operation("context.prepare", mode="simple"):
        pass
    with pytest.raises(ValueError, match="x"), operation("context.prepare", mode="simple"):
        raise ValueError("x")
    with operation("command"):
        pass

    assert counts() == {
        timed("context.prepare", "simple", "ok"): 1,
        timed("context.prepare", "simple", "error"): 1,
        timed("command", "ok"): 1,
    }


def test_a_decorator(counts):
    """A decorated function of any kind is timed at every call, also while another call runs."""

    @operation("command")
    def command(depth):
        return depth and command(depth - 1)

    @operation("fetch")
    async def fetch():
        await asyncio.sleep(0)

    async def main():
        await asyncio.gather(fetch(), fetch())

    command(2)
    asyncio.run(main())

    assert counts() == {timed("command", "ok"): 3, timed("fetch", "ok"): 2}


def test_start_and_complete(counts):
    """What is no block begins with `start` and ends with the first `complete`."""
    run = operation("command").start()
    run.complete("rejected")
    run.complete()
    operation("never").complete()

    assert counts() == {timed("command", "rejected"): 1}


def test_how_long(points):
    """An operation takes as long as it takes."""
    import time

    began = time.perf_counter()
    with operation("command"):
        time.sleep(0.02)
    most = time.perf_counter() - began

    [found] = points().values()
    assert 0.02 <= found.sum <= most


def test_turns_and_sessions(counts):
    """Turns are counted when they begin and timed when they end; sessions are open in between."""
    with session():
        with turn(), turn():
            inside = counts()
        open_ = counts("agent.sessions.active")
    session().start()

    assert inside == {("agent.sessions",): 1, ("agent.sessions.active",): 1, ("agent.turns",): 2}
    assert open_ == {("agent.sessions.active",): 1}
    assert counts() == {
        ("agent.sessions",): 2,
        ("agent.sessions.active",): 1,
        ("agent.turns",): 2,
        ("agent.turn.duration",): 2,
    }


def test_interfaces(counts):
    """An interface has failures in a row and a fallback; a change to it and of a state is an operation."""
    github = interface("github")
    for say in (github.failed, github.succeeded, github.failed, github.failed, github.fallback):
        say()
    interface("gitlab").fallback(active=False)
    with interface("gitlab").switch(), transition("waiting"):
        pass

    assert counts() == {
        ("agent.interface.consecutive_failures", "github"): 2,
        ("agent.fallback.active", "github"): 1,
        ("agent.fallback.active", "gitlab"): 0,
        timed("interface.switch", "gitlab", "ok"): 1,
        timed("state.transition", "waiting", "ok"): 1,
    }


def test_what_is_no_time(counts):
    """Feedback, the context window and compactions are said in one call each."""
    feedback("up")
    feedback("up")
    context_used(0.25)
    compacted()

    assert counts() == {
        ("agent.feedback", "up"): 2,
        ("agent.context.utilization",): 0.25,
        ("agent.context.compactions", "auto"): 1,
    }


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: operation(5),
        lambda: operation("x", mode=[]),
        lambda: operation("x").start().complete("fine"),
        lambda: interface(None).failed(),
        lambda: feedback({}),
        lambda: context_used("half"),
        lambda: context_used(float("nan")),
        lambda: context_used(-1),
        lambda: compacted(3),
    ],
)
def test_mistakes_are_counted(counts, mistake):
    """What makes no sense raises nothing and is counted."""
    mistake()

    assert counts(FAILURES) == {(FAILURES, "misuse"): 1}


def test_switched_off(counts):
    """A library that is switched off records nothing, and what began then does not end later."""
    cells.SWITCH.on = False
    late = operation("late").start()
    with turn(), session(), operation("x"):
        feedback("up")
    cells.SWITCH.on = True
    late.complete()

    assert {key: value for key, value in counts().items() if value} == {}


def test_a_session_in_a_forked_child(counts):
    """A child that ends its parent's session has not fewer sessions than none."""
    read, write = os.pipe()
    mine = session().start()
    child = os.fork()
    if child == 0:
        mine.complete()
        os.write(write, str(counts("agent.sessions.active")).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)

    with os.fdopen(read) as said:
        assert said.read() == "{}"


def test_what_is_started_again(counts):
    """A second start ends what ran before, so that no session stays open for ever."""
    session().start().start().complete()
    operation("command").start().start().complete()

    assert counts("agent.sessions") == {("agent.sessions",): 2, ("agent.sessions.active",): 0}
    assert counts("agent.operation") == {timed("command", "unknown"): 1, timed("command", "ok"): 1}


def test_a_session_that_ends_after_a_shutdown(counts):
    """A session that was left while nothing is measured is not open when that begins again."""
    mine = session().start()
    cells.SWITCH.on = False
    mine.complete()
    cells.SWITCH.on = True

    assert counts("agent.sessions.active") == {("agent.sessions.active",): 0}
