"""LangGraph's side: the three ways its pages show of running N agents in parallel and combining them: one node each with
a reducer, one node sent N inputs, and N tasks of its functional API. Knows nothing of the other systems."""

import asyncio
import operator
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypedDict

os.environ["LANGSMITH_TRACING"] = "false"  # no network

from langgraph.func import entrypoint, task  # type: ignore[import-not-found] # in an environment of its own
from langgraph.graph import END, START, StateGraph  # type: ignore[import-not-found] # as above
from langgraph.types import Send  # type: ignore[import-not-found] # as above

from peers._worker import Ready, Work, serve


class State(TypedDict):
    """What the nodes of a graph share."""

    question: str
    results: Annotated[list[str], operator.add]
    combined: list[str]


async def combine(state: State) -> dict[str, Any]:  # noqa: ASYNC124 - a synchronous one would run in a thread
    return {"combined": state["results"]}


def combined(result: State) -> int:
    return result["combined"].count("ok")


def node_of(work: Work) -> Any:
    async def node(state: State) -> dict[str, Any]:  # noqa: ARG001 - a node is given the state
        await asyncio.sleep(0)
        work.executions += 1
        return {"results": ["ok"]}

    return node


def of_nodes(width: int, work: Work) -> Any:
    builder = StateGraph(State)
    builder.add_node("combine", combine)
    names = [f"agent_{i}" for i in range(width)]
    node = node_of(work)
    for name in names:
        builder.add_node(name, node)
        builder.add_edge(START, name)
    builder.add_edge(names, "combine")
    builder.add_edge("combine", END)
    return builder.compile()


def of_sends(width: int, work: Work) -> Any:
    def fan_out(state: State) -> list[Any]:
        return [Send("agent", {"question": state["question"]}) for _ in range(width)]

    builder = StateGraph(State)
    builder.add_node("agent", node_of(work))
    builder.add_node("combine", combine)
    builder.add_conditional_edges(START, fan_out, ["agent"])
    builder.add_edge("agent", "combine")
    builder.add_edge("combine", END)
    return builder.compile()


@asynccontextmanager
async def nodes(width: int, work: Work) -> AsyncIterator[Ready]:
    graph = of_nodes(width, work)
    yield Ready(lambda: graph.ainvoke({"question": "x", "results": []}), combined)


@asynccontextmanager
async def sends(width: int, work: Work) -> AsyncIterator[Ready]:
    graph = of_sends(width, work)
    yield Ready(lambda: graph.ainvoke({"question": "x", "results": []}), combined)


@asynccontextmanager
async def tasks(width: int, work: Work) -> AsyncIterator[Ready]:
    @task  # type: ignore[untyped-decorator] # as above
    async def agent(question: str) -> str:  # noqa: ARG001 - what an agent is given
        await asyncio.sleep(0)
        work.executions += 1
        return "ok"

    @entrypoint()  # type: ignore[untyped-decorator] # as above
    async def all_of_them(question: str) -> list[str]:
        return list(await asyncio.gather(*[agent(question) for _ in range(width)]))

    yield Ready(lambda: all_of_them.ainvoke("x"), lambda result: result.count("ok"))


@asynccontextmanager
async def heard(width: int, work: Work) -> AsyncIterator[Ready]:
    graph = of_sends(width, work)

    async def call() -> Any:
        state: Any = None
        async for mode, chunk in graph.astream({"question": "x", "results": []}, stream_mode=["updates", "values"]):
            if mode == "values":
                state = chunk
            else:
                work.heard += 1
        return state

    yield Ready(call, combined, hears=True)


async def main() -> None:
    cases = {
        "LangGraph, a node each": nodes,
        "LangGraph, Send": sends,
        "LangGraph, tasks": tasks,
        "LangGraph, Send, updates heard": heard,
    }
    await serve(cases, ["langgraph", "langchain-core"], asyncio.to_thread)


if __name__ == "__main__":
    asyncio.run(main())
