"""Writers that know what was acknowledged to them, and what may have happened to the one write that was under way.

Each writer sends one request at a time. When the server dies under it, at most that request is in doubt: after the
restart it must be there wholly or not at all, and from then on it stays as it was found.
"""

import copy
import http.client
import random
import threading
from dataclasses import dataclass, field
from typing import Any

from .api import ARTIFACTS, Answer, Api, metric, pair, pairs

Point = tuple[int, int, float]


@dataclass
class RunModel:
    """What one writer expects to find in one run, under its own keys."""

    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    points: dict[str, list[Point]] = field(default_factory=dict)
    end_time: int | None = None

    def apply(self, op: "Op") -> None:
        self.params |= op.params
        self.tags |= op.tags
        for key in op.untagged:
            self.tags.pop(key, None)
        for key, points in op.points.items():
            self.points.setdefault(key, []).extend(points)
        if op.end_time is not None:
            self.end_time = op.end_time

    def after(self, op: "Op") -> "RunModel":
        changed = copy.deepcopy(self)
        changed.apply(op)
        return changed


@dataclass
class Op:
    """A write: how to send it, and what it does to the run."""

    run_id: str | None
    path: str
    payload: Any
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    untagged: list[str] = field(default_factory=list)
    points: dict[str, list[Point]] = field(default_factory=dict)
    end_time: int | None = None
    artifact: bytes | None = None


def artifact_bytes(seed: str) -> bytes:
    """Content that tells whether it is whole, from its name alone."""
    chance = random.Random(seed)
    return chance.randbytes(chance.choice([0, 10, 5_000, 200_000]))


class Writer:
    """One client: seeded, so that it sends the same requests in every repetition (as far as it gets)."""

    def __init__(self, name: str, seed: int, experiment_id: str, shared_run: str):
        self.name = name
        self.chance = random.Random(f"{seed}/{name}")
        self.experiment_id = experiment_id
        self.count = 0
        self.runs: dict[str, RunModel] = {shared_run: RunModel()}
        self.shared = shared_run
        self.own: list[str] = []
        self.dirty: set[str] = set()
        self.artifacts: dict[str, bytes] = {}
        self.in_doubt: Op | None = None
        self.acknowledged = 0
        self.odd: list[Answer] = []

    # --- writing

    def work(self, api: Api, stop: threading.Event) -> None:
        """Writes until told to stop or until the server is gone."""
        while not stop.is_set():
            op = self.next_op()
            self.in_doubt = op
            try:
                answer = self.send(api, op)
            except (OSError, http.client.HTTPException):
                return
            if answer.status != 200:
                self.odd.append(answer)
                return
            self.in_doubt = None
            self.accept(op, answer)
        api.close()

    def send(self, api: Api, op: Op) -> Answer:
        if op.artifact is not None:
            return api.request("PUT", op.path, op.artifact)
        return api.send("POST", op.path, op.payload)

    def accept(self, op: Op, answer: Answer | None = None) -> None:
        """`op` happened."""
        self.acknowledged += 1
        if op.artifact is not None:
            self.artifacts[op.path] = op.artifact
        elif op.run_id is None:
            self.adopt(answer.json["run"]["info"]["run_id"], op)
        else:
            self.runs[op.run_id].apply(op)
            self.dirty.add(op.run_id)

    def adopt(self, run_id: str, op: Op) -> None:
        self.own.append(run_id)
        self.runs[run_id] = RunModel()
        self.runs[run_id].apply(op)
        self.dirty.add(run_id)

    def next_op(self) -> Op:
        self.count += 1
        n, me = self.count, self.name
        if not self.own or self.chance.random() < 0.03:
            tags = {f"{me}.made": str(n)}
            payload = {
                "experiment_id": self.experiment_id,
                "start_time": n,
                "tags": [pair(k, v) for k, v in tags.items()],
            }
            return Op(None, "runs/create", payload, tags=tags)
        # Mostly the newest run, sometimes an old one, sometimes the one that all writers share.
        run_id = self.chance.choices([self.own[-1], self.chance.choice(self.own), self.shared], [5, 2, 3])[0]
        kind = self.chance.choices(["batch", "metric", "tag", "untag", "end", "artifact"], [50, 20, 12, 8, 5, 5])[0]
        return getattr(self, f"_{kind}")(run_id, n)

    def _points(self, n: int, count: int) -> dict[str, list[Point]]:
        return {f"{self.name}.k{j}": [(n, 10 * n, n + j / 8)] for j in range(count)}

    def _batch(self, run_id: str, n: int) -> Op:
        points = self._points(n, self.chance.choice([1, 3, 12]))
        params = {f"{self.name}.p{n}": str(n)} if self.chance.random() < 0.5 else {}
        tags = {f"{self.name}.t{n}": str(n), f"{self.name}.last": str(n)}
        payload = {
            "run_id": run_id,
            "metrics": [metric(key, value, time, step) for key, [(step, time, value)] in points.items()],
            "params": [pair(k, v) for k, v in params.items()],
            "tags": [pair(k, v) for k, v in tags.items()],
        }
        return Op(run_id, "runs/log-batch", payload, params=params, tags=tags, points=points)

    def _metric(self, run_id: str, n: int) -> Op:
        points = self._points(n, 1)
        ((key, [(step, time, value)]),) = points.items()
        return Op(run_id, "runs/log-metric", {"run_id": run_id, **metric(key, value, time, step)}, points=points)

    def _tag(self, run_id: str, n: int) -> Op:
        tags = {f"{self.name}.last": str(n)}
        return Op(run_id, "runs/set-tag", {"run_id": run_id, "key": f"{self.name}.last", "value": str(n)}, tags=tags)

    def _untag(self, run_id: str, n: int) -> Op:
        present = sorted(key for key in self.runs[run_id].tags if ".t" in key)
        if not present:
            return self._tag(run_id, n)
        key = self.chance.choice(present)
        return Op(run_id, "runs/delete-tag", {"run_id": run_id, "key": key}, untagged=[key])

    def _end(self, run_id: str, n: int) -> Op:
        if run_id == self.shared:
            return self._metric(run_id, n)
        return Op(run_id, "runs/update", {"run_id": run_id, "end_time": n}, end_time=n)

    def _artifact(self, run_id: str, n: int) -> Op:
        path = f"{ARTIFACTS}/{self.experiment_id}/{run_id}/artifacts/{self.name}/{n}.bin"
        return Op(run_id, path, None, artifact=artifact_bytes(path))

    # --- looking

    def settle(self, api: Api) -> None:
        """After a restart: finds out what became of the write in doubt, and that it is no half of it."""
        op, self.in_doubt = self.in_doubt, None
        if op is None:
            return
        if op.artifact is not None:
            answer = api.request("GET", op.path)
            assert answer.status in (200, 404), answer.text
            if answer.status == 200:
                assert answer.body == op.artifact, f"half an artifact: {op.path}"
                self.accept(op)
        elif op.run_id is None:
            ((key, value),) = op.tags.items()
            found = api.search_runs([self.experiment_id], filter=f"tags.`{key}` = '{value}'")
            assert len(found) <= 1, "one create made two runs"
            if found:
                self.acknowledged += 1
                self.adopt(found[0]["info"]["run_id"], op)
        else:
            found = self.fetch(api, op.run_id)
            without, within = self.runs[op.run_id], self.runs[op.run_id].after(op)
            assert found in (without, within), explain(found, without, op)
            if found != without:
                self.accept(op)

    def check(self, api: Api, everything: bool = False) -> None:
        """What was acknowledged is there, once, and nothing else is."""
        for run_id in sorted(self.runs if everything else self.dirty):
            found = self.fetch(api, run_id)
            assert found == self.runs[run_id], explain(found, self.runs[run_id], None)
        self.dirty.clear()
        paths = sorted(self.artifacts)
        for path in paths if everything else paths[-3:]:
            answer = api.request("GET", path)
            assert (answer.status, answer.body) == (200, self.artifacts[path]), path

    def fetch(self, api: Api, run_id: str) -> RunModel:
        """What the server holds of this writer's in a run."""
        stored = api.run(run_id)
        data, mine = stored["data"], f"{self.name}."
        found = RunModel(
            params={k: v for k, v in pairs(data.get("params")).items() if k.startswith(mine)},
            tags={k: v for k, v in pairs(data.get("tags")).items() if k.startswith(mine)},
            end_time=None if run_id == self.shared else stored["info"].get("end_time"),
        )
        for latest in data.get("metrics", []):
            if latest["key"].startswith(mine):
                history = api.history(run_id, latest["key"])
                found.points[latest["key"]] = [(m["step"], m["timestamp"], m["value"]) for m in history]
                last = (latest["step"], latest["timestamp"], latest["value"])
                assert last == max(found.points[latest["key"]]), f"{latest['key']} is not the latest of its history"
        return found


def explain(found: RunModel, expected: RunModel, op: Op | None) -> str:
    """Where a run differs from what was acknowledged."""
    lines = []
    for name in ("params", "tags"):
        have, want = getattr(found, name), getattr(expected, name)
        lines += [f"{name}: lost {want.keys() - have.keys()}, too many {have.keys() - want.keys()}"]
        lines += [f"{name} {k}: {have[k]} for {want[k]}" for k in have.keys() & want.keys() if have[k] != want[k]]
    for key in found.points.keys() | expected.points.keys():
        have, want = found.points.get(key, []), expected.points.get(key, [])
        if have != want:
            lost, more = sorted(set(want) - set(have)), sorted(set(have) - set(want))
            lines += [f"points of {key}: lost {lost[:10]}, too many {more[:10]}, {len(have)} for {len(want)}"]
    lines += [f"end_time {found.end_time} for {expected.end_time}"]
    return "\n".join([*lines, f"in doubt: {op}"])
