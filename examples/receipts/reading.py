"""Gives the readings of a receipt, made by an earlier step of a plan, to the members of a later one. Plain Python."""

from typing import Any


async def reading(made: dict[str, Any], member_id: int) -> Any:  # noqa: ASYNC124 - a plain function would cost a thread
    """The reading with this member's number, from 1. An extractor that failed has left none."""
    return made["combined_results"][member_id - 1]
