"""A model of run search in plain Python: made runs, and what a filter or an order must answer over them.

It is written from the documented meaning, not from any server's code, so that a test compares two independent answers.
"""

import math
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .api import Api, metric, pair

GREATEST = 1.7976931348623157e308


@dataclass
class MadeRun:
    """A run as it was logged; times in milliseconds, None for what it has not."""

    name: str
    start_time: int
    end_time: int | None = None
    status: str = "RUNNING"
    user_id: str = "ada"
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    deleted: bool = False
    run_id: str = ""

    def log(self, api: Api, experiment_id: str) -> None:
        payload = {
            "experiment_id": experiment_id,
            "start_time": self.start_time,
            "run_name": self.name,
            "user_id": self.user_id,
        }
        self.run_id = api.post("runs/create", payload)["run"]["info"]["run_id"]
        answer = api.log_batch(
            self.run_id,
            metrics=[metric(k, wire(v), 1, 1) for k, v in self.metrics.items()],
            params=[pair(k, v) for k, v in self.params.items()],
            tags=[pair(k, v) for k, v in self.tags.items()],
        )
        assert answer.status == 200, answer.text
        if self.status != "RUNNING" or self.end_time is not None:
            update: dict[str, Any] = {"run_id": self.run_id, "status": self.status}
            if self.end_time is not None:
                update["end_time"] = self.end_time
            api.post("runs/update", update)
        if self.deleted:
            api.post("runs/delete", run_id=self.run_id)


def wire(value: float) -> float | str:
    """A double as MLflow sends it."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def like(text: str | None, pattern: str, ignore_case: bool = False) -> bool:
    """SQL's LIKE with % and _."""
    if text is None:
        return False
    expression = "".join(".*" if c == "%" else "." if c == "_" else re.escape(c) for c in pattern)
    return re.fullmatch(expression, text, re.DOTALL | (re.IGNORECASE if ignore_case else 0)) is not None


def made_runs(count: int, seed: int = 5) -> list[MadeRun]:
    """Runs with gaps, ties, odd numbers and awkward texts, the same for each seed."""
    chance = random.Random(seed)
    runs = []
    for index in range(count):
        run = MadeRun(
            name=chance.choice(["alpha", "Alpha", "beta", "50%_done", f"run {index}"]),
            # A few share a start time, so that the run id has to decide.
            start_time=1_700_000_000_000 + chance.randrange(count // 2) * 1000,
            status=chance.choice(["RUNNING", "FINISHED", "FAILED", "KILLED", "SCHEDULED"]),
            user_id=chance.choice(["ada", "bob"]),
            deleted=chance.random() < 0.15,
        )
        if run.status in ("FINISHED", "FAILED", "KILLED"):
            run.end_time = run.start_time + chance.randrange(1, 90) * 500
        if chance.random() < 0.8:
            run.params["lr"] = chance.choice(["0.1", "0.01", "1e-3", ""])
        if chance.random() < 0.5:
            run.params["opt name"] = chance.choice(["Adam", "adam", "sgd", "it's", 'a "b"'])
        if chance.random() < 0.7:
            run.tags["team"] = chance.choice(["vision", "Vision", "nlp", "naïve"])
        if chance.random() < 0.4:
            run.tags["a.b"] = chance.choice(["x", "y"])
        if chance.random() < 0.8:
            run.metrics["loss"] = chance.choice([0.0, 0.25, 0.5, 1.0, -1.0, math.nan, math.inf, -math.inf])
        if chance.random() < 0.6:
            run.metrics["val/acc"] = chance.randrange(8) / 8
        runs.append(run)
    return runs


Test = Callable[[MadeRun], bool]


def number(get: Callable[[MadeRun], float | None], op: str, than: float) -> Test:
    """A comparison of numbers: what is missing matches nothing, NaN is unequal to every number and orders nowhere."""

    def test(run: MadeRun) -> bool:
        value = get(run)
        if value is None:
            return False
        value = max(-GREATEST, min(GREATEST, value)) if not math.isnan(value) else value
        return {
            "=": value == than,
            "!=": value != than,
            "<": value < than,
            "<=": value <= than,
            ">": value > than,
            ">=": value >= than,
        }[op]

    return test


def in_order(runs: list[MadeRun], *keys: tuple[Callable[[MadeRun], Any], bool]) -> list[str]:
    """Names of `runs` sorted by (key, descending) pairs: missing last, NaN before missing, then newest, then run id."""

    def rank(value: Any) -> int:
        if value is None:
            return 2
        return 1 if isinstance(value, float) and math.isnan(value) else 0

    ordered = sorted(sorted(runs, key=lambda run: run.run_id), key=lambda run: run.start_time, reverse=True)
    for get, descending in reversed(keys):
        plain = [run for run in ordered if rank(get(run)) == 0]
        # `reverse` keeps the order of equals.
        plain.sort(key=get, reverse=descending)
        ordered = plain + [r for r in ordered if rank(get(r)) == 1] + [r for r in ordered if rank(get(r)) == 2]
    return [run.run_id for run in ordered]
