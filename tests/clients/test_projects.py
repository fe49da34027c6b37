"""`runlake run`: what it tells the server, what it takes from where, and how it ends."""

import ast
import os
import shlex
import signal
import subprocess
import sys
import time
import zipfile

import pytest
from support.api import Api, pair
from support.projects import Runner, commit, git, params, status, tags

pytestmark = pytest.mark.runlake

SHOW = "import os, sys\nprint(sys.argv[1:])\nprint(os.environ['MLFLOW_RUN_ID'], os.environ['MLFLOW_EXPERIMENT_ID'])\n"
DEADLINE = 60


@pytest.fixture
def runner(api, name, tmp_path):
    return Runner(api, tmp_path, name, api.create_experiment(name))


def until(condition):
    """Waits for something that is to come."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("it never came")


def test_the_stock_client_says_the_same(runner):
    """Params, tags, status, and what the program sees, of one project run by both."""
    text = """
name: both
entry_points:
  main:
    parameters:
      a: {type: string, default: it}
      rate: {type: float, default: 1.0e-3}
      small: {default: 1e-3}
      flag: {default: yes}
      octal: {default: 010}
      data: path
      where: {type: uri, default: "http://h/p"}
    command: "python show.py {a} --rate={rate} {small} {flag} {octal} {data} {where} {{x}}"
"""
    project = runner.project("both", text, show__py=SHOW, data__csv="1,2")
    commit(project)
    git(project, "remote", "add", "origin", "https://ann:secret@example.com/both.git")
    arguments = ["both", "-P", "data=both/data.csv", "-P", "z=1", "-P", "more=2", "--run-name", "same"]
    ours = runner.good(*arguments)
    stock = subprocess.run(
        [sys.executable, "-m", "mlflow", "run", "--env-manager", "local", *arguments],
        cwd=runner.folder,
        env=runner.environment(),
        capture_output=True,
        text=True,
    )
    assert stock.returncode == 0, stock.stderr
    theirs = runner.last()
    assert ours["info"]["run_id"] != theirs["info"]["run_id"]
    assert (params(ours), tags(ours)) == (params(theirs), tags(theirs))
    assert tags(ours)["mlflow.source.git.repoURL"] == "https://example.com/both.git"
    assert status(ours) == status(theirs) == "FINISHED"
    seen = runner.artifact(ours).splitlines()
    assert seen[0] in stock.stdout
    assert seen[1] == f"{ours['info']['run_id']} {runner.experiment_id}"


def test_values_are_logged_as_they_are_and_never_run(runner):
    """MLflow logs them with the quotes of the shell."""
    text = 'entry_points:\n  main:\n    parameters: {p: string}\n    command: "python show.py {p} \\"x{p}\\""\n'
    project = runner.project("quoted", text, show__py=SHOW)
    for value in ["a b", "$(touch PWNED)", "`touch PWNED`", "'; touch PWNED; '", '"; touch PWNED; "', "\n touch PWNED", ""]:
        run = runner.good(project, "-P", f"p={value}", "-P", f"q={value}")
        assert params(run) == {"p": value, "q": value}
        seen = ast.literal_eval(runner.artifact(run).splitlines()[0])
        assert seen == [value, f"x{shlex.quote(value)}", "--q", value]
    assert not list(runner.folder.rglob("PWNED"))


def test_output_is_an_artifact_while_the_run_goes_on(runner):
    text = 'entry_points:\n  main: {command: "echo begun; echo aside >&2; until [ -e done ]; do sleep 0.05; done; echo over"}\n'
    project = runner.project("live", text)
    process = runner.popen("run", project)
    run = until(lambda: next(iter(runner.runs()), None))
    shown = until(lambda: runner.artifact(run))
    assert "begun" in shown and "over" not in shown
    assert status(runner.last()) == "RUNNING"
    (project / "done").touch()
    output, errors = process.communicate(timeout=DEADLINE)
    assert (process.returncode, output) == (0, "begun\nover\n"), errors
    assert "aside\n" in errors
    assert sorted(runner.artifact(run).splitlines()) == ["aside", "begun", "over"]
    assert status(runner.last()) == "FINISHED"


def test_the_exit_status_is_the_runs(runner):
    for command, why in [("exit 7", "exit code 7"), ("kill -9 $$", "signal 9"), ("no-such-program-at-all", "exit code 127")]:
        project = runner.project(f"p{len(runner.runs())}", f'entry_points:\n  main: {{command: "{command}"}}\n')
        answer = runner.run(project)
        assert answer.returncode == 1 and why in answer.stderr, answer.stderr
        run = runner.last()
        assert status(run) == "FAILED" and run["info"]["end_time"] >= run["info"]["start_time"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_stops_everything(runner, number):
    text = 'entry_points:\n  main: {command: "sleep 600 & echo $! > pid; echo begun; wait"}\n'
    project = runner.project("stopped", text)
    process = runner.popen("run", project)
    assert process.stdout.readline() == "begun\n"
    process.send_signal(number)
    process.communicate(timeout=DEADLINE)
    assert process.returncode == 130
    assert status(runner.last()) == "KILLED"
    pid = int((project / "pid").read_text())
    until(lambda: not os.path.exists(f"/proc/{pid}"))


@pytest.mark.parametrize("wishes", [1, 2])
@pytest.mark.parametrize("entry", ["main", "wrapped.py"])
def test_stopping_stops_runs_within_the_run(runner, entry, wishes):
    """The one inside says itself how it ended, also where a program between the two ends first."""
    wrapper = "import os, subprocess\nsubprocess.run([os.environ['RUNLAKE_BIN'], 'run', '.', '-e', 'inner.py'])\n"
    inner = "import signal, os, time\nsignal.signal(signal.SIGINT, lambda *_: None)\nprint('begun', os.getpid(), flush=True)\n" + "time.sleep(1)\n" * 600
    text = 'entry_points:\n  main: {command: "$RUNLAKE_BIN run . -e inner.py"}\n'
    project = runner.project("outer", text, wrapped__py=wrapper, inner__py=inner)
    process = runner.popen("run", project, "-e", entry)
    while not (line := process.stdout.readline()).startswith("begun"):
        assert line, process.communicate()
    for _ in range(wishes):
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    process.communicate(timeout=DEADLINE)
    assert process.returncode == 130
    assert [status(run) for run in runner.runs()] == ["KILLED"] * 2
    until(lambda: not os.path.exists(f"/proc/{line.split()[1]}"))


def test_scripts_and_directories_without_a_file(runner):
    project = runner.project("bare", show__py=SHOW, say__sh='echo "said $1 $2"')
    run = runner.good(project, "-e", "show.py", "-P", "a=1")
    assert runner.artifact(run).startswith("['--a', '1']")
    run = runner.good(project, "-e", "say.sh", "-P", "a=1")
    assert runner.artifact(run) == "said --a 1\n"
    assert tags(run)["mlflow.project.entryPoint"] == "say.sh"
    assert "mlflow.project.env" not in tags(run)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["-e", "nope"], "it has main, other"),
        (["-P", "n=x"], "n is to be a whole number"),
        ([], "n is missing"),
        (["-P", "n"], "has no ="),
        (["-P", "n=1", "-v", "v1"], "in no git repository"),
        (["-P", "n=1", "-b", "nope"], "runlake-backend-nope"),
        (["-P", "n=1", "--env-manager", "poetry"], "virtualenv"),
        (["-P", "n=1", "-c", "{broken"], "line 1, column 2"),
        (["-P", "n=1", "--env-manager", "docker"], "names no docker image"),
    ],
)
def test_what_is_wrong_is_told_before_there_is_a_run(runner, arguments, part):
    text = "entry_points:\n  main: {command: 'echo {n}', parameters: {n: int}}\n  other: {command: 'true'}\n"
    answer = runner.run(runner.project("p", text), *arguments)
    assert answer.returncode == 2 and part in answer.stderr, answer.stderr
    assert runner.runs() == []


def test_faults_of_files_have_line_and_column(runner):
    for number, (text, part) in enumerate(
        [("name: x\n  bad: [\n", "line 2, column 6"), ("entry_points:\n  main: {}\n", "line 2, column 9")]
    ):
        answer = runner.run(runner.project(f"p{number}", text))
        assert answer.returncode == 2 and part in answer.stderr, answer.stderr


def test_a_path_that_is_not_there_fails_the_run(runner):
    text = "entry_points:\n  main: {command: 'cat {p}', parameters: {p: path}}\n"
    project = runner.project("p", text, inner__txt="inner")
    answer = runner.run(project, "-P", "p=gone.txt")
    assert answer.returncode == 1 and "p: there is no file or folder" in answer.stderr
    assert status(runner.last()) == "FAILED"
    assert runner.artifact(runner.good(project, "-P", "p=inner.txt")) == "inner"


def test_files_of_other_runs_are_fetched(runner, api):
    maker = runner.project("maker", "entry_points:\n  main: {command: 'echo made'}\n")
    made = runner.good(maker)["info"]["run_id"]
    text = "entry_points:\n  main: {command: 'cat {p} {d}/stdout.txt; echo {p}', parameters: {p: path, d: path}}\n"
    project = runner.project("taker", text)
    store = runner.folder / "store"
    arguments = ["-P", f"p=runs:/{made}/logs/stdout.txt", "-P", f"d=runs:/{made}/logs", "--storage-dir", store]
    run = runner.good(project, *arguments)
    lines = runner.artifact(run).splitlines()
    assert lines[:2] == ["made", "made"] and lines[2].startswith(str(store))
    answer = runner.run(project, "-P", "p=s3://bucket/x", "-P", "d=.")
    assert answer.returncode == 1 and "is not fetched" in answer.stderr
    answer = runner.run(project, "-P", f"p=runs:/{made}/gone.txt", "-P", "d=.")
    assert answer.returncode == 1 and "gone.txt" in answer.stderr


def test_git_and_zip(runner):
    project = runner.project("repository")
    (project / "sub").mkdir()
    (project / "sub/MLproject").write_text("entry_points:\n  main: {command: 'cat said'}\n")
    (project / "sub/said").write_text("one")
    first = commit(project)
    git(project, "tag", "v1")
    git(project, "checkout", "--quiet", "-b", "dev")
    (project / "sub/said").write_text("two")
    second = commit(project)
    uri = f"git+file://{project}#sub"
    for version, said, commit_id in [("v1", "one", first), ("dev", "two", second), (first[:10], "one", first)]:
        run = runner.good(uri, "-v", version)
        assert runner.artifact(run) == said
        assert tags(run)["mlflow.source.git.commit"] == commit_id
        assert tags(run)["mlflow.source.name"] == uri
        assert tags(run).get("mlflow.source.git.branch") == ("dev" if version == "dev" else None)
    (project / "sub/said").write_text("three")
    answer = runner.run(project / "sub")
    assert "not committed" in answer.stderr
    assert tags(runner.last())["runlake.source.dirty"] == "true"
    assert "is_dirty" not in tags(runner.good(f"{project}#sub", "-v", "v1"))
    for arguments, part in [((uri, "-v", "gone"), "v1"), ((f"git+file://{project}#no",), "no directory"), (("gone",), "no project")]:
        answer = runner.run(*arguments)
        assert answer.returncode != 0 and part in answer.stderr, answer.stderr
    archive = runner.folder / "p.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("MLproject", "entry_points:\n  main: {command: 'echo zipped'}\n")
    assert runner.artifact(runner.good(archive)) == "zipped\n"
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("../evil", "x")
    answer = runner.run(archive)
    assert answer.returncode == 1 and "leads out" in answer.stderr
    assert not (runner.folder / "evil").exists()


def test_runs_within_a_run_are_its_children(runner, api):
    project = runner.project(
        "outer",
        """
entry_points:
  main: {command: "$RUNLAKE_BIN run . -e step -P x=1 && $RUNLAKE_BIN run . -e step -P x=2"}
  step: {command: "echo step {x}", parameters: {x: int}}
""",
    )
    outer = runner.good(project)
    children = [run for run in runner.runs() if run["info"]["run_id"] != outer["info"]["run_id"]]
    assert [tags(run)["mlflow.parentRunId"] for run in children] == [outer["info"]["run_id"]] * 2
    assert sorted(params(run)["x"] for run in children) == ["1", "2"]
    answer = runner.run(project, "-e", "step", "-P", "x=1", MLFLOW_RUN_ID="0" * 32)
    assert answer.returncode == 2 and "MLFLOW_RUN_ID" in answer.stderr


def test_a_run_that_is_there_is_used(runner, api):
    run_id = api.create_run(runner.experiment_id, tags=[pair("kept", "1")])
    project = runner.project("p", "entry_points:\n  main: {command: 'echo $MLFLOW_RUN_ID'}\n")
    answer = runner.run(project, "--run-id", run_id)
    assert answer.stdout == f"{run_id}\n", answer.stderr
    [run] = runner.runs()
    assert status(run) == "FINISHED" and tags(run)["kept"] == "1" and tags(run)["mlflow.source.type"] == "PROJECT"
    # Whoever made it waits for its end.
    assert runner.run(project, "--run-id", run_id, "-e", "nope").returncode == 2
    assert status(runner.last()) == "FAILED"


def test_a_status_the_program_sets_stays(runner, api):
    program = (
        "import os, json, urllib.request as u\n"
        "body = json.dumps({'run_id': os.environ['MLFLOW_RUN_ID'], 'status': 'FAILED'}).encode()\n"
        "url = os.environ['MLFLOW_TRACKING_URI'] + '/api/2.0/mlflow/runs/update'\n"
        "u.urlopen(u.Request(url, body, {'Content-Type': 'application/json'}))\n"
    )
    answer = runner.run(runner.project("p", own__py=program), "-e", "own.py")
    assert answer.returncode == 1 and "the program set it to FAILED" in answer.stderr
    assert status(runner.last()) == "FAILED"


def test_a_sweep_and_its_rest(runner, api):
    text = """
entry_points:
  main:
    parameters: {rate: float, kind: string, fixed: {default: x}}
    command: 'echo {rate} {kind} {fixed}; [ {kind} != bad ] || [ -e mended ]'
"""
    project = runner.project("swept", text)
    arguments = [project, "-P", "fixed=y", "--sweep", "rate=log:0.001..0.1/3", "--sweep", "kind=good,bad", "--jobs", "2"]
    answer = runner.run(*arguments)
    assert answer.returncode == 1 and "3 of 6 trials" in answer.stderr, answer.stderr
    [parent] = [run for run in runner.runs() if "mlflow.parentRunId" not in tags(run)]
    parent_id = parent["info"]["run_id"]
    trials = [run for run in runner.runs() if run is not parent and tags(run).get("mlflow.parentRunId") == parent_id]
    assert len(trials) == 6 and status(parent) == "FAILED" and params(parent) == {"fixed": "y"}
    assert {(params(run)["rate"], params(run)["kind"]) for run in trials} == {
        (rate, kind) for rate in ("0.001", "0.01", "0.1") for kind in ("good", "bad")
    }
    assert all(status(run) == ("FINISHED" if params(run)["kind"] == "good" else "FAILED") for run in trials)
    assert "[0] 0.001 good y\n" in answer.stdout

    (project / "mended").touch()
    answer = runner.run(project, "-P", "fixed=y", "--resume", parent_id)
    assert answer.returncode == 0, answer.stderr
    again = [run for run in runner.runs() if tags(run).get("mlflow.parentRunId") == parent_id]
    assert len(again) == 9 and sum(status(run) == "FINISHED" for run in again) == 6
    assert status(next(run for run in runner.runs() if run["info"]["run_id"] == parent_id)) == "FINISHED"
    other = runner.run(project, "--sweep", "rate=1,2", "--resume", parent_id)
    assert other.returncode == 2 and "is another one" in other.stderr
    assert runner.run(project, "--resume", again[0]["info"]["run_id"]).returncode == 2


def test_a_sweep_goes_on_with_what_it_was_begun_with(runner):
    text = """
entry_points:
  main: {parameters: {x: int, k: {default: 0}}, command: "echo main {x} {k}"}
  train: {parameters: {x: int, k: {default: 0}}, command: "[ {x} != 2 ] || [ -e mended ] || exit 1; echo train {x} {k}"}
"""
    project = runner.project("p", text)
    commit(project)
    assert runner.run(project, "-e", "train", "-P", "k=7", "-P", "more=a b", "--sweep", "x=1,2").returncode == 1
    [parent] = [run for run in runner.runs() if "mlflow.parentRunId" not in tags(run)]
    resume = ["--resume", parent["info"]["run_id"]]
    for other, part in [(["-P", "k=8"], "k=7"), (["-e", "main"], "--entry-point train"), (["-P", "z=1"], "no z")]:
        answer = runner.run(project, *resume, *other)
        assert answer.returncode == 2 and part in answer.stderr, answer.stderr
    (project / "mended").touch()
    commit(project)
    answer = runner.run(project, *resume, "-P", "k=7")
    assert answer.returncode == 0 and answer.stdout.startswith("[1] train 2 7 --more a b\n"), answer.stderr
    assert f"begun with commit {tags(parent)['mlflow.source.git.commit']}" in answer.stderr
    last = next(run for run in runner.runs() if status(run) == "FINISHED" and params(run).get("x") == "2")
    assert params(last) == {"x": "2", "k": "7", "more": "a b"} and tags(last)["mlflow.project.entryPoint"] == "train"


def test_a_sweep_that_is_interrupted_goes_on(runner):
    text = "entry_points:\n  main: {command: 'echo trial {x}; [ {x} -lt 2 ] || until [ -e go ]; do sleep 0.05; done', parameters: {x: int}}\n"
    project = runner.project("p", text)
    process = runner.popen("run", project, "--sweep", "x=0..3")
    while "trial 2" not in (line := process.stdout.readline()):
        assert line, process.communicate()
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130
    assert [line.split()[1] for line in output.splitlines()[-4:]] == ["FINISHED", "FINISHED", "KILLED", "not"]
    [parent] = [run for run in runner.runs() if "mlflow.parentRunId" not in tags(run)]
    assert status(parent) == "KILLED" and len(runner.runs()) == 4
    (project / "go").touch()
    answer = runner.run(project, "--resume", parent["info"]["run_id"])
    assert answer.returncode == 0 and "4 trials, 2 done" in answer.stderr, answer.stderr
    ended = [params(run)["x"] for run in runner.runs() if status(run) == "FINISHED" and params(run)]
    assert sorted(ended) == ["0", "1", "2", "3"]


def test_chance_follows_from_the_seed(runner):
    project = runner.project("p", "entry_points:\n  main: {command: 'true {x}', parameters: {x: float}}\n")
    seen = []
    for seed in ("1", "1", "2"):
        answer = runner.run(project, "--sweep", "x=0.0..1.0", "--trials", "3", "--seed", seed)
        assert answer.returncode == 0, answer.stderr
        [values] = [[params(run)["x"] for run in sorted(runner.runs()[-3:], key=lambda run: run["info"]["run_name"])]]
        seen.append(values)
    assert seen[0] == seen[1] != seen[2]
    assert runner.run(project, "--sweep", "x=0.0..1.0").returncode == 2


def test_a_server_that_is_not_there(runner):
    project = runner.project("p", "entry_points:\n  main: {command: 'true'}\n")
    answer = runner.run(project, "--server", "127.0.0.1:1")
    assert answer.returncode == 2 and "scheme" in answer.stderr
    answer = runner.run(project, "--server", "http://127.0.0.1:1")
    assert answer.returncode == 1 and "did not answer" in answer.stderr


def test_a_server_that_is_away_for_a_moment(own_server, name, tmp_path):
    """It is waited for: a run is not lost for a restart."""
    api = Api(own_server.uri)
    runner = Runner(api, tmp_path, name, api.create_experiment(name))
    text = 'entry_points:\n  main: {command: "echo begun; until [ -e done ]; do sleep 0.05; done"}\n'
    project = runner.project("p", text)
    process = runner.popen("run", project)
    assert process.stdout.readline() == "begun\n"
    own_server.stop()
    (project / "done").touch()
    own_server.start()
    _, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, errors
    assert status(runner.last()) == "FINISHED" and runner.artifact(runner.last()) == "begun\n"


def test_a_token_reaches_the_program(runner):
    project = runner.project("p", "entry_points:\n  main: {command: 'echo $MLFLOW_TRACKING_TOKEN'}\n")
    assert runner.run(project, RUNLAKE_TOKEN="abc").stdout == "abc\n"
