"""Points on their way: order, completeness, refusals, a server that comes and goes."""

import math
import threading
import time

import pyarrow as pa
import pytest

from runlake import Refused, Run, SpoolFull, Undelivered, start_run
from runlake._pipeline import Pipeline, pipeline_for
from runlake._uri import Target


def pipeline(uri):
    return pipeline_for(Target.parse(uri))


def test_points_arrive_in_order(server, run_id):
    run = Run(run_id, server.uri)
    for step in range(10_000):
        run.log({"loss": step / 2}, step=step)
    run.flush()
    assert server.steps(run_id) == list(range(10_000))
    assert server.state.doors_used == ["flight"] * len(server.state.doors_used)


def test_http_door(server, run_id):
    run = Run(run_id, server.http_uri)
    run.log_params({"lr": 0.1})
    for step in range(100):
        run.log({"loss": 0.5, "acc": 1}, step=step)
    run.finish()
    assert server.steps(run_id, "acc") == list(range(100))
    assert set(server.state.doors_used) == {"http"}
    assert server.state.runs[run_id]["status"] == "FINISHED"


def test_nothing_is_lost_between_many_threads(server, run_id):
    run = Run(run_id, server.uri)

    def work(number):
        for step in range(2000):
            run.log({f"k{number}": step}, step=step)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run.flush()
    for number in range(16):
        assert server.steps(run_id, f"k{number}") == list(range(2000))


def test_a_full_buffer_makes_the_caller_wait_and_drops_nothing(server, run_id, monkeypatch):
    monkeypatch.setenv("RUNLAKE_BUFFER_ROWS", "50")
    server.state.delay = 0.05
    run = Run(run_id, server.uri.replace("127.0.0.1", "localhost", 1))
    started = time.monotonic()
    longest = 0
    for step in range(1000):
        run.log({"loss": step}, step=step)
        longest = max(longest, len(run._pipeline._rows))
    assert time.monotonic() - started > 0.2
    assert longest <= 51
    run.flush()
    assert server.steps(run_id) == list(range(1000))


def test_special_values(server, run_id):
    run = Run(run_id, server.uri)
    run.log({"a": math.nan, "b": math.inf, "c": -math.inf, "d": True, "e": 3})
    run.flush()
    found = {point["key"]: point["value"] for point in server.state.points[run_id]}
    assert math.isnan(found["a"])
    assert (found["b"], found["c"], found["d"], found["e"]) == (math.inf, -math.inf, 1.0, 3.0)
    with pytest.raises((TypeError, ValueError)):
        run.log({"x": "much"})


def test_a_step_beyond_64_bits_takes_nothing_with_it(server, run_id):
    run = Run(run_id, server.uri)
    run.log({"loss": 1}, step=1)
    run.log({"loss": 1}, step=2**70)
    run.log({"loss": 1}, step=3)
    with pytest.raises(Refused, match="1 rows"):
        run.flush()
    assert server.steps(run_id) == [1, 3]


def test_a_refused_row_goes_alone(server, run_id, tmp_path):
    run = Run(run_id, server.uri)
    for step in range(100):
        run.log({"bad//key" if step in (17, 80) else "loss": 0.5}, step=step)
    with pytest.raises(Refused, match=r"2 rows of run .* invalid key"):
        run.finish()
    assert server.steps(run_id) == [step for step in range(100) if step not in (17, 80)]
    assert server.state.runs[run_id]["status"] == "FINISHED"
    kept = sorted(tmp_path.rglob("rejected/*.arrow"))
    assert len(kept) == 2
    with pa.ipc.open_stream(kept[0].read_bytes()) as reader:
        assert "invalid key" in reader.schema.metadata[b"runlake.error"].decode()
        assert reader.read_all()["key"].to_pylist() == ["bad//key"]
    # Told once.
    run.flush()


def test_a_refused_run_leaves_others_alone(server):
    good, bad = server.new_run(), server.new_run()
    server.state.runs[bad]["lifecycle_stage"] = "deleted"
    one, two = Run(good, server.uri), Run(bad, server.uri)
    for step in range(100):
        one.log({"loss": 1}, step=step)
        two.log({"loss": 1}, step=step)
    one.finish()
    with pytest.raises(Refused, match="100 rows .* must be in the 'active' state"):
        two.finish()
    assert server.steps(good) == list(range(100))
    assert server.steps(bad) == []


def test_a_param_that_changes(server, run_id):
    run = Run(run_id, server.uri)
    run.log_params({"lr": 0.1, "depth": 3})
    with pytest.raises(Refused, match="cannot become"):
        run.log_params({"lr": 0.2})
    # Another client has set it already: only the server knows.
    other = Run(run_id, server.uri)
    other.log_params({"lr": 0.3, "width": 7})
    with pytest.raises(Refused, match="Changing param values"):
        other.flush()
    assert server.state.params[run_id] == {"lr": "0.1", "depth": "3", "width": "7"}


def test_a_lost_ack_writes_nothing_twice(server, run_id):
    server.state.lose_acks = 2
    run = Run(run_id, server.uri)
    for step in range(100):
        run.log({"loss": 1}, step=step)
    run.flush()
    assert server.steps(run_id) == list(range(100))


def test_a_busy_server_is_asked_again(server, run_id):
    server.state.busy = 2
    run = Run(run_id, server.uri)
    run.log({"loss": 1}, step=1)
    run.flush()
    assert server.steps(run_id) == [1]


def test_the_server_goes_and_comes_back(server, run_id, tmp_path):
    run = Run(run_id, server.uri)
    for step in range(300):
        if step == 100:
            server.stop()
        if step == 200:
            time.sleep(1.5)
            assert list(tmp_path.rglob("*.arrow")), "what cannot be sent is on disk"
            server.start()
        run.log({"loss": 1}, step=step)
        time.sleep(0.002)
    run.finish()
    assert server.steps(run_id) == list(range(300))
    assert not list(tmp_path.rglob("*.arrow"))


def test_finish_without_a_server(server, run_id, tmp_path):
    run = Run(run_id, server.uri)
    run.log({"loss": 1}, step=0)
    run.flush()
    server.stop()
    run.log({"loss": 1}, step=1)
    with pytest.raises(Undelivered, match="runlake-sync"):
        run.finish(timeout=1.5)
    assert len(list(tmp_path.rglob("*.arrow"))) == 1
    assert len(list(tmp_path.rglob("*-*.json"))) == 1
    server.start()
    pipeline(server.uri).flush()
    assert server.steps(run_id) == [0, 1]
    # The end was told when the server was back.
    assert server.state.runs[run_id]["status"] == "FINISHED"


def test_the_next_process_delivers_what_is_left(server, run_id, monkeypatch):
    first = Pipeline(Target.parse(server.uri))
    server.stop()
    run = Run(run_id, pipeline=first)
    for step in range(50):
        run.log({"loss": 1}, step=step)
    with pytest.raises(Undelivered):
        run.flush(1.5)
    # As if that process had died.
    monkeypatch.setattr(first, "_replay", lambda: None)
    first.spool.own.lock.release()
    server.start()
    other = server.new_run()
    second = Pipeline(Target.parse(server.uri))
    run = Run(other, pipeline=second)
    run.log({"loss": 1}, step=1)
    run.flush()
    deadline = time.monotonic() + 5
    while len(server.steps(run_id)) < 50 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.steps(run_id) == list(range(50))
    assert server.steps(other) == [1]


def test_a_full_spool_is_an_error_and_not_a_loss(server, run_id, monkeypatch):
    monkeypatch.setenv("RUNLAKE_SPOOL_MAX_BYTES", "2000")
    monkeypatch.setenv("RUNLAKE_BUFFER_ROWS", "20")
    pipe = Pipeline(Target.parse(server.uri))
    run = Run(run_id, pipeline=pipe)
    server.stop()
    logged = 0
    with pytest.raises(SpoolFull, match="RUNLAKE_SPOOL_MAX_BYTES"):
        for step in range(100_000):
            run.log({"loss": 1}, step=step)
            logged += 1
    server.start()
    pipe.flush()
    assert server.steps(run_id) == list(range(logged))


def test_wrong_credentials_keep_the_points(server, run_id, monkeypatch):
    server.state.token = "secret"
    pipe = Pipeline(Target.parse(server.uri))
    run = Run(run_id, pipeline=pipe)
    run.log({"loss": 1}, step=1)
    with pytest.raises(Undelivered, match="log in first"):
        run.flush(1)
    monkeypatch.setenv("RUNLAKE_TOKEN", "secret")
    run.flush()
    assert server.steps(run_id) == [1]


def test_start_run(server):
    with start_run("things", "first", tags={"team": "a"}, params={"lr": 0.5}, uri=server.uri) as run:
        for step in range(10):
            run.log({"loss": 1 / (step + 1)}, step=step)
        run.set_tags({"note": "x"})
    info = server.state.runs[run.run_id]
    assert (info["status"], info["run_name"]) == ("FINISHED", "first")
    assert server.state.experiments[info["experiment_id"]]["name"] == "things"
    assert server.state.params[run.run_id] == {"lr": "0.5"}
    assert server.state.tags[run.run_id].items() >= {"team": "a", "note": "x"}.items()
    with pytest.raises(ZeroDivisionError), start_run("things", uri=server.uri) as run:
        run.log({"loss": 1 / 0})
    assert server.state.runs[run.run_id]["status"] == "FAILED"


def test_a_proxy_that_lets_no_grpc_through(server, run_id):
    from fake import free_port

    run = Run(run_id, f"runlake://127.0.0.1:{server.http_port}?flight=127.0.0.1:{free_port()}")
    for step in range(100):
        run.log({"loss": 1}, step=step)
    run.finish()
    assert server.steps(run_id) == list(range(100))
    assert set(server.state.doors_used) == {"http"}


def test_something_else_at_the_address(server, run_id, tmp_path):
    """A proxy's 404 refuses nothing."""
    pipe = Pipeline(Target.parse(f"runlake://127.0.0.1:{server.http_port}/elsewhere"))
    run = Run(run_id, pipeline=pipe)
    run.log({"loss": 1}, step=1)
    with pytest.raises(Undelivered, match="no such door"):
        run.flush(1)
    assert len(list(pipe.spool.folder.rglob("*.arrow"))) == 1
    assert not (pipe.spool.folder / "rejected").exists()


def test_steps_of_other_types(server, run_id):
    run = Run(run_id, server.uri)
    run.log({"loss": 1}, step=3.0)
    run.log({"loss": 1}, step=True)
    run.log_metric("loss", "0.5", step=7)
    run.flush()
    assert server.steps(run_id) == [3, 1, 7]
