"""The nouns: frozen values that every other part speaks in. Nothing here waits, reads a clock or knows trio."""
