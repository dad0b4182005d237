"""From the arguments of `run`, `stream`, `start` and `map` to a request."""

from collections.abc import Mapping

from motet.errors import InvalidRequest, Violation
from motet.model.payload import Payload
from motet.model.plan import Limits, Plan
from motet.model.run import RunRequest


def as_request(  # noqa: PLR0917 - one argument for each of `run`
    target: Plan | str | RunRequest,
    input: object,
    variables: Mapping[str, object] | None,
    session_id: str,
    timeout: float | None,
    limits: Limits | None,
    labels: Mapping[str, str] | None,
    tenant: str = "",
    request_id: str = "",
) -> RunRequest:
    """The request that arguments spell out. Raises InvalidRequest for values that have no payload form."""
    if isinstance(target, RunRequest):
        return target
    given: dict[str, Payload] = {}
    violations: list[Violation] = []
    for field, value in [("input", input), *((f'variables["{name}"]', v) for name, v in (variables or {}).items())]:
        try:
            given[field] = Payload.of(value)
        except (TypeError, ValueError) as error:
            violations.append(Violation(field, str(error)))
    if violations:
        raise InvalidRequest(violations)
    return RunRequest(
        target=target,
        input=given["input"],
        request_id=request_id,
        session_id=session_id,
        variables={name: given[f'variables["{name}"]'] for name in (variables or {})},
        limits=limits,
        timeout=timeout,
        labels=dict(labels or {}),
        tenant=tenant,
    )
