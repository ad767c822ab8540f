"""Model requests: how they ended, how long they took, and what they used."""

import time

import pytest

from agent_exporter.instrument import cells, model_request

WHO = ("openai", "gpt-5")
FIRST, TAKEN = "agent.model.time_to_first_token", "agent.model.request.duration"


def test_a_request(points):
    """A request is counted and timed, its first token as well; both outcomes are there from the first."""
    with model_request(*WHO) as request:
        time.sleep(0.01)
        request.first_token()
        time.sleep(0.01)
        request.first_token()

    found = points("agent.model")
    assert {key: value for key, value in found.items() if key[0] == "agent.model.requests"} == {
        ("agent.model.requests", *WHO, "chat", "ok"): 1,
        ("agent.model.requests", *WHO, "chat", "error"): 0,
    }
    assert 0.01 <= found[FIRST, *WHO, "ok"].sum <= found[TAKEN, *WHO, "ok"].sum - 0.01


def test_a_request_that_fails(points):
    """What is raised passes, and is counted by its class; without a first token there is none."""

    def ask():
        with model_request(*WHO, operation="embeddings") as request:
            request.retry()
            request.retry()
            raise TimeoutError

    with pytest.raises(TimeoutError):
        ask()
    found = points("agent.model")
    assert found["agent.model.requests", *WHO, "embeddings", "error", "TimeoutError"] == 1
    assert found["agent.model.retries", *WHO] == 2
    assert (sum(found[TAKEN, *WHO, "error"].counts), [key for key in found if key[0] == FIRST]) == (1, [])


def test_tokens(points):
    """Tokens are counted by type; a type that was not used is not there."""
    request = model_request(*WHO).start()
    for _ in range(2):
        request.tokens(input=10, output=2, cache_read=3, reasoning=0)
    request.complete()

    used = {"input": 20, "output": 4, "cache_read": 6}
    assert points("agent.tokens") == {("agent.tokens", *WHO, kind): amount for kind, amount in used.items()}


def test_a_request_ends_once(points):
    """A second end counts for nothing, nor does an end without a beginning, nor a first token outside."""
    request = model_request(*WHO)
    request.first_token()
    request.complete()
    request.start().complete("rejected")
    request.complete("error", error_type="Late")
    request.first_token()

    found = points("agent.model.requests")
    assert {key: value for key, value in found.items() if value} == {
        ("agent.model.requests", *WHO, "chat", "rejected"): 1
    }


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: model_request(None, "gpt-5"),
        lambda: model_request("openai", 5),
        lambda: model_request(*WHO, operation=5),
        lambda: model_request(*WHO).start().complete("fine"),
        lambda: model_request(*WHO).tokens(input="many"),
        lambda: model_request(*WHO).tokens(input=-1),
        lambda: model_request(*WHO).tokens(input=float("inf")),
    ],
)
def test_mistakes_are_counted(points, mistake):
    """What makes no sense raises nothing and is counted."""
    mistake()

    failures = "agent.telemetry.failures"
    assert points(failures) == {(failures, "misuse"): 1}


def test_switched_off(points):
    """A library that is switched off records nothing."""
    cells.SWITCH.on = False
    with model_request(*WHO) as request:
        request.first_token()
        request.tokens(input=1)

    assert {key: value for key, value in points().items() if value} == {}
