"""From the arguments of `run`, `stream`, `start` and `map` to a request."""

from collections.abc import Callable, Mapping

from motet.errors import InvalidRequest, Violation
from motet.model.payload import EMPTY, Payload
from motet.model.plan import Limits, Plan
from motet.model.quick import quick
from motet.model.run import RunRequest

_request: Callable[..., RunRequest] = quick(RunRequest)


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
    violations: list[Violation] = []
    own = _payload(input, "input", violations)
    given: dict[str, Payload] = {}
    if variables:
        given = {name: _payload(value, f'variables["{name}"]', violations) for name, value in variables.items()}
    if violations:
        raise InvalidRequest(violations)
    return _request(
        target=target,
        input=own,
        request_id=request_id,
        session_id=session_id,
        tenant=tenant,
        variables=given,
        limits=limits,
        timeout=timeout,
        labels=dict(labels) if labels else {},
        depth=0,
    )


def _payload(value: object, field: str, violations: list[Violation]) -> Payload:
    try:
        return Payload.of(value)
    except (TypeError, ValueError) as error:
        violations.append(Violation(field, str(error)))
        return EMPTY
