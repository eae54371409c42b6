"""Timing in turns, and what is said about the times."""
import dataclasses
import math
import statistics
import time


def percentile(values, share):
    """The smallest value that at least `share` of all are not above."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@dataclasses.dataclass
class Series:
    """Seconds of one side; failures are counted, not dropped in silence."""
    name: str
    seconds: list = dataclasses.field(default_factory=list)
    failures: int = 0

    def summary(self):
        if not self.seconds:
            return {"name": self.name, "count": 0, "failures": self.failures}
        return {"name": self.name, "count": len(self.seconds), "failures": self.failures,
                "median_ms": 1000 * statistics.median(self.seconds), "p95_ms": 1000 * percentile(self.seconds, 0.95),
                "p99_ms": 1000 * percentile(self.seconds, 0.99), "min_ms": 1000 * min(self.seconds)}


def in_turns(sides, rounds, warm_up=2):
    """A B C A B C ...: what disturbs the machine for a while disturbs all sides alike. `sides`: {name: function}.
    A function returns nothing, or seconds of its own to count instead of the call's."""
    series = {name: Series(name) for name in sides}
    for number in range(rounds + warm_up):
        for name, work in sides.items():
            began = time.perf_counter()
            try:
                own = work()
            except Exception as error:  # noqa: BLE001  any failure of a side is a result
                if number >= warm_up:
                    series[name].failures += 1
                    if series[name].failures == 1:
                        print(f"  {name} failed: {type(error).__name__}: {str(error)[:200]}")
                continue
            if number >= warm_up:
                series[name].seconds.append(own if isinstance(own, float) else time.perf_counter() - began)
    return series


@dataclasses.dataclass
class Figure:
    """One line of the table: a ratio to a peer in the same run, and the mark that it should reach."""
    key: str
    what: str
    ratio: float = math.nan
    mark: float = math.nan
    better: str = "lower"        # or "higher"
    unit: str = "×"
    series: list = dataclasses.field(default_factory=list)
    notes: dict = dataclasses.field(default_factory=dict)

    @property
    def reached(self):
        if math.isnan(self.ratio):
            return None
        return self.ratio <= self.mark if self.better == "lower" else self.ratio >= self.mark

    def as_dict(self):
        return {"key": self.key, "what": self.what, "ratio": None if math.isnan(self.ratio) else self.ratio, "mark": self.mark,
                "better": self.better, "unit": self.unit, "reached": self.reached,
                "series": [one.summary() for one in self.series], "notes": self.notes}


def ratio(series, ours, peer):
    """Of the medians; nan when a side has no result."""
    if not series[ours].seconds or not series[peer].seconds:
        return math.nan
    return statistics.median(series[ours].seconds) / statistics.median(series[peer].seconds)
