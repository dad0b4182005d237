"""The tables of limits, policies, rates and quotas, wherever in a catalog file they stand. Whether their numbers make sense
is looked at later. Imported only when a file is loaded, because it brings pydantic."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from motet._catalog_values import Dollars, NounTable, Seconds
from motet.model.bounds import ProviderBounds, Quota, TenantBounds
from motet.model.plan import HedgePolicy, Idempotency, Limits, OnBreach, RetryPolicy
from motet.model.rate import Breaker, Rate

_BREACHES: Final[Mapping[str, OnBreach]] = {"drain": OnBreach.DRAIN, "cancel": OnBreach.CANCEL}


def _breach(value: str) -> OnBreach:
    return _BREACHES[value]


class LimitsTable(NounTable):
    """`[limits]`, and `limits` of a group or tenant."""

    noun = Limits
    renamed: ClassVar[Mapping[str, str]] = {"max_cost": "max_cost_nanos"}

    max_cost: Dollars = None
    max_cost_nanos: int | None = None
    max_tokens: int | None = None
    max_calls: int | None = None
    max_duration: Seconds | None = None
    max_failure_rate: float | None = None
    min_samples: int | None = None
    min_successes: int | None = None
    max_members: int | None = None
    max_depth: int | None = None
    on_breach: Annotated[Literal["drain", "cancel"], AfterValidator(_breach)] | None = None
    skip_infeasible: bool | None = None

    @model_validator(mode="after")
    def _one_cost(self) -> "LimitsTable":
        if {"max_cost", "max_cost_nanos"} <= self.model_fields_set:
            raise ValueError("give either max_cost or max_cost_nanos, not both")
        return self


class RetryTable(NounTable):
    """`retry` of a group or member."""

    noun = RetryPolicy

    max_attempts: int = 1
    initial_backoff: Seconds = 0.1
    max_backoff: Seconds = 10.0
    backoff_multiplier: float = 2.0
    jitter: float = 0.5
    reasons: Annotated[list[str], AfterValidator(tuple)] = Field(default_factory=list)


class HedgeTable(NounTable):
    """`hedge` of a group."""

    noun = HedgePolicy

    delay: Seconds | None = None
    max_attempts: int = 2


class IdempotencyTable(NounTable):
    """`idempotency` of a group or member; true stands for a table with the defaults."""

    noun = Idempotency

    key: str = ""
    ttl: Seconds = 3600.0

    @model_validator(mode="before")
    @classmethod
    def _from_true(cls, value: object) -> object:
        if isinstance(value, bool):
            if not value:
                raise ValueError("must be true or a table; leave it out to have every call made")
            return {}
        return value


class RateTable(NounTable):
    """`rate` of a provider or agent."""

    noun = Rate

    calls_per_second: float | None = None
    calls_per_minute: float | None = None
    tokens_per_second: float | None = None
    tokens_per_minute: float | None = None
    burst: float | None = None


class BreakerTable(NounTable):
    """`breaker` of a provider or agent."""

    noun = Breaker

    failures: int = 5
    cooldown: Seconds = 30.0
    probes: int = 1


class ProviderTable(NounTable):
    """`[providers.NAME]`."""

    noun = ProviderBounds

    max_parallel: int | None = None
    rate: RateTable | None = None
    breaker: BreakerTable | None = None


class QuotaTable(NounTable):
    """`per_hour`, `per_day` and `total` of a tenant."""

    noun = Quota
    renamed: ClassVar[Mapping[str, str]] = {"cost": "cost_nanos"}

    calls: int | None = None
    tokens: int | None = None
    cost: Dollars = None
    duration: Seconds | None = None


class TenantTable(NounTable):
    """`[tenants.NAME]`."""

    noun = TenantBounds

    max_parallel: int | None = None
    max_runs: int | None = None
    per_hour: QuotaTable = QuotaTable()
    per_day: QuotaTable = QuotaTable()
    total: QuotaTable = QuotaTable()
    limits: LimitsTable | None = None
