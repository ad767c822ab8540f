"""Wrong uses of the library: `mypy --strict` refuses each line that says so, and no other."""

from __future__ import annotations

from agent_exporter import instrument
from agent_exporter.instrument import tool, wrap_tools


@tool
def plain(query: str, *, limit: int = 3) -> list[str]:
    return [query] * limit


@tool("named")
async def coroutine(value: int) -> str:
    return str(value)


async def main() -> None:
    plain(5)  # refused
    plain("x", limits=2)  # refused
    number: int = plain("x")  # refused
    text: str = coroutine(5)  # refused
    await plain("x")  # refused
    wrap_tools({"a": plain})["a"](5)  # refused
    print(number, text)


tool(5)  # refused
tool("x", type="magic")  # refused
tool("x", memory="all")  # refused
tool("x", sample="often")  # refused
tool("x", colour="red")  # refused
tool("x").complete("fine")  # refused
wrap_tools([1, 2])  # refused
instrument.operation(5)  # refused
instrument.operation("x", "mode")  # refused
instrument.model_request("openai")  # refused
instrument.model_request("openai", "gpt-5").tokens(1)  # refused
instrument.model_request("openai", "gpt-5").tokens(inputs=1)  # refused
instrument.feedback()  # refused
instrument.start(5)  # refused
instrument.start("me", True)  # refused
