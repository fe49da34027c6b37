"""Many clients at once: one winner where there can be only one, nothing lost where there is room for all."""

import threading

from support.api import Api, metric, pair, pairs

THREADS = 8


def at_once(uri, work):
    """Runs work(api, index) in THREADS threads that start together; their answers in order."""
    answers, barrier = [None] * THREADS, threading.Barrier(THREADS)

    def one(index):
        api = Api(uri)
        barrier.wait()
        answers[index] = work(api, index)
        api.close()

    threads = [threading.Thread(target=one, args=(index,)) for index in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_one_experiment_of_a_name(api, server, name):
    for turn in range(5):
        answers = at_once(server.uri, lambda api, _: api.send("POST", "experiments/create", {"name": f"{name} {turn}"}))
        assert sorted(answer.status for answer in answers) == [200] + [400] * (THREADS - 1)
        (winner,) = [answer.json["experiment_id"] for answer in answers if answer.status == 200]
        stored = api.get("experiments/get-by-name", experiment_name=f"{name} {turn}")["experiment"]
        assert stored["experiment_id"] == winner


def test_one_value_of_a_param(api, server, run):
    for turn in range(10):
        answers = at_once(
            server.uri,
            lambda api, index: api.send(
                "POST", "runs/log-parameter", {"run_id": run, "key": f"p{turn}", "value": f"v{index}"}
            ),
        )
        winners = [f"v{index}" for index, answer in enumerate(answers) if answer.status == 200]
        assert len(winners) == 1, [answer.text for answer in answers]
        assert pairs(api.run(run)["data"]["params"])[f"p{turn}"] == winners[0]


def test_equal_values_of_a_param_are_no_conflict(api, server, run):
    answers = at_once(
        server.uri,
        lambda api, _: api.send("POST", "runs/log-parameter", {"run_id": run, "key": "p", "value": "same"}),
    )
    assert [answer.status for answer in answers] == [200] * THREADS
    assert pairs(api.run(run)["data"]["params"]) == {"p": "same"}


def test_everybody_writes_to_one_run(api, server, run):
    def work(api, index):
        for turn in range(20):
            answer = api.log_batch(
                run,
                metrics=[metric("shared", index + turn / 32, turn, index), metric(f"m{index}", turn, turn, turn)],
                params=[pair(f"p{index}.{turn}", "x")],
                tags=[pair(f"t{index}", str(turn))],
            )
            assert answer.status == 200, answer.text
        return True

    assert at_once(server.uri, work) == [True] * THREADS
    data = api.run(run)["data"]
    assert len(api.history(run, "shared")) == 20 * THREADS
    assert {m["key"]: m["value"] for m in data["metrics"]} == {
        "shared": THREADS - 1 + 19 / 32,
        **{f"m{index}": 19.0 for index in range(THREADS)},
    }
    assert len(data["params"]) == 20 * THREADS
    tags = pairs(data["tags"])
    assert [tags[f"t{index}"] for index in range(THREADS)] == ["19"] * THREADS


def test_each_reads_what_it_wrote(server, experiment):
    """Straight after the answer, by every route that could lag behind."""

    def work(api, index):
        run_id = api.create_run(experiment)
        for turn in range(10):
            assert (
                api.log_batch(run_id, metrics=[metric("m", turn, turn, turn)], tags=[pair("t", str(turn))]).status
                == 200
            )
            assert api.run(run_id)["data"]["metrics"][0]["value"] == turn
            assert len(api.history(run_id, "m")) == turn + 1
            found = api.search_runs([experiment], filter=f"attributes.run_id = '{run_id}' AND tags.t = '{turn}'")
            assert [run["info"]["run_id"] for run in found] == [run_id]
        return True

    assert at_once(server.uri, work) == [True] * THREADS


def test_deleting_and_writing_agree(api, server, new_run):
    """A write to a run that is being deleted is either there or was refused."""
    for _ in range(5):
        run = new_run()

        def work(api, index):
            if index == 0:
                return api.send("POST", "runs/delete", {"run_id": run})
            return api.log_batch(run, metrics=[metric("m", index, 1, index)])

        answers = at_once(server.uri, work)
        assert answers[0].status == 200
        written = {index for index, answer in enumerate(answers) if index and answer.status == 200}
        assert {int(m["value"]) for m in api.history(run, "m")} == written
        assert all(answer.status in (200, 400) for answer in answers)
