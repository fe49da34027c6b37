"""Artifacts by the stock client: files and folders, texts and dicts, listing, downloading, big files."""

import hashlib
import json
import os

import pytest

pytestmark = pytest.mark.both

BIG = 64 * 1024 * 1024


def listed(client, run_id, path=None):
    """Path to (is a folder, size); the client shows the size 0 as None."""
    return {
        file.path: (file.is_dir, None if file.is_dir else file.file_size or 0)
        for file in client.list_artifacts(run_id, path)
    }


@pytest.fixture
def files(tmp_path):
    """A small tree of files."""
    root = tmp_path / "tree"
    (root / "sub" / "deeper").mkdir(parents=True)
    (root / "a.txt").write_text("hello\n")
    (root / "empty").write_bytes(b"")
    (root / "sub" / "b.bin").write_bytes(bytes(range(256)) * 4)
    (root / "sub" / "deeper" / "ünï cödé & more + 100%.txt").write_text("naïve 🦀")
    return root


def test_one_file(client, run, files):
    client.log_artifact(run, files / "a.txt")
    client.log_artifact(run, files / "a.txt", "in/a folder")
    assert listed(client, run) == {"a.txt": (False, 6), "in": (True, None)}
    assert listed(client, run, "in") == {"in/a folder": (True, None)}
    assert listed(client, run, "in/a folder") == {"in/a folder/a.txt": (False, 6)}


def test_a_tree_comes_back(client, run, files, tmp_path):
    client.log_artifacts(run, files, "tree")
    assert listed(client, run, "tree") == {
        "tree/a.txt": (False, 6),
        "tree/empty": (False, 0),
        "tree/sub": (True, None),
    }
    target = tmp_path / "back"
    target.mkdir()
    client.download_artifacts(run, "tree", str(target))
    wanted = {path.relative_to(files): path.read_bytes() for path in files.rglob("*") if path.is_file()}
    got = {path.relative_to(target / "tree"): path.read_bytes() for path in target.rglob("*") if path.is_file()}
    assert got == wanted


def test_one_file_downloaded(client, run, files):
    client.log_artifacts(run, files)
    path = client.download_artifacts(run, "sub/deeper/ünï cödé & more + 100%.txt")
    with open(path, encoding="utf-8") as file:
        assert file.read() == "naïve 🦀"


def test_overwriting(client, run, files):
    client.log_artifact(run, files / "a.txt")
    (files / "a.txt").write_text("longer than before")
    client.log_artifact(run, files / "a.txt")
    assert listed(client, run) == {"a.txt": (False, 18)}
    with open(client.download_artifacts(run, "a.txt")) as file:
        assert file.read() == "longer than before"


def test_texts_and_dicts(tracking, client, run):
    client.log_text(run, "some text", "notes/text.txt")
    client.log_dict(run, {"a": [1, 2.5, None], "b": {"c": "ü"}}, "notes/data.json")
    client.log_dict(run, {"a": 1}, "notes/data.yaml")
    root = f"runs:/{run}/notes"
    assert tracking.artifacts.load_text(f"{root}/text.txt") == "some text"
    assert tracking.artifacts.load_dict(f"{root}/data.json") == {"a": [1, 2.5, None], "b": {"c": "ü"}}
    assert tracking.artifacts.load_text(f"{root}/data.yaml") == "a: 1\n"


def test_tables(tracking, client, run):
    client.log_table(run, {"q": ["a", "b"], "n": [1, 2]}, "table.json")
    client.log_table(run, {"q": ["c"], "n": [3]}, "table.json")
    frame = client.load_table(experiment_id=client.get_run(run).info.experiment_id, artifact_file="table.json")
    assert list(frame["q"]) == ["a", "b", "c"]
    tag = json.loads(client.get_run(run).data.tags["mlflow.loggedArtifacts"])
    assert tag == [{"path": "table.json", "type": "table"}]


@pytest.mark.runlake
def test_a_name_that_a_url_cannot_hold(tracking, client, run):
    """The client does not escape `#`; the run's folder of artifacts must not become a file."""
    with pytest.raises(Exception, match="(?i)#|invalid|400"):
        client.log_text(run, "x", "#n.txt")
    client.log_text(run, "x", "n.txt")
    assert [file.path for file in client.list_artifacts(run)] == ["n.txt"]


def test_nothing_there(client, run):
    assert client.list_artifacts(run) == []
    assert client.list_artifacts(run, "no/such/folder") == []
    with pytest.raises(Exception, match="(?i)failed to download|no such artifact|not found|does not exist"):
        client.download_artifacts(run, "nothing.txt")


def test_deleting(client, run, files):
    from mlflow.artifacts import list_artifacts
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    client.log_artifacts(run, files)
    repository = get_artifact_repository(client.get_run(run).info.artifact_uri)
    repository.delete_artifacts("sub")
    assert listed(client, run) == {"a.txt": (False, 6), "empty": (False, 0)}
    repository.delete_artifacts("a.txt")
    assert [file.path for file in list_artifacts(run_id=run)] == ["empty"]


def test_a_big_file_streams(client, run, tmp_path):
    """64 MiB up and down again; see test_memory_stays_flat for what the server may use meanwhile."""
    path = tmp_path / "big.bin"
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        for _ in range(BIG // (4 << 20)):
            block = os.urandom(4 << 20)
            digest.update(block)
            file.write(block)
    client.log_artifact(run, path)
    assert listed(client, run) == {"big.bin": (False, BIG)}
    path.unlink()
    back = client.download_artifacts(run, "big.bin")
    with open(back, "rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == digest.hexdigest()


def test_many_small_files(client, run, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for index in range(120):
        (folder / f"{index:03}.txt").write_text(str(index))
    client.log_artifacts(run, folder, "many")
    names = [file.path for file in client.list_artifacts(run, "many")]
    assert names == [f"many/{index:03}.txt" for index in range(120)]
