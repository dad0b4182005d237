"""The options of votes. Brings pydantic: imported when a vote's options are looked at, not with the rules."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from motet.aggregate._fields import AgentOption, Options, Seconds, Selector
from motet.aggregate._normalise import Normaliser


class NormaliseOptions(Options):
    """Which differences between answers do not count."""

    case: bool = False
    """Upper and lower case of text."""
    whitespace: bool = False
    """White space around text, and how much of it stands inside."""
    numbers: bool = False
    """How a number is written: 1, 1.0, "1" and "1.00" are one, and so are "1,000" and 1000."""
    json_: bool = Field(default=True, alias="json")
    """The order of the names in an object."""

    def normaliser(self) -> Normaliser:
        return Normaliser(case=self.case, whitespace=self.whitespace, numbers=self.numbers, json=self.json_)


class VoteOptions(Selector):
    """Options of `vote`."""

    method: Literal["plurality", "majority"] = "plurality"
    """plurality: the answer with the most weight. majority: the answer with more than half of the weight of all members
    that did not abstain, those that failed included."""
    minimum_share: Annotated[float, Field(ge=0, le=1)] | None = None
    """Least share of the cast weight that the winner must have, 0 to 1."""
    ties: Literal["first", "error", "tiebreaker"] = "first"
    """first: the answer whose first vote was declared earliest. error: a failure. tiebreaker: an agent decides."""
    tiebreaker: AgentOption | None = None
    """The agent that is asked when, and only when, there is a tie; goes with ties="tiebreaker"."""
    tiebreaker_timeout: Seconds | None = None
    """Seconds the tiebreaker may take; none means the group's own deadline."""
    weighted: bool = True
    """Count members by their weights, those of weight 0 not at all. Otherwise each member counts once."""
    normalise: NormaliseOptions = Field(default_factory=NormaliseOptions)
    """Which differences between answers do not count."""
    abstain: list[Any] = Field(default_factory=list)
    """Answers that are no vote, normalised like the answers; null always is none."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] | None = None
    """Stop, before the answer is certain, once the leader is right with this probability. May change the answer."""

    @model_validator(mode="after")
    def _together(self) -> "VoteOptions":
        if self.ties == "tiebreaker" and self.tiebreaker is None:
            raise ValueError('tiebreaker: must name an agent, since ties is "tiebreaker"')
        if self.ties != "tiebreaker":
            for option, value in (("tiebreaker", self.tiebreaker), ("tiebreaker_timeout", self.tiebreaker_timeout)):
                if value is not None:
                    raise ValueError(f'{option}: is only for ties = "tiebreaker"')
        if self.confidence is not None and self.method == "majority":
            raise ValueError('confidence: is only for method = "plurality"; a majority is over all members')
        return self


class RankedVoteOptions(Selector):
    """Options of `ranked_vote`."""

    method: Literal["borda", "instant_runoff"] = "borda"
    """borda: most points, by place. instant_runoff: the last is struck out until one has more than half."""
    ties: Literal["first", "error"] = "first"
    """first: the candidate named earliest, by declared order of members and then by place. error: a failure."""
    weighted: bool = True
    """Count ballots by their members' weights, those of weight 0 not at all. Otherwise each counts once."""
    normalise: NormaliseOptions = Field(default_factory=NormaliseOptions)
    """Which differences between candidates do not count."""
