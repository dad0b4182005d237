"""The run: scheduling, deadlines, cancellation, the event stream. Knows agents, guards, aggregations and stores by
`motet.ports` alone."""
