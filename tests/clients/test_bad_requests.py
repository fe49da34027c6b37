"""A table of requests that are the caller's mistake, each with its status, code and what matters of the message.

None may be answered by 500: clients try such an answer again and again, and lose its message.
"""

import json

import pytest

from support.api import MLFLOW, metric, pair

BAD = "INVALID_PARAMETER_VALUE"
NONE = "RESOURCE_DOES_NOT_EXIST"
NOWHERE = "0" * 32
NAMES = (
    "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), "
    "colon(:) and slashes (/)."
)
PATHS = "must not resolve to other names when treated as such. This name would resolve to"


def missing(field):
    return f"Missing value for required parameter '{field}'"


def invalid(value, field):
    return f"Invalid value {json.dumps(value)} for parameter '{field}' supplied"


M = {"key": "m", "value": 1.0, "timestamp": 1}

# (path, fields, message); "RUN" in a field stands for a run of the test, "EXP" for its experiment.
TABLE = [
    # experiments
    ("experiments/create", {}, missing("name")),
    ("experiments/create", {"name": ""}, missing("name")),
    ("experiments/create", {"name": None}, missing("name")),
    ("experiments/create", {"name": 5}, invalid(5, "name")),
    ("experiments/create", {"name": "n" * 501}, "'name' exceeds the maximum length of 500 characters"),
    ("experiments/create", {"name": "x", "tags": "t"}, invalid("t", "tags")),
    ("experiments/delete", {}, missing("experiment_id")),
    ("experiments/restore", {}, missing("experiment_id")),
    ("experiments/update", {"new_name": "x"}, missing("experiment_id")),
    ("experiments/set-experiment-tag", {"key": "k", "value": "v"}, missing("experiment_id")),
    ("experiments/set-experiment-tag", {"experiment_id": "EXP", "value": "v"}, missing("key")),
    (
        "experiments/set-experiment-tag",
        {"experiment_id": "EXP", "key": "k" * 251, "value": "v"},
        "exceeds the maximum length of 250",
    ),
    (
        "experiments/set-experiment-tag",
        {"experiment_id": "EXP", "key": "k", "value": "v" * 20001},
        "exceeds the maximum length of 20000",
    ),
    # runs
    ("runs/create", {"experiment_id": 5}, invalid(5, "experiment_id")),
    ("runs/create", {"experiment_id": "EXP", "start_time": "soon"}, invalid("soon", "start_time")),
    (
        "runs/create",
        {"experiment_id": "EXP", "run_name": "a", "tags": [pair("mlflow.runName", "b")]},
        "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values",
    ),
    ("runs/update", {"status": "FINISHED"}, missing("run_id")),
    ("runs/update", {"run_id": "RUN", "end_time": "late"}, invalid("late", "end_time")),
    ("runs/delete", {}, missing("run_id")),
    ("runs/restore", {}, missing("run_id")),
    ("runs/delete-tag", {"run_id": "RUN"}, missing("key")),
    # metrics
    ("runs/log-metric", M, missing("run_id")),
    ("runs/log-metric", {"run_id": "RUN", "value": 1.0, "timestamp": 1}, missing("key")),
    ("runs/log-metric", {"run_id": "RUN", "key": "m", "timestamp": 1}, missing("value")),
    ("runs/log-metric", {"run_id": "RUN", "key": "m", "value": 1.0}, missing("timestamp")),
    ("runs/log-metric", {"run_id": "RUN", **M, "value": "much"}, invalid("much", "value")),
    ("runs/log-metric", {"run_id": "RUN", **M, "timestamp": "now"}, invalid("now", "timestamp")),
    ("runs/log-metric", {"run_id": "RUN", **M, "step": "x"}, invalid("x", "step")),
    (
        "runs/log-metric",
        {"run_id": "RUN", **M, "timestamp": -1},
        "Timestamp must be a nonnegative long (64-bit integer)",
    ),
    ("runs/log-metric", {"run_id": "RUN", **M, "key": "a!b"}, f"{invalid('a!b', 'name')}: {NAMES}"),
    ("runs/log-metric", {"run_id": "RUN", **M, "key": "../a"}, PATHS),
    ("runs/log-metric", {"run_id": "RUN", **M, "key": "k" * 251}, "250"),
    # params
    ("runs/log-parameter", {"key": "p", "value": "1"}, missing("run_id")),
    ("runs/log-parameter", {"run_id": "RUN", "value": "1"}, missing("key")),
    ("runs/log-parameter", {"run_id": "RUN", "key": "p", "value": 1}, invalid(1, "value")),
    ("runs/log-parameter", {"run_id": "RUN", "key": "a!b", "value": "1"}, f"{invalid('a!b', 'key')}: {NAMES}"),
    ("runs/log-parameter", {"run_id": "RUN", "key": "k" * 251, "value": "1"}, "250"),
    *[
        ("runs/log-parameter", {"run_id": "RUN", "key": key, "value": "1"}, PATHS)
        for key in ("../a", "/a", "a//b", "a/./b", ".", "..", "a/", "a/../b")
    ],
    # tags
    ("runs/set-tag", {"key": "t", "value": "1"}, missing("run_id")),
    ("runs/set-tag", {"run_id": "RUN", "value": "1"}, missing("key")),
    ("runs/set-tag", {"run_id": "RUN", "key": "", "value": "1"}, missing("key")),
    ("runs/set-tag", {"run_id": "RUN", "key": ["t"], "value": "1"}, invalid(["t"], "key")),
    ("runs/set-tag", {"run_id": "RUN", "key": "t#", "value": "1"}, f"{invalid('t#', 'key')}: {NAMES}"),
    ("runs/set-tag", {"run_id": "RUN", "key": "k" * 251, "value": "1"}, "250"),
    # batches
    ("runs/log-batch", {}, missing("run_id")),
    ("runs/log-batch", {"run_id": "bad id!"}, invalid("bad id!", "run_id")),
    ("runs/log-batch", {"run_id": "RUN", "metrics": "m"}, invalid("m", "metrics")),
    ("runs/log-batch", {"run_id": "RUN", "metrics": [{"value": 1.0, "timestamp": 1}]}, missing("metrics[0].key")),
    (
        "runs/log-batch",
        {"run_id": "RUN", "metrics": [metric("m", 1.0), {"key": "m", "timestamp": 1}]},
        missing("metrics[1].value"),
    ),
    ("runs/log-batch", {"run_id": "RUN", "metrics": [{"key": "m", "value": 1.0}]}, missing("metrics[0].timestamp")),
    ("runs/log-batch", {"run_id": "RUN", "metrics": [metric("a!b", 1.0)]}, invalid("a!b", "metrics[0].name")),
    ("runs/log-batch", {"run_id": "RUN", "params": [pair("p", "1"), {"value": "1"}]}, missing("params[1].key")),
    (
        "runs/log-batch",
        {"run_id": "RUN", "params": [pair("p", "1"), pair("a!b", "1")]},
        invalid("a!b", "params[1].key"),
    ),
    ("runs/log-batch", {"run_id": "RUN", "tags": [pair("a//b", "1")]}, invalid("a//b", "tags[0].key")),
    (
        "runs/log-batch",
        {"run_id": "RUN", "params": [pair("b1", "1"), pair("b1", "1")]},
        "Duplicate parameter keys have been submitted: ['b1']. "
        "Please ensure the request contains only one param value per param key.",
    ),
    (
        "runs/log-batch",
        {"run_id": "RUN", "params": [pair(f"p{i}", "1") for i in range(101)]},
        "A batch logging request can contain at most 100 params. Got 101 params. "
        "Please split up params across multiple requests and try again.",
    ),
    (
        "runs/log-batch",
        {"run_id": "RUN", "tags": [pair(f"t{i}", "1") for i in range(101)]},
        "A batch logging request can contain at most 100 tags. Got 101 tags.",
    ),
    (
        "runs/log-batch",
        {"run_id": "RUN", "metrics": [metric("m", 1.0, step=i) for i in range(1001)]},
        "A batch logging request can contain at most 1000 metrics. Got 1001 metrics.",
    ),
    # search
    ("runs/search", {"experiment_ids": "1"}, "Invalid value"),
    ("runs/search", {"experiment_ids": ["EXP"], "filter": 5}, invalid(5, "filter")),
    ("runs/search", {"experiment_ids": ["EXP"], "max_results": "many"}, invalid("many", "max_results")),
]


def fill(fields, run, experiment):
    known = {"RUN": run, "EXP": experiment}
    return json.loads(json.dumps(fields), object_hook=lambda d: {k: filled(v, known) for k, v in d.items()})


def filled(value, known):
    if isinstance(value, str):
        return known.get(value, value)
    if isinstance(value, list):
        return [filled(entry, known) for entry in value]
    return value


@pytest.mark.parametrize(
    ("path", "fields", "message"), TABLE, ids=[f"{i}-{row[0]}-{row[2][:40]}" for i, row in enumerate(TABLE)]
)
def test_400(api, run, experiment, path, fields, message):
    before = api.run(run)
    answer = api.send("POST", path, fill(fields, run, experiment))
    assert (answer.status, answer.code) == (400, BAD), answer.text
    assert message in answer.message
    assert api.run(run) == before


# What the reference takes and stores as 0, by accident.
TAKEN_ELSEWHERE = [
    ("runs/log-metric", {"run_id": "RUN", **M, "step": 1.5}, "step"),
    ("runs/log-batch", {"run_id": "RUN", "metrics": [metric("m", "much")]}, "metrics[0].value"),
    ("runs/log-batch", {"run_id": "RUN", "metrics": [metric("m", 1.0, timestamp="now")]}, "metrics[0].timestamp"),
]


@pytest.mark.runlake
@pytest.mark.parametrize(("path", "fields", "message"), TAKEN_ELSEWHERE, ids=[row[2] for row in TAKEN_ELSEWHERE])
def test_400_here(api, run, experiment, path, fields, message):
    test_400(api, run, experiment, path, fields, message)


UNKNOWN = [
    ("GET", "experiments/get", {"experiment_id": "987654321"}, "No Experiment with id=987654321 exists"),
    (
        "GET",
        "experiments/get-by-name",
        {"experiment_name": "no such name"},
        "Could not find experiment with name 'no such name'",
    ),
    ("POST", "experiments/delete", {"experiment_id": "987654321"}, ""),
    ("POST", "experiments/restore", {"experiment_id": "987654321"}, ""),
    ("POST", "experiments/update", {"experiment_id": "987654321", "new_name": "x"}, ""),
    ("POST", "experiments/set-experiment-tag", {"experiment_id": "987654321", "key": "k", "value": "v"}, ""),
    ("POST", "runs/create", {"experiment_id": "987654321", "start_time": 1}, ""),
    ("GET", "runs/get", {"run_id": NOWHERE}, f"Run with id={NOWHERE} not found"),
    ("POST", "runs/update", {"run_id": NOWHERE, "status": "FINISHED"}, f"Run with id={NOWHERE} not found"),
    ("POST", "runs/delete", {"run_id": NOWHERE}, f"Run with id={NOWHERE} not found"),
    ("POST", "runs/restore", {"run_id": NOWHERE}, f"Run with id={NOWHERE} not found"),
    ("POST", "runs/log-metric", {"run_id": NOWHERE, **M}, f"Run with id={NOWHERE} not found"),
    ("POST", "runs/log-parameter", {"run_id": NOWHERE, "key": "p", "value": "1"}, f"Run with id={NOWHERE} not found"),
    ("POST", "runs/set-tag", {"run_id": NOWHERE, "key": "t", "value": "1"}, f"Run with id={NOWHERE} not found"),
    ("POST", "runs/delete-tag", {"run_id": NOWHERE, "key": "t"}, f"Run with id={NOWHERE} not found"),
    ("POST", "runs/log-batch", {"run_id": NOWHERE, "metrics": [M]}, f"Run with id={NOWHERE} not found"),
    ("GET", "logged-models/m-nowhere", {}, "Logged model with ID 'm-nowhere' not found."),
]


@pytest.mark.parametrize(
    ("method", "path", "fields", "message"), UNKNOWN, ids=[f"{row[0]} {row[1]}" for row in UNKNOWN]
)
def test_404(api, method, path, fields, message):
    answer = api.send(method, path, fields if method == "POST" else None, fields if method == "GET" else None)
    assert (answer.status, answer.code) == (404, NONE), answer.text
    assert message in answer.message


@pytest.mark.parametrize("text", ["abc", "1.5", "-1x", "0x1"])
def test_experiment_ids_are_numbers(api, text):
    answer = api.send("GET", "experiments/get", query={"experiment_id": text})
    assert (answer.status, answer.code) == (400, BAD)
    assert f"Invalid experiment ID '{text}'. Experiment ID must be a valid integer." in answer.message


GETS = [
    ("runs/get", {}, missing("run_id")),
    ("experiments/get", {}, missing("experiment_id")),
    ("experiments/get-by-name", {}, missing("experiment_name")),
    ("metrics/get-history", {"metric_key": "m"}, missing("run_id")),
    ("metrics/get-history", {"run_id": "r"}, missing("metric_key")),
]


@pytest.mark.parametrize(("path", "query", "message"), GETS, ids=[f"{row[0]} {row[1]}" for row in GETS])
def test_400_get(api, path, query, message):
    answer = api.send("GET", path, query=query)
    assert (answer.status, answer.code) == (400, BAD), answer.text
    assert message in answer.message


# Bodies that no client sends: whatever is answered, it is no 500 and nothing is stored.
NONSENSE = [
    b"",
    b"null",
    b"[]",
    b"[1, 2]",
    b'"text"',
    b"17",
    b"true",
    b"{",
    b'{"run_id": ',
    b"\xff\xfe\x00",
    b"{}" * 1000,
    b"[" * 5000,
    b'{"a":' * 5000,
    b'{"run_id": {"a": 1}, "key": 1, "value": [], "timestamp": {}}',
    b'{"run_id": null, "metrics": null, "params": null, "tags": null}',
    b'{"run_id": "x", "metrics": [null], "params": [5], "tags": ["x"]}',
    b'{"run_id": "x", "metrics": [{"key": {}, "value": {}, "timestamp": [], "step": {}}]}',
    b'{"run_id": "x", "key": "k", "value": 1e999, "timestamp": 1e999, "step": 1e999}',
    b'{"run_id": "x", "key": "k", "value": 1, "timestamp": 99999999999999999999999, "step": -99999999999999999999}',
    b'{"run_id": "x", "key": "\\ud800", "value": "\\u0000", "timestamp": 1}',
    b'{"experiment_ids": [1, null, {}], "filter": {}, "order_by": 5, "max_results": {}}',
]
TARGETS = [
    "runs/create",
    "runs/log-metric",
    "runs/log-batch",
    "runs/set-tag",
    "runs/search",
    "experiments/search",
    "runs/update",
]


@pytest.mark.runlake
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("body", NONSENSE, ids=[repr(body[:40]) for body in NONSENSE])
def test_nonsense(api, target, body):
    answer = api.request("POST", f"{MLFLOW}/{target}", body, {"Content-Type": "application/json"})
    if target == "runs/search" and answer.status == 200:
        # What cannot be read counts as an empty request, and a search in no experiment finds nothing, as in MLflow.
        assert answer.body == b"{}"
        return
    assert answer.status in (400, 404, 413), (answer.status, answer.text[:300])
    assert answer.code is not None
