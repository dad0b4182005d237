"""Where background runs are kept, one file for each store."""

from motet.store.memory import MemoryStore

__all__ = ["MemoryStore"]
