"""What agents' calls have used: running quantiles over the last calls of each. Pure; no clock."""

from bisect import bisect_left, insort
from collections import OrderedDict, deque
from typing import Final

from motet.model.agent import AgentInfo
from motet.ports import End

WINDOW: Final = 128
"""Calls that a figure looks back on: enough for a 95th percentile, few enough to follow a change within minutes."""
MIN_SAMPLES: Final = 3
"""Calls before a quantile of times is told: a skip must not hang on one call."""
MIN_SAMPLES_HIGH: Final = 10
"""The same for quantiles above the median, which a few calls say little about."""
MAX_PROFILES: Final = 10_000
ESTIMATE_SHARE: Final = 0.9
"""Estimates of cost and tokens are this quantile: most calls fit what was set aside for them."""
RECENT: Final = 20
MIN_RECENT: Final = 5


class Window:
    """The last values. To add one takes a moment; their order is found when it is first asked for, and kept up from then on in
    O(log n) compares: most agents' figures are never asked for."""

    __slots__ = ("_arrived", "_sorted")

    def __init__(self) -> None:
        self._arrived: deque[float] = deque(maxlen=WINDOW)
        self._sorted: list[float] | None = None

    def __len__(self) -> int:
        return len(self._arrived)

    def add(self, value: float) -> None:
        ordered = self._sorted
        if ordered is not None:
            if len(ordered) == WINDOW:
                del ordered[bisect_left(ordered, self._arrived[0])]
            insort(ordered, value)
        self._arrived.append(value)

    def quantile(self, share: float) -> float | None:
        """The smallest value that at least this share of the values does not exceed; None without values."""
        count = len(self._arrived)
        if not count:
            return None
        if self._sorted is None:
            self._sorted = sorted(self._arrived)
        return self._sorted[min(count - 1, max(0, -int(-share * count // 1) - 1))]


class AgentProfile:
    """What is known of one agent. See `motet.ports.Profile`."""

    __slots__ = ("_cost", "_faults", "_recent", "_seen", "_times", "_tokens", "info")

    def __init__(self, info: AgentInfo) -> None:
        self.info = info
        """Of the latest member that asked: a card may change."""
        self._times = Window()
        self._cost = Window()
        self._tokens = Window()
        self._recent: deque[bool] = deque(maxlen=RECENT)
        self._faults = 0
        self._seen = False

    @property
    def cost_nanos(self) -> int | None:
        used = self._cost.quantile(ESTIMATE_SHARE)
        return self.info.estimated_cost_nanos if used is None else int(used)

    @property
    def tokens(self) -> int | None:
        used = self._tokens.quantile(ESTIMATE_SHARE)
        if used is not None:
            return int(used)
        # Who has answered and never told of tokens uses none.
        return 0 if self.info.estimated_tokens is None and self._seen else self.info.estimated_tokens

    @property
    def seen(self) -> bool:
        return self._seen or self.info.composite

    def quantile(self, share: float) -> float | None:
        least = MIN_SAMPLES if share <= 0.5 else MIN_SAMPLES_HIGH
        return self._times.quantile(share) if len(self._times) >= least else None

    @property
    def failing(self) -> bool:
        return len(self._recent) >= MIN_RECENT and 2 * self._faults > len(self._recent)

    def learn(self, end: End) -> None:
        """Take in one call that has ended. One that was stopped by others tells nothing."""
        fault = end.fault
        if fault is None:
            return
        recent = self._recent
        if len(recent) == RECENT and recent[0]:
            self._faults -= 1
        recent.append(fault)
        if fault:
            self._faults += 1
            return
        self._seen = True
        self._times.add(end.ran)
        usage = end.usage
        tokens = usage.input_tokens + usage.output_tokens
        if tokens or self._tokens:
            self._tokens.add(tokens)
        if not usage.unpriced_calls:
            self._cost.add(usage.cost_nanos)


class Profiles:
    """Those of an engine, by agent name; the longest unused are forgotten."""

    def __init__(self) -> None:
        self._profiles: OrderedDict[str, AgentProfile] = OrderedDict()

    def of(self, info: AgentInfo) -> AgentProfile:
        profile = self._profiles.get(info.name)
        if profile is None or profile.info.version != info.version:
            profile = self._profiles[info.name] = AgentProfile(info)
            if len(self._profiles) > MAX_PROFILES:
                self._profiles.popitem(last=False)
        else:
            profile.info = info
            self._profiles.move_to_end(info.name)
        return profile
