"""kill -9 at random moments, again and again on one lake: nothing acknowledged is lost, nothing is there twice.

Repeat a failure with RUNLAKE_CRASH_SEED; run longer with RUNLAKE_CRASH_ROUNDS.
"""

import http.client
import os
import random
import threading
import time

import pytest

from support.api import Api, pairs
from support.crash import Writer
from support.lake import read
from support.server import Server

pytestmark = pytest.mark.runlake

ROUNDS = int(os.environ.get("RUNLAKE_CRASH_ROUNDS", "50"))
SEED = int(os.environ.get("RUNLAKE_CRASH_SEED", "20260301"))
WRITERS = 4


def upkeep(uri: str, seed: str, stop: threading.Event) -> None:
    """So that deaths also hit flushes, commits, compactions and the deletion of logs."""
    chance = random.Random(seed)
    api = Api(uri, resend=False)
    while not stop.wait(chance.uniform(0.005, 0.08)):
        try:
            api.send("POST", f"/api/runlake/{chance.choices(['flush', 'compact'], [4, 1])[0]}", {})
        except (OSError, http.client.HTTPException):
            return


def one_life(server: Server, writers: list[Writer], chance: random.Random, number: int) -> None:
    """Lets the writers write for a while, then ends the server: mostly by kill -9, sometimes properly."""
    apis = [Api(server.uri, resend=False) for _ in writers]
    stop = threading.Event()
    threads = [threading.Thread(target=w.work, args=(api, stop)) for w, api in zip(writers, apis, strict=True)]
    if chance.random() < 0.6:
        threads.append(threading.Thread(target=upkeep, args=(server.uri, f"{SEED}/{number}", stop)))
    for thread in threads:
        thread.start()
    time.sleep(chance.uniform(0.02, 0.35))
    properly = chance.random() < 0.1
    if properly:
        assert server.stop() == 0
    else:
        server.kill()
    stop.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    for writer in writers:
        # A dying server may only be silent; one that stops may also say that it is going.
        assert properly or not writer.odd, [answer.text for answer in writer.odd]
        assert all(answer.status in (429, 503) for answer in writer.odd), [answer.text for answer in writer.odd]
        writer.odd.clear()


def die_while_starting(server: Server, chance: random.Random) -> None:
    """Recovery that is itself cut off."""
    import subprocess

    with open(server.log_path, "ab") as log:
        process = subprocess.Popen(server.command(), stdout=log, stderr=log, cwd=server.folder)
    time.sleep(chance.uniform(0.0, 0.3))
    process.kill()
    process.wait()


def test_nothing_acknowledged_is_lost(own_server):
    print(f"RUNLAKE_CRASH_SEED={SEED} RUNLAKE_CRASH_ROUNDS={ROUNDS}")
    chance = random.Random(SEED)
    api = Api(own_server.uri)
    experiment_id = api.create_experiment("crash")
    shared = api.create_run(experiment_id)
    writers = [Writer(f"w{i}", SEED, experiment_id, shared) for i in range(WRITERS)]
    for number in range(ROUNDS):
        one_life(own_server, writers, chance, number)
        if chance.random() < 0.2:
            die_while_starting(own_server, chance)
        # Sometimes the tables follow closely, sometimes everything is left to the log.
        own_server.args = chance.choice([(), ("--flush-interval", "200ms")])
        own_server.start()
        api.close()
        for writer in writers:
            writer.settle(api)
            writer.check(api)
    assert sum(writer.acknowledged for writer in writers) > 5 * ROUNDS
    for writer in writers:
        writer.check(api, everything=True)
    assert own_server.stop() == 0
    check_tables(own_server.lake, writers, shared)
    print(f"{sum(writer.acknowledged for writer in writers)} acknowledged writes over {ROUNDS} deaths")


def check_tables(lake, writers, shared):
    """The tables alone, with no server, say the same."""
    points = {
        (run, key, *point) for w in writers for run, m in w.runs.items() for key, ps in m.points.items() for point in ps
    }
    rows = [
        (row["run_id"], row["key"], row["step"], round(row["timestamp"].timestamp() * 1000), row["value"])
        for row in read("deltalake", lake, "metrics")
    ]
    assert len(rows) == len(set(rows)), "points that are in the table twice"
    assert set(rows) == points
    counts: dict = {}
    for run, key, *_ in points:
        counts[run, key] = counts.get((run, key), 0) + 1
    latest = read("deltalake", lake, "latest_metrics")
    assert {(row["run_id"], row["key"]): row["count"] for row in latest} == counts
    assert len(latest) == len(counts)
    for table in ("params", "tags"):
        found = read("deltalake", lake, table)
        expected = {(run, key): v for w in writers for run, m in w.runs.items() for key, v in getattr(m, table).items()}
        assert {(r["run_id"], r["key"]): r["value"] for r in found if not r["key"].startswith("mlflow.")} == expected
        assert len({(r["run_id"], r["key"]) for r in found}) == len(found), f"{table} with one key twice"
    runs = read("deltalake", lake, "runs")
    assert sorted(row["run_id"] for row in runs) == sorted({run for w in writers for run in w.runs})


@pytest.mark.parametrize("wait", [0.0, 0.05, 0.5])
def test_a_single_write_survives(own_server, wait):
    """The least there is: one write, its answer, death."""
    api = Api(own_server.uri)
    run = api.create_run(api.create_experiment("e"))
    for turn in range(3):
        api.post("runs/set-tag", run_id=run, key="t", value=str(turn))
        time.sleep(wait)
        own_server.kill()
        own_server.start()
        api.close()
        assert pairs(api.run(run)["data"]["tags"])["t"] == str(turn)
