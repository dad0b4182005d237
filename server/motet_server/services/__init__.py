"""The services of motet.v1: each reads a request, asks the engine and writes the answer. They know no transport."""
