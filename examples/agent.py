"""An agent with two workers that is measured: run it beside `agent-exporter serve`, then look at /metrics."""

import functools
import multiprocessing
import queue
import time
from concurrent.futures import ThreadPoolExecutor

from agent_exporter import instrument as measure

prompts = measure.watch_queue(queue.Queue(), "prompts", waits=True)
tools = measure.watch_pool(ThreadPoolExecutor(2), "tools")


@measure.tool
def search(query: str) -> list[str]:
    return [*find(query)]


@measure.tool(interface="shop")
def order(item: str) -> str:
    if item.endswith("3"):
        raise LookupError(item)
    return f"ordered {item}"


@functools.lru_cache(maxsize=100)
def find(query: str) -> tuple[str, ...]:
    return tuple(f"{query} {number}" for number in range(5))


measure.watch_cache(find, "books")


def think(prompt: str) -> str:
    with measure.model_request("anthropic", "claude-sonnet-4-5") as request:
        time.sleep(0.005)
        request.first_token()
        request.tokens(input=1000, cache_read=500, output=200)
        return f"order {prompt}"


def work() -> None:
    for number in range(10):
        prompts.put(f"book {number}")
    with measure.session():
        while not prompts.empty():
            with measure.turn():
                prompt = prompts.get()
                with measure.operation("context.prepare", mode="simple"):
                    tools.submit(search, "books").result()
                think(prompt)
                try:
                    order(prompt)
                except LookupError:
                    measure.feedback("down")


if __name__ == "__main__":
    measure.start("shop-assistant")
    workers = [multiprocessing.get_context("fork").Process(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
