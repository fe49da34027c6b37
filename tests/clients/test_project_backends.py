"""Who else runs projects: batch systems, Kubernetes, programs of one's own; each played by a small program."""

import json
import signal

import pytest
from support.projects import Runner, status, tags

pytestmark = pytest.mark.runlake


@pytest.fixture
def runner(api, name, tmp_path):
    return Runner(api, tmp_path, name, api.create_experiment(name))


@pytest.fixture
def project(runner):
    text = "name: My Project\nentry_points:\n  main: {command: 'echo ran {p}; exit {code}', parameters: {p: string, code: {type: int, default: 0}}}\n"
    return runner.project("p", text)


def test_a_program_of_ones_own(runner, project):
    runner.program(
        "runlake-backend-echo",
        """#!/usr/bin/env python3
import json, pathlib, subprocess, sys
job = json.load(sys.stdin)
pathlib.Path(__file__).with_name("job.json").write_text(json.dumps(job))
ran = subprocess.run(["bash", "-c", job["command"]], cwd=job["project"]["directory"], capture_output=True, text=True)
print("aside", file=sys.stderr)
print(json.dumps({"log": ran.stdout}))
print("no message")
print(json.dumps({"result": job["config"]["result"], "message": "as told"}))
""",
    )
    run = runner.good(project, "-b", "echo", "-c", '{"result": "FINISHED"}', "-P", "p=a b")
    assert sorted(runner.artifact(run).splitlines()) == ["aside", "no message", "ran a b"]
    assert tags(run)["mlflow.project.backend"] == "echo"
    job = json.loads((runner.programs / "job.json").read_text())
    info = run["info"]
    assert job["protocol"] == 1
    assert (job["run"]["id"], job["run"]["experiment_id"]) == (info["run_id"], info["experiment_id"])
    assert job["project"]["directory"] == str(project) and job["project"]["needs"] == {"kind": "none"}
    assert job["parameters"] == {"p": "a b", "code": "0"} and job["command"] == "echo ran 'a b'; exit 0"
    assert job["variables"]["MLFLOW_RUN_ID"] == info["run_id"] and job["environment"]["manager"] == "local"
    for result, code, state in [("FAILED", 1, "FAILED"), ("KILLED", 130, "KILLED"), ("DONE", 1, "FAILED")]:
        config = runner.folder / "config.json"
        config.write_text(json.dumps({"result": result}))
        answer = runner.run(project, "-b", "echo", "-c", "config.json", "-P", "p=1")
        assert answer.returncode == code and status(runner.last()) == state, answer.stderr
    assert "to be FINISHED, FAILED or KILLED" in answer.stderr


def test_a_program_that_only_ends(runner, project):
    runner.program("runlake-backend-plain", "#!/bin/bash\ncat > /dev/null; echo words; exit $CODE\n")
    assert runner.artifact(runner.good(project, "-b", "plain", "-P", "p=1", CODE="0")) == "words\n"
    answer = runner.run(project, "-b", "plain", "-P", "p=1", CODE="3")
    assert answer.returncode == 1 and "runlake-backend-plain ended with exit code 3" in answer.stderr


SBATCH = """#!/bin/bash
printf '%s\\n' "$@" > "$(dirname "$0")/said"
echo "4711;cluster"
output=$(sed -n 's/^#SBATCH --output=//p' "${@: -1}")
bash "${@: -1}" > "$output" 2>&1
"""


def test_a_batch_system(runner, project):
    runner.program("sbatch", SBATCH)
    run = runner.good(project, "-b", "script", "-P", "p=a b")
    assert runner.artifact(run).splitlines() == ["4711;cluster", "ran a b"]
    said = (runner.programs / "said").read_text().split()
    assert said[:2] == ["--wait", "--parsable"]
    script = open(said[2]).read()
    assert "#SBATCH --job-name=my-project-" in script
    assert f"export MLFLOW_RUN_ID={run['info']['run_id']}\n" in script
    answer = runner.run(project, "-b", "script", "-P", "p=1", "-P", "code=5")
    assert answer.returncode == 1 and "exit code 5" in answer.stderr


def test_a_template_of_ones_own(runner, project):
    (project / "job.in").write_text("# {{ run_id }}\ncd {{directory}}\n{{environment}}\n{{command}}\n")
    config = {"template": "job.in", "submit": ["bash", "{script}"]}
    run = runner.good(project, "-b", "script", "-c", json.dumps(config), "-P", "p=1")
    assert runner.artifact(run) == "ran 1\n"
    (project / "job.in").write_text("\n {{nothing}}\n")
    answer = runner.run(project, "-b", "script", "-c", json.dumps(config), "-P", "p=1")
    assert answer.returncode == 1 and "job.in, line 2, column 2" in answer.stderr and "run_id" in answer.stderr
    answer = runner.run(project, "-b", "script", "-c", '{"submitt": []}', "-P", "p=1")
    assert "knows no \"submitt\"" in answer.stderr
    answer = runner.run(project, "-b", "script", "-c", '{"submit": ["no-such-batch"]}', "-P", "p=1")
    assert "no-such-batch, which is not on the PATH" in answer.stderr and status(runner.last()) == "FAILED"


def test_a_job_is_cancelled_with_its_run(runner, project):
    runner.program("sbatch", "#!/bin/bash\necho 4711\nexec sleep 600\n")
    runner.program("scancel", "#!/bin/bash\necho $@ > \"$(dirname \"$0\")/cancelled\"\n")
    process = runner.popen("run", project, "-b", "script", "-P", "p=1")
    assert process.stdout.readline() == "4711\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130 and status(runner.last()) == "KILLED"
    assert (runner.programs / "cancelled").read_text() == "4711\n"


KUBECTL = """#!/usr/bin/env python3
import json, pathlib, sys
here = pathlib.Path(__file__).parent
words = [word for word in sys.argv[1:] if not word.startswith("--")]
with open(here / "said", "a") as said:
    print(*sys.argv[1:], file=said)
if words[0] == "create":
    (here / "job.json").write_text(pathlib.Path(words[2]).read_text())
    print("job created")
elif words[0] == "get":
    asked = here / "asked"
    first = not asked.exists()
    asked.touch()
    done = {"conditions": [{"type": (here / "ends").read_text(), "status": "True"}]}
    print(json.dumps({"status": {"active": 1} if first else {"succeeded": 1, **done}}))
elif words[0] == "logs":
    print("from the pod")
"""


def test_kubernetes(runner, project):
    runner.program("kubectl", KUBECTL)
    (runner.programs / "ends").write_text("Complete")
    (project / "job.yaml").write_text(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {name: x, namespace: team, labels: {a: b}}\n"
        "spec:\n  backoffLimit: 1\n  template:\n    spec:\n      restartPolicy: Never\n      containers:\n"
        "      - name: x\n        image: x\n        command: [x]\n        env: [{name: KEPT, value: '1'}]\n"
    )
    config = {"kube-context": "here", "kube-job-template-path": "job.yaml", "image": "r/i:1"}
    run = runner.good(project, "-b", "kubernetes", "-c", json.dumps(config), "-P", "p=a b")
    assert sorted(runner.artifact(run).splitlines()) == ["from the pod", "job created"]
    job = json.loads((runner.programs / "job.json").read_text())
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert job["metadata"]["labels"] == {"a": "b"} and job["metadata"]["name"].startswith("my-project-")
    assert container["image"] == "r/i:1" and container["command"] == ["bash", "-c", "echo ran 'a b'; exit 0"]
    variables = {entry["name"]: entry["value"] for entry in container["env"]}
    assert variables["KEPT"] == "1" and variables["MLFLOW_RUN_ID"] == run["info"]["run_id"]
    said = (runner.programs / "said").read_text().splitlines()
    assert all(line.startswith("--context=here --namespace=team ") for line in said)

    (runner.programs / "ends").write_text("Failed")
    answer = runner.run(project, "-b", "kubernetes", "-c", '{"image": "i"}', "-P", "p=1")
    assert answer.returncode == 1 and "kubectl describe job" in answer.stderr
    answer = runner.run(project, "-b", "kubernetes", "-P", "p=1")
    assert answer.returncode == 1 and "needs an image" in answer.stderr


def test_kubernetes_cancelled(runner, project):
    runner.program("kubectl", KUBECTL.replace('print("from the pod")', 'print("up", flush=True); __import__("time").sleep(600)'))
    (runner.programs / "ends").write_text("Complete")
    process = runner.popen("run", project, "-b", "kubernetes", "-c", '{"image": "i"}', "-P", "p=1")
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130 and status(runner.last()) == "KILLED"
    assert "delete job my-project-" in (runner.programs / "said").read_text()


@pytest.mark.parametrize(
    ("template", "part"),
    [
        ("- a", "a map"),
        ("text", "a map"),
        ("metadata: [a]", "metadata"),
        ("kind: Job", "no container"),
        ("spec: {template: {spec: {containers: [{env: {A: b}}]}}}", "no list"),
    ],
)
def test_a_template_that_is_no_job_fails_the_run(runner, project, template, part):
    (runner.folder / "job.yaml").write_text(template)
    config = json.dumps({"image": "i", "kube-job-template-path": "job.yaml"})
    answer = runner.run(project, "-b", "kubernetes", "-c", config, "-P", "p=1")
    assert answer.returncode == 1 and "job template" in answer.stderr and part in answer.stderr, answer.stderr
    assert status(runner.last()) == "FAILED"


def test_an_empty_list_of_variables_is_filled(runner, project):
    runner.program("kubectl", KUBECTL)
    (runner.programs / "ends").write_text("Complete")
    (runner.folder / "job.yaml").write_text("metadata:\nspec: {template: {spec: {containers: [{env: }]}}}")
    config = json.dumps({"image": "i", "kube-job-template-path": "job.yaml"})
    run = runner.good(project, "-b", "kubernetes", "-c", config, "-P", "p=1")
    [container] = json.loads((runner.programs / "job.json").read_text())["spec"]["template"]["spec"]["containers"]
    assert {"name": "MLFLOW_RUN_ID", "value": run["info"]["run_id"]} in container["env"]


def test_what_an_earlier_job_wrote_is_not_this_ones(runner, project):
    runner.program("submit", f'#!/bin/bash\nsleep 0.6; bash "$1" > {runner.folder}/job.out\n')
    config = json.dumps({"submit": ["submit", "{script}"], "output": "job.out"})
    for value in ["first-and-longer", "second"]:
        run = runner.good(project, "-b", "script", "-c", config, "-P", f"p={value}")
        assert runner.artifact(run) == f"ran {value}\n"


def test_files_of_a_job_that_runs_stay(runner, project):
    runner.program("submit", '#!/bin/bash\necho 1; until [ -e "$2" ]; do sleep 0.05; done; bash "$1"\n')
    go = runner.folder / "go"
    config = json.dumps({"submit": ["submit", "{script}", str(go)]})
    process = runner.popen("run", project, "-b", "script", "-c", config, "-P", "p=1")
    assert process.stdout.readline() == "1\n"
    assert runner.command("env", "gc", "--all").returncode == 0
    go.touch()
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and output == "ran 1\n", errors
    assert runner.command("env", "gc", "--all").returncode == 0
    assert list((runner.cache / "jobs").iterdir()) == []
