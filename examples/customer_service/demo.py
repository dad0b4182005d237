"""Customer service: a coordinator asks specialists, keeps the conversation, and hands over to a person's desk. Usage: demo.py"""

import sys
from pathlib import Path
from typing import Any

from support import Advice, helpful, invoice, open_ticket  # type: ignore[import-not-found] # beside this file

import motet

sys.path.append(str(Path(__file__).resolve().parents[1]))
import stage  # type: ignore[import-not-found] # beside the folders

SAID = (
    "Since yesterday's update the app does not start, and I was charged twice for invoice 2025-117. What now?",
    "I want the second charge back today, and I want to talk to somebody who can decide that.",
)


def specialist(name: str, field: str, **options: Any) -> motet.ModelAgent:
    text = f"You are the {field} specialist. Say whether you can help, and how."
    return motet.ModelAgent(name, instructions=text, output_type=Advice, timeout=stage.patience(60), **options)


def responder(name: str) -> motet.ModelAgent:
    return motet.ModelAgent(name, instructions=f"Answer in two sentences from the {name}.")


specialists = motet.Group(
    "support_specialists",
    [
        specialist("technical_support", "technical support"),
        specialist("billing_support", "billing and payments", tools=[invoice]),
        specialist("product_expert", "product"),
    ],
    motet.Aggregation("custom", {"function": helpful}),
)
rapid_response = motet.Group("rapid_response", [responder("handbook"), responder("forum")], "first")

desk = motet.ModelAgent(
    "complaints_desk",
    description="Decides on refunds; for customers who want a person.",
    instructions="You are the complaints desk. Open a ticket, then tell the customer what happens next.",
    tools=[open_ticket],
)
coordinator = motet.ModelAgent(
    "coordinator",
    instructions="""You are a customer service coordinator. Consult the specialists and, for quick help, rapid_response, both at
once. Answer in a friendly way from what they say. Hand over to the complaints desk when the customer wants a person.""",
    tools=[
        motet.as_tool(
            specialists, name="consult_support_specialists", description="Technical, billing, product advice."
        ),
        motet.as_tool(rapid_response, description="The quickest answer from handbook or forum."),
    ],
    handoffs=[desk],
)


async def main() -> None:
    service = motet.Group("service", [coordinator], "first", preserve_session=True)
    async with motet.open_engine() as engine:
        for text in SAID:
            result = await stage.show(engine, service, text, session_id="customer-7")
            print(f"answered by {result['service'].outcomes[0].metadata.get('agent', 'nobody')}")


if __name__ == "__main__":
    stage.play(main, __file__)
