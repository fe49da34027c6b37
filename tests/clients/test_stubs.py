"""What belongs to GenAI and is not here: what clients ask for at start is empty, the rest says so with 501."""

import pytest

V3 = "/api/3.0/mlflow"

LISTS = [
    ("POST", f"{V3}/traces/search", {"locations": [], "max_results": 10}),
    ("GET", f"{V3}/scorers/list?experiment_id=0", None),
    ("GET", f"{V3}/gateway/endpoints/list", None),
    ("GET", f"{V3}/gateway/secrets/list", None),
    ("GET", f"{V3}/gateway/model-definitions/list", None),
    ("POST", f"{V3}/datasets/search", {"experiment_ids": ["0"]}),
]


@pytest.mark.runlake
@pytest.mark.parametrize(("method", "path", "payload"), LISTS, ids=[row[1] for row in LISTS])
@pytest.mark.parametrize("prefix", ["/api", "/ajax-api"])
def test_lists_are_empty(api, method, path, payload, prefix):
    answer = api.send(method, path.replace("/api", prefix, 1), payload)
    assert answer.status == 200, answer.text
    assert all(not value for value in answer.json.values())


ABSENT = [
    ("POST", f"{V3}/traces", {"trace": {"trace_info": {"trace_id": "tr-1"}}}),
    ("POST", f"{V3}/datasets/create", {"name": "x"}),
    ("POST", f"{V3}/scorers/register", {"experiment_id": "0", "name": "x", "serialized_scorer": "{}"}),
    ("POST", f"{V3}/gateway/endpoints/create", {"name": "x"}),
    ("POST", f"{V3}/gateway/secrets/create", {"secret_name": "x"}),
]


@pytest.mark.runlake
@pytest.mark.parametrize(("method", "path", "payload"), ABSENT, ids=[row[1] for row in ABSENT])
def test_the_rest_says_that_it_is_not_there(api, method, path, payload):
    answer = api.send(method, path, payload)
    assert (answer.status, answer.code) == (501, "NOT_IMPLEMENTED"), answer.text
    assert answer.message


@pytest.mark.runlake
def test_a_client_that_traces_does_not_break_logging(tracking, client, name):
    """A traced function inside a run: the trace is lost, the run is not."""
    tracking.set_experiment(name)

    @tracking.trace
    def double(x):
        return 2 * x

    with tracking.start_run() as run:
        tracking.log_metric("y", double(2))
    tracking.flush_trace_async_logging()
    assert client.get_run(run.info.run_id).data.metrics == {"y": 4.0}
    assert client.search_traces(experiment_ids=["0"]) == []
