"""What agents and groups say of their guards, in a few words for a cell of a table; empty where they say nothing. Pure."""

from typing import Any

from motet_server.cli.text import count, cut, figure, percent, seconds, usd


def rate(info: Any) -> str:
    """How often an agent may be called: `5 calls/s, 1,000 tokens/min, burst 10, weight 2`."""
    parts: list[str] = []
    if info.rate is not None:
        for noun in ("calls", "tokens"):
            for unit, name in (("s", "second"), ("min", "minute")):
                bound = getattr(info.rate, f"{noun}_per_{name}")
                if bound is not None:
                    parts.append(f"{figure(bound)} {noun}/{unit}")
        if info.rate.burst is not None:
            parts.append(f"burst {figure(info.rate.burst)}")
    if info.weight != 1:
        parts.append(f"weight {figure(info.weight)}")
    return ", ".join(parts)


def breaker(value: Any) -> str:
    """When an agent is left alone: `5 failures, 30.00 s, 1 probe`."""
    if value is None:
        return ""
    return f"{count(value.failures, 'failure')}, {seconds(value.cooldown)}, {count(value.probes, 'probe')}"


def replay_safe(value: bool | None) -> str:
    return "" if value is None else "yes" if value else "no"


def limits(value: Any) -> str:
    """Bounds of a group, those that are set: `0.50 USD, 20 calls, failures up to 20%`."""
    if value is None:
        return ""
    parts = [
        (value.max_cost_nanos, usd),
        (value.max_tokens, lambda bound: count(bound, "token")),
        (value.max_calls, lambda bound: count(bound, "call")),
        (value.max_duration, lambda bound: f"{seconds(bound)} of calls"),
        (value.max_failure_rate, lambda bound: f"failures up to {percent(bound)}"),
        (value.min_samples, lambda bound: f"from {count(bound, 'sample')} on"),
        (value.min_successes, lambda bound: f"at least {count(bound, 'success', 'successes')}"),
        (value.max_members, lambda bound: count(bound, "member")),
        (value.max_depth, lambda bound: f"depth {bound}"),
        (value.on_breach, lambda bound: f"on breach {str(bound).lower()}"),
        (value.skip_infeasible or None, lambda _: "skips what cannot end in time"),
    ]
    return ", ".join(say(bound) for bound, say in parts if bound is not None)


def retry(value: Any) -> str:
    """`3 attempts, 100 ms to 10.00 s`, with the reasons where they are named."""
    if value is None:
        return ""
    reasons = f", after {cut(', '.join(value.reasons), 100)}" if value.reasons else ""
    wait = f"{seconds(value.initial_backoff)} to {seconds(value.max_backoff)}"
    return f"{count(value.max_attempts, 'attempt')}, {wait}{reasons}"


def hedge(value: Any) -> str:
    """`2 at once after 2.00 s`, or `after the p95`."""
    if value is None:
        return ""
    return f"{value.max_attempts} at once after {'the p95' if value.delay is None else seconds(value.delay)}"


def idempotency(value: Any) -> str:
    """`by call, 1 h 00 min`, or with a key of its own."""
    if value is None:
        return ""
    return f"{f'key {cut(value.key, 40)}' if value.key else 'by call'}, {seconds(value.ttl)}"
