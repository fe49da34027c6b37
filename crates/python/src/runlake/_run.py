"""Runs without MLflow: a few microseconds a point."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import TracebackType
from typing import Any, SupportsFloat

from ._batch import Pair, new_id, now_ms
from ._errors import Refused, RunlakeError, Unavailable, Undelivered
from ._offline import Book
from ._pipeline import Pipeline, pipeline_for
from ._rest import API, TERMINAL, Tracking, update_body, user_name
from ._spool import Operation
from ._uri import Target

logger = logging.getLogger("runlake")

KEY_CHARS = 250


def _text(table: str, key: Any, value: Any) -> tuple[str, str]:
    key, value = str(key), str(value)
    if not key or len(key) > KEY_CHARS:
        raise ValueError(f"{table}: a key has 1 to {KEY_CHARS} characters, {key[:50]!r}… has {len(key)}")
    return key, value


class Run:
    """A run to log to.

    `log` hands points to a background thread and returns at once; `finish`, or the end of a `with` block, waits until
    all of them are durable on the server, and raises what could not be delivered.

        with runlake.start_run(experiment="iris", name="first") as run:
            run.log_params({"lr": 0.1})
            for step in range(1000):
                run.log({"loss": 1 / (step + 1)}, step=step)
    """

    def __init__(self, run_id: str, uri: str | None = None, *, pipeline: Pipeline | None = None) -> None:
        """An existing run, by its id. Nothing is asked of the server."""
        self.run_id = run_id
        self._pipeline = pipeline or pipeline_for(Target.parse(uri))
        self._params: dict[str, str] = {}
        self._finished = False

    def __repr__(self) -> str:
        return f"<runlake.Run {self.run_id} on {self._pipeline.target.uri}>"

    @property
    def target(self) -> Target:
        """Where the run is."""
        return self._pipeline.target

    def log(
        self,
        metrics: Mapping[str, SupportsFloat],
        step: int = 0,
        timestamp: int | None = None,
    ) -> None:
        """Logs a point for each metric, at `step` and `timestamp` (milliseconds; now unless given).

        Returns before they are sent. Waits only when the buffer is full.
        """
        if timestamp is None:
            timestamp = now_ms()
        if type(step) is not int:
            step = int(step)
        add = self._pipeline.add
        run_id = self.run_id
        for key, value in metrics.items():
            add((run_id, key, value if type(value) is float else float(value), step, timestamp))

    def log_metric(self, key: str, value: SupportsFloat, step: int = 0, timestamp: int | None = None) -> None:
        """Logs one point."""
        self._pipeline.add((self.run_id, key, float(value), int(step), now_ms() if timestamp is None else timestamp))

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Sets params; a param that has another value already is refused."""
        texts = dict(_text("params", key, value) for key, value in params.items())
        for key, value in texts.items():
            if self._params.get(key, value) != value:
                raise Refused(
                    f"param {key!r} of run {self.run_id} is {self._params[key]!r} and cannot become {value!r}",
                    "INVALID_PARAMETER_VALUE",
                )
        self._params.update(texts)
        if self.target.offline:
            Book(self._pipeline.spool.folder).change_run(self.run_id, params=texts)
        self._pipeline.extend(Pair("params", self.run_id, key, value) for key, value in texts.items())

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Sets tags; the last value counts."""
        texts = dict(_text("tags", key, value) for key, value in tags.items())
        if self.target.offline:
            Book(self._pipeline.spool.folder).change_run(self.run_id, tags=texts)
        self._pipeline.extend(Pair("tags", self.run_id, key, value) for key, value in texts.items())

    def flush(self, timeout: float | None = None) -> None:
        """Waits until everything that was logged is durable on the server."""
        self._pipeline.flush(timeout)
        self._raise_refusals()

    def finish(self, status: str = "FINISHED", timeout: float | None = None) -> None:
        """Waits until everything is durable, and sets the run's status and end.

        Raises `Undelivered` when the server cannot be reached in time: then points and status are on disk, and are
        delivered when it is back. Raises `Refused` when it did not take something; the status is set nevertheless.
        """
        if status not in TERMINAL:
            raise ValueError(f"a run ends as one of {', '.join(TERMINAL)}, not {status!r}")
        self._finished = True
        end = update_body(self.run_id, status)
        finish_run(self._pipeline, end, lambda: Tracking(self.target).update_run(end), timeout)
        self._raise_refusals()

    def _raise_refusals(self) -> None:
        if message := refusal_message(self._pipeline, self.run_id):
            raise Refused(message, "INVALID_PARAMETER_VALUE")

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._finished:
            return
        if error is None:
            self.finish()
            return
        # What went wrong is what the caller should see; not that its points could not be delivered either.
        status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
        try:
            self.finish(status)
        except RunlakeError as other:
            logger.error("run %s: %s", self.run_id, other)


def finish_run(pipeline: Pipeline, end: dict[str, Any], update: Any, timeout: float | None = None) -> Any:
    """Delivers everything, then calls `update`; when the server is away, the update goes to disk behind the points."""
    later = Operation(new_id(), "POST", f"{API}/runs/update", end)
    if pipeline.target.offline:
        fields: dict[str, Any] = {key: end[key] for key in ("status", "end_time") if key in end}
        Book(pipeline.spool.folder).change_run(end["run_id"], info=fields)
        pipeline.add(later)
        pipeline.flush(timeout)
        return None
    try:
        pipeline.flush(timeout)
    except Undelivered:
        if pipeline.spool.pending:
            pipeline.add(later)
            pipeline.settle()
        raise
    try:
        return update()
    except Unavailable as error:
        pipeline.add(later)
        raise Undelivered(
            f"all points of run {end['run_id']} are durable, but {pipeline.target.http_url} went away before it heard "
            f"of its end, which is told when it is back: {error}"
        ) from error


def refusal_message(pipeline: Pipeline, run_id: str) -> str | None:
    """What was refused of a run, in a sentence; asked once."""
    refusals = pipeline.refusals(run_id)
    if not refusals:
        return None
    rows = sum(refusal.rows for refusal in refusals)
    sentences = list(dict.fromkeys(refusal.message for refusal in refusals))
    more = f" (and {len(sentences) - 3} other reasons)" if len(sentences) > 3 else ""
    kept = next((refusal.kept_in for refusal in refusals if refusal.kept_in), None)
    where = f" They are kept in {pipeline.spool.folder / 'rejected'}." if kept else ""
    reasons = "; ".join(sentences[:3]).rstrip(".")
    return f"{rows:,} rows of run {run_id} were refused: {reasons}{more}.{where}"


def start_run(
    experiment: str = "Default",
    name: str | None = None,
    *,
    tags: Mapping[str, Any] | None = None,
    params: Mapping[str, Any] | None = None,
    uri: str | None = None,
) -> Run:
    """A new run in the experiment of that name, which is made if need be.

    `uri` is as for `runlake.connect`; with `?offline=DIR` no server is needed, and `runlake-sync DIR` uploads.
    """
    pipeline = pipeline_for(Target.parse(uri))
    texts = {str(key): str(value) for key, value in (tags or {}).items()}
    texts.setdefault("mlflow.user", user_name())
    texts.setdefault("mlflow.source.type", "LOCAL")
    if pipeline.target.offline:
        book = Book(pipeline.spool.folder)
        made, operation = book.create_experiment(experiment)
        if operation is not None:
            pipeline.add(operation)
        offline, operation = book.create_run(made["experiment_id"], name, texts)
        pipeline.add(operation)
        info = offline["info"]
    else:
        tracking = Tracking(pipeline.target)
        body: dict[str, Any] = {
            "experiment_id": tracking.experiment(experiment),
            "user_id": texts["mlflow.user"],
            "start_time": now_ms(),
            "tags": [{"key": key, "value": value} for key, value in texts.items()],
        }
        if name is not None:
            body["run_name"] = name
        info = tracking.create_run(body)["info"]
    run = Run(info["run_id"], pipeline=pipeline)
    if params:
        run.log_params(params)
    return run


def active_run() -> Run:
    """MLflow's active run, for logging to it with `Run.log` in the innermost loop.

    MLflow's tracking URI must be a `runlake://` one; points logged either way share one buffer, and `mlflow.end_run`
    waits for all of them.
    """
    import mlflow

    active = mlflow.active_run()
    if active is None:
        raise RunlakeError("there is no active run: call mlflow.start_run() first")
    return Run(active.info.run_id, mlflow.get_tracking_uri())
