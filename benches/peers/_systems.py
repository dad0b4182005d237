"""The systems that are compared, and what each one's figure includes. Knows nothing of how they are run."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class System:
    """One system, with the module that measures it."""

    name: str
    module: str
    """`python -m` of it, in the system's environment, answers requests (`_worker.py`)."""
    lock: str | None
    """The file in `requirements` that its environment is installed from; None is Motet's own environment."""
    includes: str
    """What is measured, for a reader of the results."""


MOTET: Final = System(
    "Motet",
    "peers.of_motet",
    None,
    "`engine.run` of a group of N agents, each a function agent of its own, aggregation `combine`: request and plan "
    "checked, guards asked, deadlines, an outcome with times and usage for each member, events numbered, the result. "
    "With events heard: `engine.stream`, and one subscriber that takes every event of the run one by one.",
)

PEERS: Final = (
    System(
        "JAF",
        "peers.of_jaf",
        "jaf.txt",
        "`create_simple_parallel_tool` of N agents, aggregation `combine`, executed directly, so without the run of a main "
        "agent around it. A full run of JAF's loop for each agent, with a model provider that answers at once. What it "
        "prints goes nowhere. With events heard: `on_event` is a function that counts.",
    ),
    System(
        "OxyGent",
        "peers.of_oxygent",
        "oxygent.txt",
        "`chat_with_agent` of a `ParallelAgent` over N `ChatAgent`s, each with a `func_execute` in place of a call of a "
        "model, and the summary that a ParallelAgent always asks its model for, which is one that answers at once. "
        "Records in memory, no logging.",
    ),
    System(
        "LangGraph",
        "peers.of_langgraph",
        "langgraph.txt",
        "`ainvoke` of a compiled graph, whose last node combines what a reducer has gathered: N nodes, or one node that "
        "`Send` gives N inputs; and an `entrypoint` that gathers N `task`s. No checkpointer, no tracing. With updates "
        "heard: `astream` with `stream_mode` of updates and values, read to the end.",
    ),
)
