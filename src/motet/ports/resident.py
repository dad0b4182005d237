"""Resident: something that has to live longer than the call that needs it first, such as a session with a tool server."""

from typing import Protocol


class Resident(Protocol):
    """Lives in a task of the engine's, from the first call that asks for it until the engine closes."""

    async def live(self) -> None:
        """Runs until it is cancelled, or has nothing more to do; then the next call that asks for it starts it anew.
        Lets `trio.Cancelled` through, with cleanup that is shielded and bounded; what else it raises is logged."""
        ...
