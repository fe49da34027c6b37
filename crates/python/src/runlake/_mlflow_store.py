"""MLflow's tracking store for `runlake://`: REST for everything, except that points, params and tags are buffered and
travel by Flight in the background."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import weakref
from collections import OrderedDict
from functools import partial
from typing import Any, NoReturn

from google.protobuf.json_format import ParseDict
from mlflow.entities import Experiment, Metric, Param, Run, RunInfo, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    BAD_REQUEST,
    INTERNAL_ERROR,
    INVALID_PARAMETER_VALUE,
    RESOURCE_DOES_NOT_EXIST,
    TEMPORARILY_UNAVAILABLE,
    ErrorCode,
)
from mlflow.store.model_registry.rest_store import RestStore as RegistryRestStore
from mlflow.store.tracking.rest_store import RestStore
from mlflow.utils import validation
from mlflow.utils.credentials import get_default_host_creds

from ._batch import Pair, new_id, now_ms
from ._errors import RunlakeError, SpoolFull, Undelivered
from ._offline import Book
from ._pipeline import Pipeline, pipeline_for
from ._rest import API, update_body
from ._run import finish_run, refusal_message
from ._spool import Operation
from ._uri import Target

logger = logging.getLogger("runlake")

# MLflow 2 has no metrics of models and datasets.
OF_MODELS = hasattr(Metric, "model_id")
MAX_KEYS = 100_000
# Runs whose params are remembered, to tell at once when one is to change.
MAX_RUNS = 256


def host_creds(target: Target, url: str | None = None) -> Any:
    """What MLflow's http client needs to know of a server."""
    creds = get_default_host_creds(url or target.http_url)
    if target.given.header or os.environ.get("RUNLAKE_TOKEN"):
        wanted = target.credentials
        creds.username, creds.password, creds.token = wanted.username, wanted.password, wanted.token
    return creds


def _terminal(status: Any) -> bool:
    return status is not None and bool(RunStatus.is_terminated(RunStatus.from_string(RunStatus.to_string(status))))


class RegistryPin:
    """While runs are open, the environment says which registry they use.

    Each of MLflow's fluent calls makes a client, and each client finds out the registry's address. When nothing names
    one, MLflow looks for a Spark session first, which costs 20 µs or more wherever PySpark is not installed; twice a
    call. `MLFLOW_REGISTRY_URI`, set to the tracking URI, which is what MLflow would come to, spares that. It is set
    only where nothing else names a registry, only while a run of this process is open, and can be switched off by
    `RUNLAKE_PIN_REGISTRY=0`.
    """

    NAME = "MLFLOW_REGISTRY_URI"

    def __init__(self) -> None:
        self._runs: set[str] = set()
        self._set: str | None = None
        self._lock = threading.Lock()

    def open(self, run_id: str, uri: str) -> None:
        """A run was opened."""
        if os.environ.get("RUNLAKE_PIN_REGISTRY") == "0" or "pyspark" in sys.modules:
            return
        from mlflow.tracking import get_tracking_uri

        with self._lock:
            # A server's own process, or a client with an address of its own, has nothing to do with the environment.
            if get_tracking_uri() != uri:
                return
            self._runs.add(run_id)
            if self.NAME not in os.environ:
                os.environ[self.NAME] = uri
                self._set = uri

    def close(self, run_id: str) -> None:
        """A run has ended."""
        with self._lock:
            self._runs.discard(run_id)
            if not self._runs and self._set is not None:
                if os.environ.get(self.NAME) == self._set:
                    del os.environ[self.NAME]
                self._set = None


_pin = RegistryPin()
_stores: weakref.WeakSet[RunlakeStore] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    # Another thread may have held them.
    _pin._lock = threading.Lock()
    for store in list(_stores):
        store._params_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


class RunlakeStore(RestStore):  # type: ignore[misc]
    """A server's tracking store."""

    def __init__(self, store_uri: str) -> None:
        self._target = Target.parse(store_uri)
        self._uri = store_uri
        super().__init__(partial(host_creds, self._target))
        self._pipeline: Pipeline = pipeline_for(self._target)
        self._add = self._pipeline.add
        self._metric_keys: set[str] = set()
        self._params: OrderedDict[str, dict[str, str]] = OrderedDict()
        self._params_lock = threading.Lock()
        # Runs as they were when this process opened them.
        self._opened: OrderedDict[str, Run] = OrderedDict()
        self._ending = threading.local()
        _stores.add(self)

    # --- Buffered -------------------------------------------------------------------------------------------------

    def log_metric(self, run_id: str, metric: Metric) -> None:
        """Takes a point; it is sent in the background."""
        row = self._point(run_id, metric)
        try:
            self._add(row)
        except RunlakeError as error:
            _raise(error)

    def log_param(self, run_id: str, param: Param) -> None:
        """Takes a param; it is sent in the background."""
        self.log_batch(run_id, [], [param], [])

    def set_tag(self, run_id: str, tag: RunTag) -> None:
        """Takes a tag; it is sent in the background."""
        self.log_batch(run_id, [], [], [tag])

    def log_batch(self, run_id: str, metrics: Any, params: Any, tags: Any) -> None:
        """Takes points, params and tags; they are sent in the background."""
        rows: list[Any] = []
        if params:
            checked = [validation._validate_param(param.key, param.value) for param in params]
            self._remember_params(run_id, checked)
            rows += [Pair("params", run_id, param.key, param.value) for param in checked]
        if tags:
            checked = [validation._validate_tag(tag.key, tag.value) for tag in tags]
            self._remember_tags(run_id, checked)
            rows += [Pair("tags", run_id, tag.key, tag.value) for tag in checked]
        rows += [self._point(run_id, metric) for metric in metrics]
        try:
            self._pipeline.extend(rows)
        except RunlakeError as error:
            _raise(error)

    def _point(self, run_id: str, metric: Metric) -> tuple[Any, ...]:
        key = metric.key
        if key not in self._metric_keys:
            validation._validate_metric_name(key)
            validation._validate_length_limit("Metric name", validation.MAX_ENTITY_KEY_LENGTH, key)
            if len(self._metric_keys) < MAX_KEYS:
                self._metric_keys.add(key)
        value = metric.value
        if type(value) is not float:
            try:
                value = float(value)
            except (TypeError, ValueError):
                raise MlflowException(
                    f"Got invalid value {value!r} for metric '{key}': a metric is a number.",
                    error_code=INVALID_PARAMETER_VALUE,
                ) from None
        step = metric.step
        timestamp = metric.timestamp
        if timestamp is None:
            timestamp = now_ms()
        if not OF_MODELS:
            return (run_id, key, value, step or 0, timestamp)
        model_id = metric.model_id
        dataset = metric.dataset_name
        if model_id is None and dataset is None:
            return (run_id, key, value, step or 0, timestamp)
        return (run_id, key, value, step or 0, timestamp, model_id, dataset, metric.dataset_digest)

    def _remember_params(self, run_id: str, params: list[Param]) -> None:
        with self._params_lock:
            known = self._params.setdefault(run_id, {})
            self._params.move_to_end(run_id)
            new: dict[str, str] = {}
            for param in params:
                before = known.get(param.key, new.get(param.key))
                if before is not None and before != param.value:
                    raise MlflowException(
                        f"Changing param values is not allowed. Param with key='{param.key}' was already logged with "
                        f"value='{before}' for run ID='{run_id}'. Attempted logging new value '{param.value}'.",
                        error_code=INVALID_PARAMETER_VALUE,
                    )
                new[param.key] = param.value
            known.update(new)
            while len(self._params) > MAX_RUNS:
                self._params.popitem(last=False)

    def _remember_tags(self, run_id: str, tags: list[RunTag]) -> None:
        pass

    # --- By REST, behind what is buffered -------------------------------------------------------------------------

    def _call_endpoint(self, *args: Any, **kwargs: Any) -> Any:
        # Whatever is asked sees what was logged before.
        self._pipeline.settle()
        return super()._call_endpoint(*args, **kwargs)

    def create_run(self, experiment_id: str, user_id: str, start_time: int, tags: Any, run_name: str) -> Run:
        """A new run."""
        run = super().create_run(experiment_id, user_id, start_time, tags, run_name)
        self._note_opened(run)
        _pin.open(run.info.run_id, self._uri)
        return run

    def _note_opened(self, run: Run) -> None:
        if run.info.status == "RUNNING":
            self._opened[run.info.run_id] = run
            while len(self._opened) > MAX_RUNS:
                self._opened.popitem(last=False)

    def get_run(self, run_id: str) -> Run:
        """A run, with everything that was logged to it."""
        known = self._opened.get(run_id)
        ending, self._ending.now = getattr(self._ending, "now", False), False
        if known is not None and ending and self._pipeline.down is not None:
            # MLflow prints a link before it ends a run. That must not keep the end from being recorded.
            return known
        run = super().get_run(run_id)
        self._note_opened(run)
        return run

    def shut_down_async_logging(self) -> None:
        """What MLflow calls first when a run ends."""
        super().shut_down_async_logging()
        self._pipeline.settle()
        self._ending.now = True

    def update_run_info(self, run_id: str, run_status: Any, end_time: int | None, run_name: str | None) -> RunInfo:
        """Sets status and name. A run ends when all that was logged to it is durable."""
        self._ending.now = False
        if not _terminal(run_status):
            info = super().update_run_info(run_id, run_status, end_time, run_name)
            if run_status is not None and RunStatus.to_string(run_status) == "RUNNING":
                _pin.open(run_id, self._uri)
            return info
        status = RunStatus.to_string(run_status)
        end = update_body(run_id, status, end_time)
        if run_name is not None:
            end["run_name"] = run_name
        # A run that failed says why; that its points are late is for the log.
        failed = status != "FINISHED"
        update = partial(super().update_run_info, run_id, run_status, end_time, run_name)
        try:
            info = finish_run(self._pipeline, end, update)
        except Undelivered as error:
            if not failed:
                _raise(error)
            logger.error("run %s: %s", run_id, error)
            return RunInfo(**_run_info(run_id, status, end["end_time"]))
        finally:
            _pin.close(run_id)
            self._opened.pop(run_id, None)
            with self._params_lock:
                self._params.pop(run_id, None)
        if message := refusal_message(self._pipeline, run_id):
            if not failed:
                raise MlflowException(message, error_code=INVALID_PARAMETER_VALUE)
            logger.error("%s", message)
        return info


def _run_info(run_id: str, status: str, end_time: int) -> dict[str, Any]:
    import inspect

    known: dict[str, Any] = {
        "run_uuid": run_id,
        "run_id": run_id,
        "experiment_id": "",
        "user_id": "",
        "status": status,
        "start_time": None,
        "end_time": end_time,
        "lifecycle_stage": "active",
    }
    names = inspect.signature(RunInfo.__init__).parameters
    return {name: value for name, value in known.items() if name in names}


def _raise(error: RunlakeError) -> NoReturn:
    code = TEMPORARILY_UNAVAILABLE if isinstance(error, Undelivered | SpoolFull) else INTERNAL_ERROR
    if error.code is not None and error.code in set(ErrorCode.keys()):
        code = ErrorCode.Value(error.code)
    raise MlflowException(str(error), error_code=code) from error


# --- Offline ------------------------------------------------------------------------------------------------------


class OfflineStore(RunlakeStore):
    """A folder that stands for a server that cannot be reached, until `runlake-sync` uploads it."""

    def __init__(self, store_uri: str) -> None:
        super().__init__(store_uri)
        self._book = Book(self._pipeline.spool.folder)

    def _remember_params(self, run_id: str, params: list[Param]) -> None:
        self._known(run_id)
        super()._remember_params(run_id, params)
        self._book.change_run(run_id, params={param.key: param.value for param in params})

    def _remember_tags(self, run_id: str, tags: list[RunTag]) -> None:
        self._known(run_id)
        texts = {tag.key: tag.value for tag in tags}
        name = texts.get("mlflow.runName")
        self._book.change_run(run_id, tags=texts, info={"run_name": name} if name else None)

    def _known(self, run_id: str) -> dict[str, Any]:
        run = self._book.run(run_id)
        if run is None:
            raise MlflowException(
                f"Run with id={run_id} was not made in {self._book.folder}: offline, only runs that began there can be "
                "written to",
                error_code=RESOURCE_DOES_NOT_EXIST,
            )
        return run

    def _record(self, path: str, body: dict[str, Any]) -> None:
        self._pipeline.add(Operation(new_id(), "POST", f"{API}/{path}", body))
        self._pipeline.flush()

    def _call_endpoint(self, api: Any, json_body: Any = None, *args: Any, **kwargs: Any) -> Any:
        name = api.DESCRIPTOR.name
        answer = getattr(self, f"_offline_{name}", None)
        if answer is None:
            raise MlflowException(
                f"{name} needs a server, and {self._target.uri} is offline: do it after "
                f"`runlake-sync {self._book.folder}`",
                error_code=BAD_REQUEST,
            )
        self._pipeline.settle()
        body = json.loads(json_body) if json_body else {}
        return ParseDict(answer(body) or {}, api.Response(), ignore_unknown_fields=True)

    @staticmethod
    def _experiment(found: dict[str, Any]) -> dict[str, Any]:
        tags = [{"key": key, "value": value} for key, value in (found.get("tags") or {}).items()]
        return {"experiment": {**found, "tags": tags}}

    def _offline_CreateExperiment(self, body: dict[str, Any]) -> dict[str, Any]:
        tags = {tag["key"]: tag["value"] for tag in body.get("tags", [])}
        made, operation = self._book.create_experiment(body["name"], tags, body.get("artifact_location"))
        if operation is not None:
            self._pipeline.add(operation)
            self._pipeline.flush()
        return {"experiment_id": made["experiment_id"]}

    def _offline_GetExperiment(self, body: dict[str, Any]) -> dict[str, Any]:
        found = self._book.experiment(body["experiment_id"])
        if found is None:
            raise MlflowException(
                f"No Experiment with id={body['experiment_id']} in {self._book.folder}",
                error_code=RESOURCE_DOES_NOT_EXIST,
            )
        return self._experiment(found)

    def _offline_GetExperimentByName(self, body: dict[str, Any]) -> dict[str, Any]:
        for found in self._book.experiments():
            if found["name"] == body["experiment_name"]:
                return self._experiment(found)
        raise MlflowException(
            f"No Experiment named '{body['experiment_name']}' in {self._book.folder}",
            error_code=RESOURCE_DOES_NOT_EXIST,
        )

    def _offline_SearchExperiments(self, body: dict[str, Any]) -> dict[str, Any]:
        if body.get("filter"):
            raise MlflowException("offline, experiments cannot be filtered", error_code=BAD_REQUEST)
        return {"experiments": [self._experiment(found)["experiment"] for found in self._book.experiments()]}

    def _offline_SetExperimentTag(self, body: dict[str, Any]) -> None:
        self._record("experiments/set-experiment-tag", body)

    def _run(self, run: dict[str, Any]) -> dict[str, Any]:
        history = self._book.history(run["info"]["run_id"])
        latest = [max(points, key=lambda p: (p["step"], p["timestamp"], p["value"])) for points in history.values()]
        data = {
            "params": [{"key": key, "value": value} for key, value in run["params"].items()],
            "tags": [{"key": key, "value": value} for key, value in run["tags"].items()],
            "metrics": latest,
        }
        info = {key: value for key, value in run["info"].items() if value is not None}
        return {"run": {"info": info, "data": data}}

    def _offline_CreateRun(self, body: dict[str, Any]) -> dict[str, Any]:
        self._offline_GetExperiment(body)
        tags = {tag["key"]: tag["value"] for tag in body.get("tags", [])}
        run, operation = self._book.create_run(
            body["experiment_id"], body.get("run_name"), tags, body.get("start_time"), body.get("user_id")
        )
        self._pipeline.add(operation)
        self._pipeline.flush()
        return self._run(run)

    def _offline_GetRun(self, body: dict[str, Any]) -> dict[str, Any]:
        return self._run(self._known(body["run_id"]))

    def _offline_UpdateRun(self, body: dict[str, Any]) -> dict[str, Any]:
        fields = {key: body[key] for key in ("status", "end_time", "run_name") if body.get(key) is not None}
        self._known(body["run_id"])
        tags = {"mlflow.runName": fields["run_name"]} if "run_name" in fields else None
        run = self._book.change_run(body["run_id"], info=fields, tags=tags)
        assert run is not None
        self._record("runs/update", {"run_id": body["run_id"], **fields})
        return {"run_info": self._run(run)["run"]["info"]}

    def _offline_DeleteTag(self, body: dict[str, Any]) -> None:
        self._book.change_run(body["run_id"], without_tag=body["key"])
        self._record("runs/delete-tag", body)

    def _offline_DeleteRun(self, body: dict[str, Any]) -> None:
        self._book.change_run(body["run_id"], info={"lifecycle_stage": "deleted"})
        self._record("runs/delete", body)

    def _offline_RestoreRun(self, body: dict[str, Any]) -> None:
        self._book.change_run(body["run_id"], info={"lifecycle_stage": "active"})
        self._record("runs/restore", body)

    def _offline_LogInputs(self, body: dict[str, Any]) -> None:
        self._record("runs/log-inputs", body)

    def _offline_GetMetricHistory(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"metrics": self._book.history(body["run_id"]).get(body["metric_key"], [])}

    def get_experiment_by_name(self, experiment_name: str) -> Experiment | None:
        """The experiment of that name in the folder."""
        found: Experiment | None = super().get_experiment_by_name(experiment_name)
        return found

    def update_run_info(self, run_id: str, run_status: Any, end_time: int | None, run_name: str | None) -> RunInfo:
        """Sets status and name, in the folder."""
        if _terminal(run_status) and end_time is None:
            end_time = now_ms()
        # RestStore's own: it ends in _offline_UpdateRun, which waits until all is on disk.
        info = RestStore.update_run_info(self, run_id, run_status, end_time, run_name)
        if _terminal(run_status):
            _pin.close(run_id)
        return info


class OfflineRegistry(RegistryRestStore):  # type: ignore[misc]
    """No registry: models are registered with a server."""

    def __init__(self, store_uri: str) -> None:
        super().__init__(partial(self._refuse, store_uri))

    @staticmethod
    def _refuse(store_uri: str) -> NoReturn:
        raise MlflowException(
            f"{Target.parse(store_uri).uri} is offline, and models are registered with a server: do it after "
            "`runlake-sync`",
            error_code=BAD_REQUEST,
        )


def make_tracking_store(store_uri: str) -> RunlakeStore:
    """The store for an address, online or offline."""
    try:
        target = Target.parse(store_uri)
    except RunlakeError as error:
        raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from error
    return OfflineStore(store_uri) if target.offline else RunlakeStore(store_uri)


def make_registry_store(store_uri: str) -> RegistryRestStore:
    """The registry for an address."""
    target = Target.parse(store_uri)
    if target.offline:
        return OfflineRegistry(store_uri)
    return RegistryRestStore(partial(host_creds, target))
