"""The tables on disk, read with no server by the readers people have: what was logged, once, and nothing else."""

import datetime
import math

import pytest

from support.api import ARTIFACTS, Api, metric, pair, pairs
from support.lake import READERS, live_files, milliseconds, read, table_path
from support.registry import (
    create_model,
    create_version,
    delete_version,
    get_model,
    history,
    search_models,
    search_versions,
    set_alias,
    transition,
)
from support.server import Server
from support.workload import log_everything

pytestmark = [pytest.mark.runlake]


@pytest.fixture(scope="module", params=["flushed", "stopped", "killed, started, stopped"])
def lake(request, tmp_path_factory):
    """(folder of a lake, what was logged, what the server said of it): in three ways to get it onto the disk."""
    folder = tmp_path_factory.mktemp("tables")
    server = Server(folder).start()
    api = Api(server.uri)
    known = log_everything(api)
    said = {run_id: api.run(run_id) for run_id in known["runs"]}
    history = {key: api.history(known["long"], key) for key in ("loss", "noise", "odd", "acc")}
    api.close()
    if request.param == "flushed":
        server.flush()
    if request.param.startswith("killed"):
        server.kill()
        server.start()
    if "stopped" in request.param:
        assert server.stop() == 0
    yield server.lake, known, said, history
    server.kill()


def keyed(rows, *columns):
    """Rows by key; a key that comes twice is a failure."""
    result = {}
    for row in rows:
        key = tuple(row[c] for c in columns)
        assert key not in result, f"{key} twice"
        result[key] = row
    return result


@pytest.mark.parametrize("reader", READERS)
def test_one_row_per_run(lake, reader):
    folder, known, said, _ = lake
    rows = keyed(read(reader, folder, "runs"), "run_id")
    assert {key[0] for key in rows} == set(known["runs"])
    for run_id, answer in said.items():
        info, row = answer["info"], rows[(run_id,)]
        for column in ("experiment_id", "run_name", "user_id", "status", "lifecycle_stage", "artifact_uri"):
            assert row[column] == info[column], column
        assert milliseconds(row["start_time"]) == info["start_time"]
        assert (row["end_time"] and milliseconds(row["end_time"])) == info.get("end_time")
        assert (row["deleted_time"] is None) == (info["lifecycle_stage"] == "active")
    assert rows[(known["child"],)]["parent_run_id"] == known["long"]
    assert rows[(known["long"],)]["parent_run_id"] is None


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("table", ["params", "tags"])
def test_params_and_tags(lake, reader, table):
    folder, _, said, _ = lake
    rows = keyed(read(reader, folder, table), "run_id", "key")
    expected = {
        (run_id, key): (answer["info"]["experiment_id"], value)
        for run_id, answer in said.items()
        for key, value in pairs(answer["data"].get(table)).items()
    }
    assert {key: (row["experiment_id"], row["value"]) for key, row in rows.items()} == expected


@pytest.mark.parametrize("reader", READERS)
def test_metrics_hold_every_point_once(lake, reader):
    folder, known, said, history = lake
    rows = read(reader, folder, "metrics")
    of_long = {}
    for row in rows:
        if row["run_id"] == known["long"]:
            of_long.setdefault(row["key"], []).append((row["step"], milliseconds(row["timestamp"]), row["value"]))
    for key in ("loss", "noise", "acc"):
        assert sorted(of_long[key]) == sorted((m["step"], m["timestamp"], m["value"]) for m in history[key])
    # Real infinities and NaN, not what the REST API makes of them; and the point sent twice is there once.
    # Compared as text, since NaN equals nothing.
    odd = [(-3, 5, v) for v in (math.nan, math.inf, -math.inf, 5e-324, -0.25)]
    assert sorted(map(str, of_long["odd"])) == sorted(map(str, odd))
    expected = sum(len(run.metrics) for run in known["made"]) + sum(len(points) for points in history.values())
    assert len(rows) == expected
    assert all(row["experiment_id"] == said[row["run_id"]]["info"]["experiment_id"] for row in rows)
    (with_model,) = [row for row in rows if row["model_id"] is not None]
    assert (with_model["key"], with_model["model_id"]) == ("acc", known["model"])


@pytest.mark.parametrize("reader", READERS)
def test_latest_metrics(lake, reader):
    folder, known, said, history = lake
    rows = keyed(read(reader, folder, "latest_metrics"), "run_id", "key")
    expected = {(run_id, m["key"]): m for run_id, answer in said.items() for m in answer["data"].get("metrics", [])}
    assert set(rows) == set(expected)
    greatest = 1.7976931348623157e308
    for key, m in expected.items():
        row = rows[key]
        assert (row["step"], milliseconds(row["timestamp"])) == (m["step"], m["timestamp"])
        if m["value"] == "NaN":
            assert math.isnan(row["value"])
        else:
            assert max(-greatest, min(greatest, row["value"])) == m["value"]
    for name in ("loss", "noise"):
        row, points = rows[(known["long"], name)], history[name]
        low, high = min(points, key=lambda m: m["value"]), max(points, key=lambda m: m["value"])
        assert (row["min"], row["min_step"]) == (low["value"], low["step"])
        assert (row["max"], row["max_step"]) == (high["value"], high["step"])
        assert row["count"] == len(points) == 3000
        assert row["sum"] == pytest.approx(math.fsum(m["value"] for m in points), rel=1e-12)
    odd = rows[(known["long"], "odd")]
    assert (odd["count"], odd["min"], odd["max"]) == (5, -math.inf, math.inf)


@pytest.mark.parametrize("reader", READERS)
def test_the_other_tables(lake, reader):
    folder, known, said, _ = lake
    first, second, gone = known["experiments"]
    experiments = keyed(read(reader, folder, "experiments"), "experiment_id")
    assert {key[0]: (row["name"], row["lifecycle_stage"]) for key, row in experiments.items()} == {
        "0": ("Default", "active"),
        first: ("first", "active"),
        second: ("second", "active"),
        gone: ("gone", "deleted"),
    }
    (owner,) = read(reader, folder, "experiment_tags")
    assert (owner["experiment_id"], owner["key"], owner["value"]) == (first, "owner", "ada")
    (dataset,) = read(reader, folder, "datasets")
    assert (dataset["experiment_id"], dataset["name"], dataset["digest"]) == (second, "wine", "d1")
    (used,) = read(reader, folder, "run_inputs")
    assert (used["run_id"], used["experiment_id"]) == (known["child"], second)
    (made,) = read(reader, folder, "run_outputs")
    assert (made["run_id"], made["model_id"], made["step"]) == (known["long"], known["model"], 1)
    (model,) = read(reader, folder, "logged_models")
    assert (model["model_id"], model["name"], model["source_run_id"]) == (known["model"], "forest", known["long"])
    (param,) = read(reader, folder, "logged_model_params")
    assert (param["model_id"], param["key"], param["value"]) == (known["model"], "depth", "3")
    tags = keyed(read(reader, folder, "logged_model_tags"), "model_id", "key")
    assert tags[(known["model"], "team")]["value"] == "x"


def test_documented_types(lake):
    """The columns are a public contract."""
    import pyarrow
    from deltalake import DeltaTable

    folder, *_ = lake

    def types(table):
        return {field.name: field.type for field in pyarrow.schema(DeltaTable(str(table_path(folder, table))).schema())}

    text, number, integer = pyarrow.string(), pyarrow.float64(), pyarrow.int64()
    time = pyarrow.timestamp("us", "UTC")
    plain = {pyarrow.large_string(): text, pyarrow.string_view(): text}
    expected = {
        "runs": {
            "run_id": text,
            "experiment_id": text,
            "run_name": text,
            "user_id": text,
            "status": text,
            "start_time": time,
            "end_time": time,
            "lifecycle_stage": text,
            "deleted_time": time,
            "artifact_uri": text,
            "parent_run_id": text,
        },
        "metrics": {
            "run_id": text,
            "key": text,
            "step": integer,
            "timestamp": time,
            "value": number,
            "experiment_id": text,
            "model_id": text,
            "dataset_name": text,
            "dataset_digest": text,
        },
        "params": {"run_id": text, "key": text, "experiment_id": text, "value": text},
        "tags": {"run_id": text, "key": text, "experiment_id": text, "value": text},
        "latest_metrics": {
            "run_id": text,
            "key": text,
            "experiment_id": text,
            "step": integer,
            "timestamp": time,
            "value": number,
            "min": number,
            "min_step": integer,
            "max": number,
            "max_step": integer,
            "sum": number,
            "count": integer,
        },
    }
    for table, columns in expected.items():
        found = {name: plain.get(kind, kind) for name, kind in types(table).items()}
        assert columns.items() <= found.items(), table


def test_filters_on_value_lose_no_row(lake):
    """Statistics would hide NaN and infinities from a reader that skips files by them."""
    import polars
    import pyarrow.dataset
    from deltalake import DeltaTable

    folder, *_ = lake
    rows = read("deltalake", folder, "metrics")
    for limit in (0.2, 1e300):
        wanted = sum(row["value"] > limit for row in rows)
        assert wanted > 0
        dataset = DeltaTable(str(table_path(folder, "metrics"))).to_pyarrow_dataset()
        assert dataset.count_rows(filter=pyarrow.dataset.field("value") > limit) == wanted
        lazy = polars.scan_delta(str(table_path(folder, "metrics")))
        # Polars orders NaN above every number.
        assert lazy.filter((polars.col("value") > limit) & polars.col("value").is_not_nan()).collect().height == wanted
    assert sum(math.isnan(row["value"]) for row in rows) > 0


def test_metrics_are_sorted_inside_a_file(lake):
    import pyarrow.parquet

    folder, *_ = lake
    for uri in live_files(folder, "metrics"):
        table = pyarrow.parquet.read_table(uri.removeprefix("file://"))
        columns = [table[name].to_pylist() for name in ("run_id", "key", "step")]
        keys = list(zip(*columns, strict=True))
        assert keys == sorted(keys)


REGISTRY = {
    "registered_models": ["name"],
    "registered_model_tags": ["name", "key"],
    "registered_model_aliases": ["name", "alias"],
    "model_versions": ["name", "version"],
    "model_version_tags": ["name", "version", "key"],
    "registry_events": ["name", "event_id"],
}


@pytest.fixture(scope="class")
def registry(tmp_path_factory):
    """(folder of a lake, what the server said of its registry): changed and deleted between two flushes."""
    server = Server(tmp_path_factory.mktemp("registry")).start()
    try:
        yield server.lake, registry_workload(server)
    finally:
        server.kill()


def registry_workload(server):
    """Some registry, flushed; answers what the server says of it."""
    api = Api(server.uri)
    run = api.create_run(api.create_experiment("e"))
    model = api.post("logged-models", experiment_id="0", name="forest", source_run_id=run)["model"]["info"]["model_id"]
    for name in ("forest", "tree", "gone"):
        create_model(api, name, description=f"{name} é", tags=[pair("team", "x"), pair("old", "1")])
        create_version(api, name, f"runs:/{run}/{name}", run_id=run, tags=[pair("a", "1"), pair("b", "1")])
    server.flush()
    create_version(api, "forest", f"models:/{model}", model_id=model, description="d", run_link="http://x")
    create_version(api, "forest", "models:/forest/1")
    for alias, version in (("champion", 1), ("champion", 2), ("dropped", 3), ("next", 1)):
        set_alias(api, "forest", alias, version)
    transition(api, "forest", 1, "Production")
    transition(api, "forest", 2, "Production", archive_existing_versions=True)
    delete_version(api, "forest", 3)
    api.delete("registered-models/delete-tag", name="forest", key="old")
    api.delete("model-versions/delete-tag", name="forest", version="1", key="b")
    api.post("registered-models/rename", name="tree", new_name="bush")
    api.delete("registered-models/delete", name="gone")
    said = {
        "run": run,
        "model": model,
        "models": {found["name"]: found for found in search_models(api)},
        "versions": {(found["name"], int(found["version"])): found for found in search_versions(api)},
        "events": {name: history(api, name) for name in ("forest", "tree", "bush", "gone")},
    }
    assert get_model(api, "bush") == said["models"]["bush"]
    server.flush()
    return said


@pytest.mark.parametrize("reader", READERS)
class TestRegistry:
    def rows(self, registry, reader, table):
        return keyed(read(reader, registry[0], table), *REGISTRY[table])

    def test_models(self, registry, reader):
        said = registry[1]["models"]
        rows = self.rows(registry, reader, "registered_models")
        assert {key[0] for key in rows} == set(said) == {"forest", "bush"}
        for name, model in said.items():
            row = rows[(name,)]
            assert row["description"] == model["description"]
            assert milliseconds(row["creation_time"]) == model["creation_timestamp"]
            assert milliseconds(row["last_update_time"]) == model["last_updated_timestamp"]
        # The highest number ever given, though that version is gone.
        assert {name: rows[(name,)]["last_version"] for name in said} == {"forest": 3, "bush": 1}
        tags = self.rows(registry, reader, "registered_model_tags")
        assert {key: row["value"] for key, row in tags.items()} == {
            (name, key): value for name, model in said.items() for key, value in pairs(model["tags"]).items()
        }
        assert ("forest", "old") not in tags and ("bush", "old") in tags
        aliases = self.rows(registry, reader, "registered_model_aliases")
        assert {key: row["version"] for key, row in aliases.items()} == {
            ("forest", "champion"): 2,
            ("forest", "next"): 1,
        }

    def test_versions(self, registry, reader):
        said = registry[1]["versions"]
        rows = self.rows(registry, reader, "model_versions")
        assert set(rows) == set(said) == {("forest", 1), ("forest", 2), ("bush", 1)}
        for key, version in said.items():
            row = rows[key]
            for column in ("source", "status", "current_stage"):
                assert row[column] == version[column], column
            for column in ("run_id", "run_link", "description"):
                assert (row[column] or "") == version[column], column
            assert row["model_id"] == version.get("model_id")
            assert milliseconds(row["creation_time"]) == version["creation_timestamp"]
            assert milliseconds(row["last_update_time"]) == version["last_updated_timestamp"]
        assert {key: row["current_stage"] for key, row in rows.items()} == {
            ("forest", 1): "Archived",
            ("forest", 2): "Production",
            ("bush", 1): "None",
        }
        of_model = rows[("forest", 2)]
        assert (of_model["model_id"], of_model["run_id"]) == (registry[1]["model"], registry[1]["run"])
        assert registry[1]["model"] in of_model["storage_location"]
        tags = self.rows(registry, reader, "model_version_tags")
        assert {key: row["value"] for key, row in tags.items()} == {
            (*version, key): value for version, found in said.items() for key, value in pairs(found.get("tags")).items()
        }
        assert ("forest", 1, "b") not in tags and ("bush", 1, "b") in tags

    def test_events(self, registry, reader):
        """Each once, also those of the deleted; the table tells what the server tells."""
        rows = self.rows(registry, reader, "registry_events")
        said = {(event["name"], event["event_id"]): event for of in registry[1]["events"].values() for event in of}
        assert set(rows) == set(said)
        for key, event in said.items():
            row = rows[key]
            assert milliseconds(row["time"]) == event["time"]
            assert row["action"] == event["action"]
            assert row["version"] == (int(event["version"]) if "version" in event else None)
            for column in ("actor", "subject", "old_value", "new_value", "comment"):
                assert row[column] == event.get(column), column
        assert {row["action"] for row in rows.values() if row["name"] == "gone"} == {
            "model_created",
            "version_created",
            "model_deleted",
        }

    def test_champion_by_sql(self, registry, reader):
        """The question a table answers and no other route does: which runs are behind the aliases."""
        import duckdb
        import pandas

        aliases, versions = (
            read(reader, registry[0], table) for table in ("registered_model_aliases", "model_versions")
        )
        connection = duckdb.connect()
        connection.register("aliases", pandas.DataFrame(aliases))
        connection.register("versions", pandas.DataFrame(versions))
        found = connection.sql(
            "SELECT alias, run_id, current_stage FROM aliases JOIN versions USING (name, version) ORDER BY alias"
        ).fetchall()
        run = registry[1]["run"]
        assert found == [("champion", run, "Production"), ("next", run, "Archived")]


class TestStateOverTime:
    def test_updates_replace_and_deletes_remove(self, own_server):
        """Several flushes over the same rows: still one row a key, with the newest value."""
        api = Api(own_server.uri)
        experiment_id = api.create_experiment("e")
        runs = [api.create_run(experiment_id) for _ in range(8)]
        for turn in range(5):
            for index, run_id in enumerate(runs):
                tags = [pair("turn", str(turn)), pair(f"only {turn}", "1")]
                assert api.log_batch(run_id, metrics=[metric("m", turn / 2, turn, turn)], tags=tags).status == 200
                if turn:
                    api.post("runs/delete-tag", run_id=run_id, key=f"only {turn - 1}")
                if index % 2:
                    api.post(
                        "runs/update", run_id=run_id, run_name=f"name {turn}", status="FINISHED", end_time=turn + 1
                    )
            own_server.flush()
            rows = keyed(read("deltalake", own_server.lake, "runs"), "run_id")
            tags = keyed(read("deltalake", own_server.lake, "tags"), "run_id", "key")
            latest = keyed(read("deltalake", own_server.lake, "latest_metrics"), "run_id", "key")
            assert {key[0] for key in rows} == set(runs)
            for index, run_id in enumerate(runs):
                assert {k: row["value"] for (r, k), row in tags.items() if r == run_id and k != "mlflow.runName"} == {
                    "turn": str(turn),
                    f"only {turn}": "1",
                }
                if index % 2:
                    assert rows[(run_id,)]["run_name"] == f"name {turn}"
                row = latest[(run_id, "m")]
                assert (row["value"], row["count"], row["sum"]) == (
                    turn / 2,
                    turn + 1,
                    sum(t / 2 for t in range(turn + 1)),
                )
            assert len(read("deltalake", own_server.lake, "metrics")) == len(runs) * (turn + 1)

    def test_a_point_sent_again_after_a_flush_counts_once(self, own_server):
        api = Api(own_server.uri)
        run_id = api.create_run(api.create_experiment("e"))
        batch = [metric("m", step / 4, step, step) for step in range(10)]
        for _ in range(3):
            assert api.log_batch(run_id, metrics=batch).status == 200
            own_server.flush()
            assert len(api.history(run_id, "m")) == 10
        own_server.restart()
        api.close()
        assert len(api.history(run_id, "m")) == 10
        (row,) = read("deltalake", own_server.lake, "latest_metrics")
        assert (row["count"], row["sum"]) == (10, sum(range(10)) / 4)

    def test_nothing_is_written_that_nobody_asked_for(self, own_server):
        """Idle flushes make no new versions."""
        from deltalake import DeltaTable

        api = Api(own_server.uri)
        api.create_run(api.create_experiment("e"))
        own_server.flush()
        before = {p.name: DeltaTable(str(p)).version() for p in (own_server.lake / "tables").iterdir()}
        for _ in range(3):
            own_server.flush()
        after = {p.name: DeltaTable(str(p)).version() for p in (own_server.lake / "tables").iterdir()}
        assert after == before


def test_times_are_utc_microseconds(own_server):
    api = Api(own_server.uri)
    time = 1_700_000_000_123
    run_id = api.create_run(api.create_experiment("e"), start_time=time)
    api.log_batch(run_id, metrics=[metric("m", 1.0, time, 0)])
    own_server.flush()
    wanted = datetime.datetime(2023, 11, 14, 22, 13, 20, 123000, tzinfo=datetime.UTC)
    (row,) = read("deltalake", own_server.lake, "runs")
    assert row["start_time"] == wanted
    (point,) = read("deltalake", own_server.lake, "metrics")
    assert point["timestamp"] == wanted


def test_artifacts_lie_where_people_look(own_server):
    api = Api(own_server.uri)
    experiment_id = api.create_experiment("e")
    run_id = api.create_run(experiment_id)
    path = f"{experiment_id}/{run_id}/artifacts/sub/file.txt"
    assert api.request("PUT", f"{ARTIFACTS}/{path}", b"text").status == 200
    assert (own_server.lake / "artifacts" / path).read_bytes() == b"text"
