"""The options of rank, best and ensemble. Brings pydantic: imported when one of them is made or listed."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from motet.aggregate._fields import AgentOption, Options, Seconds, Selector
from motet.aggregate._outliers import MIN_MAD_THRESHOLD

Name = Annotated[str, Field(min_length=1)]


class Score(Selector):
    """Where a score comes from: exactly one source."""

    field: str | None = Field(default=None, description="JSON pointer to the score in the output.")
    expression: str | None = Field(default=None, description="CEL over output, member and agent.")
    agent: AgentOption | None = Field(default=None, description="A judge, asked about each output.")
    timeout: Seconds | None = Field(default=None, description="Seconds for each question to the judge.")
    max_parallel: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Most questions to the judge at once; by default all."
    )

    max_calls: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Most questions to the judge in all; by default one for each output."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        sources = [name for name in ("field", "expression", "function", "agent") if getattr(self, name) is not None]
        if len(sources) != 1:
            raise ValueError(
                f"give exactly one of field, expression, function and agent, not {' and '.join(sources) or 'none'}"
            )
        asked = [name for name in ("timeout", "max_parallel", "max_calls") if getattr(self, name) is not None]
        if asked and self.agent is None:
            raise ValueError(f"{asked[0]} is for questions to an agent, and there is none")
        return self


class Criterion(Score):
    """One of several scores, and what it counts for."""

    name: Name
    weight: Annotated[float, Field(gt=0)] = Field(default=1.0, description="Its share is its part of all weights.")


class Ordered(Options):
    """What rank and best share."""

    order: Literal["descending", "ascending"] = Field(
        default="descending", description="descending: the highest score is the best; ascending: the lowest."
    )
    numbers_in_text: bool = Field(default=False, description="Take text such as 1.5 for the number it writes.")


class RankOptions(Ordered):
    """Options of rank."""

    score: Score
    limit: Annotated[int, Field(ge=1)] | None = Field(default=None, description="Longest ranking; by default all.")


class BestOptions(Ordered):
    """Options of best."""

    score: Score | None = None
    # One round of questions for each criterion with a judge, and rounds are bounded.
    criteria: Annotated[list[Criterion], Field(min_length=1, max_length=50)] | None = None
    good_enough: float | None = Field(default=None, description="The first member in declared order to reach it wins.")

    @model_validator(mode="after")
    def _score_or_criteria(self) -> Self:
        if (self.score is None) == (self.criteria is None):
            raise ValueError("give exactly one of score and criteria")
        names = [criterion.name for criterion in self.criteria or ()]
        if len(names) != len(set(names)):
            raise ValueError("criteria: two have the same name")
        return self


class EnsembleOptions(Selector):
    """Options of ensemble."""

    weighted: bool = Field(default=False, description="Weigh weighted_mean by the members' weights.")
    outliers: Literal["none", "mad", "iqr"] = Field(default="none", description="How outliers are told.")
    threshold: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="How far out is an outlier: by default 3.5 for mad, 1.5 for iqr."
    )
    numbers_in_text: bool = Field(default=False, description="Take text such as 1.5 for the number it writes.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        given = [name for name in ("field", "expression", "function") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"give only one of {', '.join(given)}")
        if self.threshold is not None and self.outliers == "none":
            raise ValueError("threshold: is for outliers, which is none")
        if self.outliers == "mad" and self.threshold is not None and self.threshold < MIN_MAD_THRESHOLD:
            raise ValueError(f"threshold: must be {MIN_MAD_THRESHOLD} or more for mad, so that half of the values stay")
        return self
