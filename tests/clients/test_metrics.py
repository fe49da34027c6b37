"""Metric semantics: which point is the latest, odd numbers, duplicates, histories and their pages."""

import json
import math
import random

import pytest

from support.api import metric

GREATEST = 1.7976931348623157e308
BULK = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
INTERVAL = "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval"


def latest(api, run_id):
    return {m["key"]: (m["step"], m["timestamp"], m["value"]) for m in api.run(run_id)["data"].get("metrics", [])}


def points(history):
    return [(m["step"], m["timestamp"], m["value"]) for m in history]


class TestLatest:
    @pytest.mark.parametrize(
        ("logged", "expected"),
        [
            # (step, timestamp, value) in the order of logging
            ([(0, 1, 5.0)], (0, 1, 5.0)),
            ([(2, 1, 5.0), (1, 9, 9.0)], (2, 1, 5.0)),
            ([(1, 9, 1.0), (1, 5, 7.0)], (1, 9, 1.0)),
            ([(1, 5, 7.0), (1, 5, 3.0)], (1, 5, 7.0)),
            ([(1, 5, 3.0), (1, 5, 7.0)], (1, 5, 7.0)),
            ([(-5, 1, 1.0), (-7, 9, 2.0)], (-5, 1, 1.0)),
            ([(0, 0, -1.0), (-1, 5, 2.0)], (0, 0, -1.0)),
            ([(2**62, 1, 1.0), (2**62 - 1, 1, 2.0)], (2**62, 1, 1.0)),
            # NaN counts as 0 where values decide.
            ([(1, 5, "NaN"), (1, 5, 2.0)], (1, 5, 2.0)),
            ([(1, 5, "NaN"), (2, 5, 2.0)], (2, 5, 2.0)),
            ([(2, 5, "NaN"), (1, 5, 2.0)], (2, 5, "NaN")),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("batch", [False, True], ids=["one by one", "in a batch"])
    def test_the_greatest_by_step_timestamp_value(self, api, run, logged, expected, batch):
        metrics = [metric("m", value, timestamp, step) for step, timestamp, value in logged]
        if batch:
            assert api.log_batch(run, metrics=metrics).status == 200
        else:
            for entry in metrics:
                api.post("runs/log-metric", {"run_id": run, **entry})
        assert latest(api, run) == {"m": expected}

    def test_many_points_in_any_order(self, api, run):
        random_points = random.Random(7)
        logged = [
            (random_points.randint(-9, 9), random_points.randint(0, 3), random_points.randint(-3, 3) / 4)
            for _ in range(500)
        ]
        for start in range(0, 500, 50):
            api.log_batch(run, metrics=[metric("m", v, t, s) for s, t, v in logged[start : start + 50]])
        assert latest(api, run) == {"m": max(logged)}
        expected = sorted(set(logged), key=lambda p: (p[1], p[0], p[2]))
        assert points(api.history(run, "m")) == expected


class TestValues:
    @pytest.mark.parametrize(
        ("sent", "answered"),
        [
            ("NaN", "NaN"),
            ("Infinity", GREATEST),
            ("-Infinity", -GREATEST),
            (GREATEST, GREATEST),
            (5e-324, 5e-324),
            (0.1, 0.1),
            (-0.0, 0.0),
            (7, 7.0),
            ("1.5", 1.5),
            (True, 1.0),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("batch", [False, True], ids=["log-metric", "log-batch"])
    def test_comes_back(self, api, run, sent, answered, batch):
        if batch:
            assert api.log_batch(run, metrics=[metric("m", sent)]).status == 200
        else:
            api.post("runs/log-metric", {"run_id": run, **metric("m", sent)})
        assert latest(api, run)["m"][2] == answered
        assert points(api.history(run, "m")) == [(0, 1, answered)]

    def test_values_survive_bit_for_bit(self, api, run):
        numbers = random.Random(11)
        values = [numbers.random() * 10 ** numbers.randint(-300, 300) for _ in range(2000)]
        for start in range(0, 2000, 1000):
            batch = [metric("m", values[step], 1, step) for step in range(start, start + 1000)]
            assert api.log_batch(run, metrics=batch).status == 200
        assert [m["value"] for m in api.history(run, "m")] == values

    def test_a_step_defaults_to_0_and_numbers_come_as_text_too(self, api, run):
        api.post("runs/log-metric", run_id=run, key="a", value=1.0, timestamp=3)
        api.post("runs/log-metric", run_id=run, key="b", value=1.0, timestamp="5", step="-7")
        api.post("runs/log-metric", run_id=run, key="c", value=1.0, timestamp=6.0, step=2.0)
        assert latest(api, run) == {"a": (0, 3, 1.0), "b": (-7, 5, 1.0), "c": (2, 6, 1.0)}

    def test_timestamp_0_is_fine(self, api, run):
        api.post("runs/log-metric", run_id=run, key="a", value=1.0, timestamp=0)
        assert latest(api, run) == {"a": (0, 0, 1.0)}


class TestDuplicates:
    def test_identical_points_count_once(self, api, run):
        point = metric("m", 0.5, 10, 1)
        assert api.log_batch(run, metrics=[point, point]).status == 200
        assert api.log_batch(run, metrics=[point, metric("m", 0.75, 10, 1)]).status == 200
        api.post("runs/log-metric", {"run_id": run, **point})
        assert points(api.history(run, "m")) == [(1, 10, 0.5), (1, 10, 0.75)]

    def test_nan_and_infinity_too(self, api, run):
        batch = [metric("m", value, 10, 1) for value in ("NaN", "Infinity", "-Infinity")]
        for _ in range(2):
            assert api.log_batch(run, metrics=batch + batch).status == 200
        values = [m["value"] for m in api.history(run, "m")]
        assert sorted(values, key=str) == sorted(["NaN", GREATEST, -GREATEST], key=str)


class TestHistory:
    @pytest.fixture
    def logged(self, api, run):
        entries = [(s, t, v / 2) for s in (3, -1, 2) for t in (20, 10) for v in (3, 1)]
        api.log_batch(run, metrics=[metric("m", v, t, s) for s, t, v in entries])
        return sorted(entries, key=lambda p: (p[1], p[0], p[2]))

    def test_is_ordered_by_timestamp_step_value(self, api, run, logged):
        assert points(api.history(run, "m")) == logged

    @pytest.mark.parametrize("page", [1, 2, 5, 11, 12, 13])
    def test_pages(self, api, run, logged, page):
        seen, token, sizes = [], None, []
        while True:
            extra = {"page_token": token} if token else {}
            answer = api.get("metrics/get-history", run_id=run, metric_key="m", max_results=page, **extra)
            sizes.append(len(answer["metrics"]))
            seen += points(answer["metrics"])
            token = answer.get("next_page_token")
            if token is None:
                break
        assert seen == logged
        assert sizes == [page] * (12 // page) + ([12 % page] if 12 % page else [])

    def test_without_max_results_everything_comes(self, api, run, logged):
        """The reference answers no points here, which nobody can want (its clients always say max_results)."""
        answer = api.get("metrics/get-history", run_id=run, metric_key="m")
        if "metrics" in answer:
            assert points(answer["metrics"]) == logged
            assert "next_page_token" not in answer

    def test_unknown_run_or_key(self, api, run, logged):
        assert api.get("metrics/get-history", run_id=run, metric_key="zz", max_results=5) == {}
        assert api.get("metrics/get-history", run_id="0" * 32, metric_key="m", max_results=5) == {}

    def test_a_bad_token(self, api, run, logged):
        query = {"run_id": run, "metric_key": "m", "max_results": 5, "page_token": "%%%"}
        answer = api.send("GET", "metrics/get-history", query=query)
        assert (answer.status, answer.code) == (400, "INVALID_PARAMETER_VALUE")

    def test_pages_hold_still_while_points_are_added(self, api, run):
        api.log_batch(run, metrics=[metric("m", float(i), 100 + i, i) for i in range(10)])
        first = api.get("metrics/get-history", run_id=run, metric_key="m", max_results=4)
        api.log_batch(run, metrics=[metric("m", float(i), 200 + i, i) for i in range(10, 14)])
        rest, token = [], first["next_page_token"]
        while token:
            page = api.get("metrics/get-history", run_id=run, metric_key="m", max_results=4, page_token=token)
            rest += page["metrics"]
            token = page.get("next_page_token")
        assert [m["step"] for m in first["metrics"] + rest] == list(range(14))


class TestBulk:
    def get(self, api, **query):
        return api.send("GET", BULK, query=query)

    def test_several_runs(self, api, new_run):
        runs = sorted(new_run() for _ in range(3))
        for index, run_id in enumerate(runs):
            api.log_batch(run_id, metrics=[metric("m", index + s / 10, 50 - s, s) for s in range(3)])
            api.log_batch(run_id, metrics=[metric("other", 1.0)])
        answer = self.get(api, run_id=[runs[2], "0" * 32, runs[0], runs[1]], metric_key="m").json
        assert answer == {
            "metrics": [
                {"key": "m", "run_id": run_id, "step": s, "timestamp": 50 - s, "value": index + s / 10}
                for index, run_id in enumerate(runs)
                for s in (2, 1, 0)
            ]
        }

    def test_max_results_caps_the_total(self, api, new_run):
        runs = sorted(new_run() for _ in range(2))
        for run_id in runs:
            api.log_batch(run_id, metrics=[metric("m", 1.0, s, s) for s in range(5)])
        answer = self.get(api, run_id=runs, metric_key="m", max_results=7).json["metrics"]
        assert [(m["run_id"], m["step"]) for m in answer] == [(runs[0], s) for s in range(5)] + [
            (runs[1], s) for s in range(2)
        ]

    def test_nan_and_infinity(self, api, run):
        api.log_batch(run, metrics=[metric("m", v, i, i) for i, v in enumerate(["NaN", "Infinity", "-Infinity"])])
        # The answer's NaN is a bare token, which Python's reader takes.
        values = [m["value"] for m in json.loads(self.get(api, run_id=run, metric_key="m").body)["metrics"]]
        assert math.isnan(values[0])
        assert values[1:] == [GREATEST, -GREATEST]

    @pytest.mark.parametrize(
        ("query", "message"),
        [
            ({"metric_key": "m"}, "GetMetricHistoryBulk request must specify at least one run_id."),
            ({"run_id": "a"}, "GetMetricHistoryBulk request must specify a metric_key."),
            (
                {"run_id": [f"r{i}" for i in range(101)], "metric_key": "m"},
                "GetMetricHistoryBulk request cannot specify more than 100 run_ids. Received 101 run_ids.",
            ),
        ],
    )
    def test_refused(self, api, query, message):
        answer = self.get(api, **query)
        assert (answer.status, answer.code) == (400, "INVALID_PARAMETER_VALUE")
        assert message in answer.message


class TestInterval:
    def steps(self, api, runs, **query):
        answer = api.get(INTERVAL, run_ids=runs, metric_key="m", **query)
        result = {run_id: [] for run_id in runs}
        for m in answer.get("metrics", []):
            result[m["run_id"]].append(m["step"])
        return [result[run_id] for run_id in runs]

    def log_steps(self, api, run_id, steps):
        api.log_batch(run_id, metrics=[metric("m", s / 2, 1000 + s, s) for s in steps])

    def test_few_steps_all_come(self, api, run):
        self.log_steps(api, run, range(10))
        assert self.steps(api, [run]) == [list(range(10))]
        assert self.steps(api, [run], max_results=10) == [list(range(10))]

    def test_a_range(self, api, run):
        self.log_steps(api, run, range(10))
        assert self.steps(api, [run], start_step=3, end_step=6) == [[3, 4, 5, 6]]

    def test_negative_steps_come_by_range(self, api, run):
        self.log_steps(api, run, range(-3, 3))
        # Without a range MLflow 3.12 leaves them out, and 3.17 does not.
        assert self.steps(api, [run])[0][-3:] == [0, 1, 2]
        assert self.steps(api, [run], start_step=-2, end_step=1) == [[-2, -1, 0, 1]]

    def test_sampling_keeps_first_and_last(self, api, new_run):
        runs = [new_run(), new_run()]
        self.log_steps(api, runs[0], range(0, 300))
        self.log_steps(api, runs[1], range(50, 650))
        for run_id, (first, last) in zip(runs, [(0, 299), (50, 649)], strict=True):
            (sampled,) = self.steps(api, [run_id], max_results=20)
            assert sampled[0] == first
            assert sampled[-1] == last
            assert sampled == sorted(set(sampled))
            assert 15 <= len(sampled) <= 23
        together = self.steps(api, runs, max_results=20)
        assert [(s[0], s[-1]) for s in together] == [(0, 299), (50, 649)]

    def test_steps_are_sampled_as_the_reference_does(self, api, new_run):
        """Steps as MLflow 3.17 samples them: older servers took every n-th step."""
        runs = [new_run(), new_run()]
        self.log_steps(api, runs[0], range(10))
        self.log_steps(api, runs[1], range(20))
        assert self.steps(api, runs[:1], max_results=5) == [[0, 2, 4, 6, 9]]
        assert self.steps(api, runs, max_results=5) == [[0, 2, 4, 6, 9], [0, 4, 8, 12, 19]]

    @pytest.mark.parametrize(
        ("query", "message"),
        [
            ({"max_results": 0}, "max_results must be between 1 and 2500."),
            ({"max_results": 2501}, "max_results must be between 1 and 2500."),
            ({"start_step": 1}, "If either start step or end step are specified, both must be specified."),
            ({"end_step": 1}, "If either start step or end step are specified, both must be specified."),
            (
                {"start_step": 1, "end_step": 0},
                "end_step must be greater than start_step. Found start_step=1 and end_step=0.",
            ),
        ],
    )
    def test_refused(self, api, run, query, message):
        answer = api.send("GET", INTERVAL, query={"run_ids": run, "metric_key": "m", **query})
        assert (answer.status, answer.code) == (400, "INVALID_PARAMETER_VALUE")
        assert message in answer.message
