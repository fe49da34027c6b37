"""What was acknowledged is there after a stop, after kill -9 and after a flush, and the answers are the same."""

import os
import shutil

import pytest

from support.api import Api, metric, pair
from support.server import Server
from support.workload import every_answer, log_everything

pytestmark = pytest.mark.runlake


def differences(before, after):
    return [key for key in before if before[key] != after.get(key)]


@pytest.mark.parametrize("how", ["flush", "stop", "kill", "flush then kill", "stop twice", "kill twice"])
def test_same_answers(own_server, how):
    api = Api(own_server.uri)
    known = log_everything(api)
    before = every_answer(api, known)
    for step in how.replace("twice", f"then {how.split()[0]}").split(" then "):
        api.close()
        if step == "flush":
            own_server.flush()
        else:
            assert own_server.stop() == 0 if step == "stop" else own_server.kill() is None
            own_server.start()
        after = every_answer(api, known)
        assert differences(before, after) == [], step


def test_writing_goes_on_after_a_restart(own_server):
    api = Api(own_server.uri)
    experiment = api.create_experiment("e")
    run = api.create_run(experiment)
    for turn in range(4):
        assert (
            api.log_batch(run, metrics=[metric("m", turn / 2, turn, turn)], params=[pair(f"p{turn}", "1")]).status
            == 200
        )
        api.close()
        if turn % 2:
            own_server.restart()
        else:
            own_server.kill()
            own_server.start()
        # Checks against what was stored before still hold.
        assert api.log_batch(run, params=[pair(f"p{turn}", "other")]).status == 400
        assert api.send("POST", "experiments/create", {"name": "e"}).code == "RESOURCE_ALREADY_EXISTS"
    assert [m["step"] for m in api.history(run, "m")] == [0, 1, 2, 3]
    assert api.create_experiment("f") == str(int(experiment) + 1)


def test_experiment_ids_are_not_used_again(own_server):
    api = Api(own_server.uri)
    first = api.create_experiment("a")
    api.post("experiments/delete", experiment_id=first)
    api.close()
    own_server.restart()
    assert int(api.create_experiment("b")) > int(first)


def test_a_lake_moves_by_copying_the_folder(own_server, tmp_path):
    api = Api(own_server.uri)
    known = log_everything(api)
    before = every_answer(api, known)
    own_server.stop()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copytree(own_server.lake, elsewhere / "lake")
    other = Server(elsewhere).start()
    try:
        assert differences(before, every_answer(Api(other.uri), known)) == []
    finally:
        other.kill()


def test_a_stop_waits_for_what_is_under_way(own_server):
    """Every request that was answered 200 while the server stopped is stored."""
    import threading

    api = Api(own_server.uri)
    run = api.create_run(api.create_experiment("e"))
    stored, going = [], threading.Event()

    def write():
        for step in range(100_000):
            try:
                answer = api.log_batch(run, metrics=[metric("m", float(step), step, step)])
            except OSError:
                return
            if answer.status != 200:
                return
            stored.append(step)
            if step == 20:
                going.set()

    writer = threading.Thread(target=write)
    writer.start()
    going.wait(30)
    assert own_server.stop() == 0
    writer.join(30)
    own_server.start()
    after = Api(own_server.uri)
    steps = [m["step"] for m in after.history(run, "m")]
    assert steps[: len(stored)] == stored
    assert len(steps) <= len(stored) + 1


def test_a_clean_stop_is_quick(own_server):
    import time

    api = Api(own_server.uri)
    log_everything(api)
    # A client's idle kept connection must not hold the server up.
    start = time.monotonic()
    assert own_server.stop() == 0
    assert time.monotonic() - start < 20


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_interrupt_stops_it_too(own_server):
    import signal

    own_server.process.send_signal(signal.SIGINT)
    assert own_server.process.wait(30) == 0
