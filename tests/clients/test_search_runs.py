"""Run search: filters and orders over made runs, compared with a model in Python; pages; what is refused."""

import pytest

from support.api import metric, pair
from support.model import in_order, like, made_runs, number

RUNS = 60


@pytest.fixture(scope="module")
def made(api):
    """(experiment id, its runs): made once, only read afterwards."""
    import uuid

    experiment_id = api.create_experiment(f"search {uuid.uuid4().hex}")
    runs = made_runs(RUNS)
    for run in runs:
        run.log(api, experiment_id)
    return experiment_id, runs


def param(key):
    return lambda run: run.params.get(key)


def tag(key):
    return lambda run: run.tags.get(key)


def value(key):
    return lambda run: run.metrics.get(key)


def both(*tests):
    return lambda run: all(test(run) for test in tests)


def equals(get, text):
    return lambda run: get(run) == text


def differs(get, text):
    return lambda run: get(run) is not None and get(run) != text


loss, acc = value("loss"), value("val/acc")
lr, opt, team, dotted = param("lr"), param("opt name"), tag("team"), tag("a.b")
EVERY = lambda run: True  # noqa: E731
START = 1_700_000_000_000

FILTERS = [
    ("", EVERY),
    # metrics
    ("metrics.loss = 0.5", number(loss, "=", 0.5)),
    ("metrics.loss != 0.5", number(loss, "!=", 0.5)),
    ("metrics.loss = 0", number(loss, "=", 0.0)),
    ("metrics.loss < 0.5", number(loss, "<", 0.5)),
    ("metrics.loss <= 0.5", number(loss, "<=", 0.5)),
    ("metrics.loss > 0.25", number(loss, ">", 0.25)),
    ("metrics.loss >= 0.25", number(loss, ">=", 0.25)),
    ("metrics.loss > -1", number(loss, ">", -1)),
    ("metrics.loss > 1e300", number(loss, ">", 1e300)),
    ("metric.loss = .25", number(loss, "=", 0.25)),
    ("metrics.`val/acc` > 0.4", number(acc, ">", 0.4)),
    ('metrics."val/acc" > 0.4', number(acc, ">", 0.4)),
    ("metrics.nowhere > 0", lambda run: False),
    # params
    ("params.lr = '0.1'", equals(lr, "0.1")),
    ('params.lr = "0.1"', equals(lr, "0.1")),
    ("parameters.lr = '0.1'", equals(lr, "0.1")),
    ("param.lr != '0.1'", differs(lr, "0.1")),
    ("params.lr = ''", equals(lr, "")),
    ("params.lr LIKE '0%'", lambda run: like(lr(run), "0%")),
    ("params.lr like '0._'", lambda run: like(lr(run), "0._")),
    ("params.`opt name` = 'Adam'", equals(opt, "Adam")),
    ('params."opt name" = "it\'s"', equals(opt, "it's")),
    ("params.`opt name` LIKE 'adam'", lambda run: like(opt(run), "adam")),
    ("params.`opt name` ILIKE 'adam'", lambda run: like(opt(run), "adam", ignore_case=True)),
    ("params.`opt name` ILIKE '%DA%'", lambda run: like(opt(run), "%DA%", ignore_case=True)),
    ("params.lr IS NULL", lambda run: lr(run) is None),
    ("params.lr IS NOT NULL", lambda run: lr(run) is not None),
    ("params.lr is null", lambda run: lr(run) is None),
    # tags
    ("tags.team = 'vision'", equals(team, "vision")),
    ("tag.team != 'vision'", differs(team, "vision")),
    ("tags.team LIKE 'v%'", lambda run: like(team(run), "v%")),
    ("tags.team ILIKE 'V%'", lambda run: like(team(run), "V%", ignore_case=True)),
    ("tags.team = 'naïve'", equals(team, "naïve")),
    ("tags.a.b = 'x'", equals(dotted, "x")),
    ("tags.\"a.b\" = 'x'", equals(dotted, "x")),
    ("tags.`a.b` IS NULL", lambda run: dotted(run) is None),
    ("tags.mlflow.runName = 'alpha'", lambda run: run.name == "alpha"),
    # attributes
    ("attributes.status = 'FINISHED'", lambda run: run.status == "FINISHED"),
    ("attribute.status != 'FINISHED'", lambda run: run.status != "FINISHED"),
    ("status = 'FAILED'", lambda run: run.status == "FAILED"),
    ("status LIKE 'F%'", lambda run: like(run.status, "F%")),
    ("run_name = 'alpha'", lambda run: run.name == "alpha"),
    ("attributes.run_name ILIKE 'alpha'", lambda run: run.name.lower() == "alpha"),
    ("attributes.`run name` = 'beta'", lambda run: run.name == "beta"),
    ("attributes.`Run Name` = 'beta'", lambda run: run.name == "beta"),
    ("run_name LIKE 'run _'", lambda run: like(run.name, "run _")),
    ("run_name LIKE '50%'", lambda run: like(run.name, "50%")),
    ("user_id = 'bob'", lambda run: run.user_id == "bob"),
    (f"start_time > {START + 10_000}", lambda run: run.start_time > START + 10_000),
    (f"attributes.start_time <= {START + 10_000}", lambda run: run.start_time <= START + 10_000),
    (f"created >= {START + 9_000}", lambda run: run.start_time >= START + 9_000),
    (f"start_time = {START + 3_000}", lambda run: run.start_time == START + 3_000),
    (f"end_time > {START + 20_000}", number(lambda run: run.end_time, ">", START + 20_000)),
    (f"end_time != {START + 20_000}", number(lambda run: run.end_time, "!=", START + 20_000)),
    # together
    (
        "metrics.loss < 1 and params.lr = '0.1' AND tags.team != 'nlp'",
        both(number(loss, "<", 1), equals(lr, "0.1"), differs(team, "nlp")),
    ),
    ("metrics.loss > -0.5 AND metrics.loss < 0.75", both(number(loss, ">", -0.5), number(loss, "<", 0.75))),
    ("params.lr IS NOT NULL AND params.`opt name` IS NULL", lambda run: lr(run) is not None and opt(run) is None),
    (
        "tags.team ILIKE '%vis%' AND status = 'RUNNING'",
        lambda run: like(team(run), "%vis%", True) and run.status == "RUNNING",
    ),
]


def ids(runs):
    return [run["info"]["run_id"] for run in runs]


@pytest.mark.parametrize(("text", "test"), FILTERS, ids=[text or "(none)" for text, _ in FILTERS])
def test_filter(api, made, text, test):
    experiment_id, runs = made
    found = ids(api.search_runs([experiment_id], filter=text))
    assert found == in_order([run for run in runs if not run.deleted and test(run)])


# What MLflow refuses and runlake understands.
WIDER = [
    ("status = 'FAILED' OR status = 'KILLED'", lambda run: run.status in ("FAILED", "KILLED")),
    (
        "(params.lr = '0.1' OR params.lr = '0.01') AND metrics.loss < 1",
        both(lambda run: lr(run) in ("0.1", "0.01"), number(loss, "<", 1)),
    ),
    ("NOT (status = 'FAILED')", lambda run: run.status != "FAILED"),
    ("metrics.loss BETWEEN 0.25 AND 0.5", both(number(loss, ">=", 0.25), number(loss, "<=", 0.5))),
    (
        "status = 'FAILED' OR status = 'KILLED' AND user_id = 'bob'",
        lambda run: run.status == "FAILED" or (run.status == "KILLED" and run.user_id == "bob"),
    ),
]


@pytest.mark.runlake
@pytest.mark.parametrize(("text", "test"), WIDER, ids=[text for text, _ in WIDER])
def test_wider_grammar(api, made, text, test):
    experiment_id, runs = made
    found = ids(api.search_runs([experiment_id], filter=text))
    assert found == in_order([run for run in runs if not run.deleted and test(run)])


ORDERS = [
    ([], []),
    (["metrics.loss"], [(loss, False)]),
    (["metrics.loss ASC"], [(loss, False)]),
    (["metrics.loss DESC"], [(loss, True)]),
    (["metric.`val/acc` desc", "params.lr"], [(acc, True), (lr, False)]),
    (["params.lr DESC", "metrics.loss ASC"], [(lr, True), (loss, False)]),
    (["tags.team", "tags.`a.b` DESC"], [(team, False), (dotted, True)]),
    (["attributes.start_time ASC"], [(lambda run: run.start_time, False)]),
    (["start_time DESC"], [(lambda run: run.start_time, True)]),
    (["attributes.end_time"], [(lambda run: run.end_time, False)]),
    (["attributes.end_time DESC"], [(lambda run: run.end_time, True)]),
    (["run_name", "user_id DESC"], [(lambda run: run.name, False), (lambda run: run.user_id, True)]),
    (["status DESC"], [(lambda run: run.status, True)]),
    (["run_id"], [(lambda run: run.run_id, False)]),
    (["attributes.run_id DESC"], [(lambda run: run.run_id, True)]),
    (["metrics.nowhere", "params.nowhere DESC"], []),
]


@pytest.mark.parametrize(("order", "keys"), ORDERS, ids=[", ".join(order) or "(none)" for order, _ in ORDERS])
def test_order(api, made, order, keys):
    experiment_id, runs = made
    found = ids(api.search_runs([experiment_id], order_by=order))
    assert found == in_order([run for run in runs if not run.deleted], *keys)


def took(run):
    return None if run.end_time is None else run.end_time - run.start_time


# MLflow knows neither attribute.
@pytest.mark.runlake
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("page", [3, 1000])
def test_order_and_filter_by_duration(api, made, descending, page):
    experiment_id, runs = made
    order = [f"attributes.duration {'DESC' if descending else 'ASC'}"]
    found = ids(api.search_runs([experiment_id], order_by=order, max_results=page))
    assert found == in_order([run for run in runs if not run.deleted], (took, descending))
    lasting = sorted({took(run) for run in runs if took(run) is not None})
    middle = lasting[len(lasting) // 2]
    found = ids(api.search_runs([experiment_id], filter=f"attributes.duration >= {middle}"))
    assert found == in_order([run for run in runs if not run.deleted and took(run) is not None and took(run) >= middle])


@pytest.mark.runlake
def test_order_by_dataset(api, new_run, experiment):
    used = {}
    for name in ("wine", None, "birds", "iris"):
        run_id = new_run()
        used[name] = run_id
        if name:
            dataset = {"name": name, "digest": "d1", "source_type": "local", "source": "{}"}
            api.post("runs/log-inputs", run_id=run_id, datasets=[{"dataset": dataset}])
    found = ids(api.search_runs([experiment], order_by=["attributes.dataset"]))
    assert found == [used["birds"], used["iris"], used["wine"], used[None]]
    found = ids(api.search_runs([experiment], order_by=["attributes.dataset DESC"], max_results=1))
    assert found == [used["wine"], used["iris"], used["birds"], used[None]]


@pytest.mark.parametrize("page", [1, 7, 25, 1000])
@pytest.mark.parametrize("order", [[], ["metrics.loss DESC", "tags.team"]], ids=["newest first", "by loss"])
def test_pages_add_up(api, made, page, order):
    experiment_id, runs = made
    keys = [(loss, True), (team, False)] if order else []
    found = ids(api.search_runs([experiment_id], order_by=order, max_results=page))
    assert found == in_order([run for run in runs if not run.deleted], *keys)


@pytest.mark.parametrize(
    ("view", "wanted"),
    [
        ("ACTIVE_ONLY", lambda run: not run.deleted),
        ("DELETED_ONLY", lambda run: run.deleted),
        ("ALL", EVERY),
        (1, lambda run: not run.deleted),
        (2, lambda run: run.deleted),
        (3, EVERY),
    ],
)
def test_view_type(api, made, view, wanted):
    experiment_id, runs = made
    found = ids(api.search_runs([experiment_id], run_view_type=view))
    assert found == in_order([run for run in runs if wanted(run)])


def test_run_ids_in_a_list(api, made):
    experiment_id, runs = made
    active = [run for run in runs if not run.deleted]
    some, rest = active[:3], active[3:]
    listed = ", ".join(f"'{run.run_id}'" for run in some)
    assert ids(api.search_runs([experiment_id], filter=f"run_id IN ({listed})")) == in_order(some)
    assert ids(api.search_runs([experiment_id], filter=f"attributes.run_id NOT IN ({listed})")) == in_order(rest)
    assert ids(api.search_runs([experiment_id], filter=f"run_id = '{some[0].run_id}'")) == [some[0].run_id]


def test_found_runs_are_whole(api, made):
    experiment_id, runs = made
    for found in api.search_runs([experiment_id], max_results=13):
        assert found == api.run(found["info"]["run_id"])


def test_several_experiments_and_none(api, made, new_run, experiment):
    experiment_id, runs = made
    other = new_run()
    found = ids(api.search_runs([experiment_id, experiment]))
    assert sorted(found) == sorted([run.run_id for run in runs if not run.deleted] + [other])
    assert api.post("runs/search", experiment_ids=[]) == {}
    assert api.post("runs/search", {}) == {}
    assert api.post("runs/search", experiment_ids=["987654321"]) == {}


def test_a_full_last_page_has_no_token(api, new_run, experiment):
    for _ in range(4):
        new_run()
    first = api.post("runs/search", experiment_ids=[experiment], max_results=2)
    assert len(first["runs"]) == 2
    second = api.post("runs/search", experiment_ids=[experiment], max_results=2, page_token=first["next_page_token"])
    assert len(second["runs"]) == 2
    assert "next_page_token" not in second


def test_search_sees_each_write_at_once(api, run, experiment):
    for step in range(20):
        api.log_batch(run, metrics=[metric("m", step / 2, step, step)], tags=[pair("t", str(step))])
        text = f"metrics.m = {step / 2} AND tags.t = '{step}'"
        assert ids(api.search_runs([experiment], filter=text)) == [run]
    api.post("runs/delete-tag", run_id=run, key="t")
    assert ids(api.search_runs([experiment], filter="tags.t IS NULL")) == [run]


class TestPagesWhileRowsCome:
    """Nobody asks for a snapshot over several requests; but what was there all the time must be seen."""

    @pytest.mark.runlake
    def test_new_runs_at_the_front_repeat_and_drop_nothing(self, api, new_run, experiment):
        """The page token is a place in the order, not a count (MLflow's repeats rows here)."""
        old = [new_run() for _ in range(20)]
        seen, token = [], None
        while True:
            page = api.post(
                "runs/search",
                {"experiment_ids": [experiment], "max_results": 6, **({"page_token": token} if token else {})},
            )
            seen += ids(page["runs"])
            token = page.get("next_page_token")
            if token is None:
                break
            new_run()
        assert seen == old[::-1]

    @pytest.mark.runlake
    def test_runs_deleted_meanwhile_drop_nothing_else(self, api, new_run, experiment):
        old = [new_run() for _ in range(12)]
        page = api.post("runs/search", experiment_ids=[experiment], max_results=4)
        seen = ids(page["runs"])
        for run_id in seen:
            api.post("runs/delete", run_id=run_id)
        while token := page.get("next_page_token"):
            page = api.post("runs/search", experiment_ids=[experiment], max_results=4, page_token=token)
            seen += ids(page.get("runs", []))
        assert seen == old[::-1]

    def test_rows_at_the_end_are_seen_once(self, api, experiment):
        for start in range(10):
            api.create_run(experiment, start_time=100 - start)
        page = api.post("runs/search", experiment_ids=[experiment], max_results=4)
        seen = ids(page["runs"])
        late = api.create_run(experiment, start_time=1)
        while token := page.get("next_page_token"):
            page = api.post("runs/search", experiment_ids=[experiment], max_results=4, page_token=token)
            seen += ids(page["runs"])
        assert len(seen) == len(set(seen)) == 11
        assert seen[-1] == late


REFUSED = [
    ({"filter": "metrics.loss > '0.5'"}, "Expected numeric value type for metric"),
    ({"filter": "params.lr = 0.1"}, "Expected a quoted string value for"),
    ({"filter": "params.lr > '0.1'"}, "Invalid comparator '>' not one of"),
    ({"filter": "metrics.loss LIKE 'x'"}, ""),
    ({"filter": "attributes.nope = 'x'"}, "Invalid attribute key 'nope' specified. Valid keys are"),
    ({"filter": "nope = 'x'"}, "Invalid attribute key 'nope' specified. Valid keys are"),
    ({"filter": "foo.bar = 'x'"}, "Invalid entity type 'foo'. Valid values are"),
    ({"filter": "params.lr ="}, ""),
    ({"filter": "= 'x'"}, ""),
    ({"filter": "params.lr = '0.1"}, ""),
    ({"filter": "params.lr '0.1'"}, ""),
    ({"filter": "run_id IN ()"}, "While parsing a list in the query, expected"),
    ({"filter": "run_id IN (1)"}, ""),
    ({"order_by": ["nope.x"]}, "Invalid entity type 'nope'"),
    ({"order_by": ["attributes.nope"]}, "Invalid attribute key 'nope' specified. Valid keys are"),
    ({"order_by": ["metrics.loss sideways"]}, ""),
    ({"order_by": [""]}, ""),
    ({"max_results": 50001}, "Invalid value 50001 for parameter 'max_results' supplied"),
    ({"max_results": 0}, "It must be a positive integer"),
    ({"max_results": -1}, "It must be a positive integer"),
    ({"page_token": "%%garbage%%"}, "Invalid page token"),
]


@pytest.mark.parametrize(("fields", "message"), REFUSED, ids=[str(fields) for fields, _ in REFUSED])
def test_refused(api, experiment, fields, message):
    answer = api.send("POST", "runs/search", {"experiment_ids": [experiment], **fields})
    assert (answer.status, answer.code) == (400, "INVALID_PARAMETER_VALUE"), answer.text
    assert message in answer.message
