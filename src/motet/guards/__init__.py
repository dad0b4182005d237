"""What may refuse or delay the start of a member, one file for each guard. Guards decide; waiting is the engine's."""

from motet.guards.capacity import Capacity

__all__ = ["Capacity"]
