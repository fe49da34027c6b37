"""Reports by the real binary: built from a server and from a lake, their checks, their faults, and the same again."""

import base64
import os
import re
import shutil
import subprocess
import time
from datetime import datetime, timezone
from html.parser import HTMLParser
from pathlib import Path

import pytest
import requests

from support.api import Api
from support.server import Server, binary

QUALITY = Path(__file__).parents[2] / "data" / "reports" / "quality"

# MLflow's server has no reports.
pytestmark = pytest.mark.runlake


def fill(uri, experiment, runs=4, best=0.9):
    """Runs whose accuracy grows over ten steps, the last run's to `best`."""
    api = Api(uri)
    made = api.create_experiment(experiment)
    for number in range(runs):
        run = api.create_run(made, run_name=f"run-{number}", start_time=1_700_000_000_000 + number * 1000)
        top = best - 0.05 * (runs - 1 - number)
        points = [
            {"key": "accuracy", "value": top * (step + 1) / 10, "timestamp": 1_700_000_000_000 + step, "step": step}
            for step in range(10)
        ]
        api.post("runs/log-batch", run_id=run, metrics=points, params=[{"key": "lr", "value": str(0.1 * number)}])
    return made


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A server with two experiments, flushed."""
    server = Server(tmp_path_factory.mktemp("report")).start()
    fill(server.uri, "birds")
    fill(server.uri, "o'; DROP <b>", best=0.5)
    server.flush()
    yield server
    server.stop()


def report(*args, status=0, cwd=None, zone="UTC"):
    done = subprocess.run([binary(), "report", *map(str, args)], capture_output=True, text=True, timeout=120, cwd=cwd,
                          env={**os.environ, "TZ": zone})
    assert done.returncode == status, done.stdout + done.stderr
    return done


def write(folder, text):
    folder.mkdir(exist_ok=True)
    (folder / "report.md").write_text(text)
    return folder


def now():
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def pictures(page):
    found = re.findall(r'<img src="data:image/svg\+xml;base64,([^"]+)" alt="([^"]*)"', page)
    return [(base64.b64decode(data).decode(), alt) for data, alt in found]


def test_a_page_is_the_same_from_a_server_and_from_its_lake_and_whenever_it_is_built(filled, tmp_path):
    moment, values = now(), ("-P", "experiment=birds")
    first = tmp_path / "first.html"
    told = report("build", QUALITY, "--server", filled.uri, "--as-of", moment, *values, "-o", first)
    assert told.stdout.strip() == str(first)
    fill(filled.uri, f"later-{time.monotonic_ns()}")
    Api(filled.uri).create_run(Api(filled.uri).get("experiments/get-by-name", experiment_name="birds")["experiment"]["experiment_id"])
    filled.flush()
    for source, zone in [(("--server", filled.uri), "Asia/Tokyo"), (("--lake", filled.lake), "America/New_York")]:
        again = tmp_path / "again.html"
        report("build", QUALITY, *source, "--as-of", moment, *values, "-o", again, zone=zone)
        assert again.read_bytes() == first.read_bytes(), source
    page = first.read_text()
    assert "<h1>Quality of birds</h1>" in page and "Of <strong>4 runs</strong> the best reached 0.9, 12.5 % above" in page
    assert re.search(r"<td>run-3</td><td class=\"number\">0\.900</td><td class=\"number\">9</td><td>2023-11-14 22:13:23</td>", page)
    assert "All checks hold." in page
    assert f"<dt>As of</dt><dd>{moment}</dd>" in page and re.search(r"<dt>Snapshot</dt><dd>position \d+</dd>", page)
    assert "<dt>baseline</dt><dd>0.8</dd>" in page
    drawn = pictures(page)
    assert [alt for _, alt in drawn] == ["The newest runs, and the baseline", "All runs", "When they were run"]
    assert all(svg.startswith("<svg") and "<script" not in svg for svg, _ in drawn)
    assert "run-3" in drawn[0][0]


def test_a_live_page_tells_when_it_was_built_and_a_time_to_come_is_refused(filled, tmp_path):
    page = tmp_path / "page.html"
    report("build", QUALITY, "--server", filled.uri, "-P", "experiment=birds", "-o", page)
    assert re.search(r"<dt>Built</dt><dd>\d{4}-\d\d-\d\dT[^<]* from what was there then</dd>", page.read_text())
    for wrong, told in [("2999-01-01T00:00:00Z", "yet to come"), ("yesterday", "no UTC time")]:
        assert told in report("build", QUALITY, "--as-of", wrong, status=2).stderr


def test_values_are_bound_and_shown_as_they_are(filled, tmp_path):
    page = tmp_path / "page.html"
    report("build", QUALITY, "--lake", filled.lake, "-P", "experiment=o'; DROP <b>", "-P", "baseline=0.5", "-o", page)
    assert "<h1>Quality of o&#39;; DROP &lt;b&gt;</h1>" in page.read_text()
    for args, told in [
        ((), "the parameter experiment (name of the experiment) has no default: give it with -P experiment=VALUE"),
        (("-P", "experiment=x", "-P", "top=many"), "the parameter top is an integer"),
        (("-P", "experiment=x", "-P", "to=1"), "no parameter to; it has baseline, experiment, metric, top"),
        (("-P", "experiment"), "NAME=VALUE"),
    ]:
        assert told in report("build", QUALITY, "--lake", filled.lake, *args, status=2).stderr


def test_checks_decide_the_exit_status(filled, tmp_path):
    common = ("check", QUALITY, "--server", filled.uri, "-P", "experiment=birds")
    good = report(*common)
    assert "ok      gate" in good.stdout and "3 checks hold" in good.stdout
    bad = report(*common, "-P", "baseline=0.99", status=1)
    assert "FAILED  gate, line" in bad.stdout and "the best run is not below the baseline" in bad.stdout
    assert "best = 0.9, 0.95 * baseline = 0.9405" in bad.stdout and "1 of 3 checks failed" in bad.stderr
    unknown = report(*common, "-P", "metric=nothing", status=1)
    assert "UNKNOWN gate" in unknown.stdout and "the answer has no rows" in unknown.stderr
    assert "has no checks" in report("check", write(tmp_path / "none", "# x\n"), "--lake", filled.lake, status=2).stderr
    # A failed check is no fault of a page.
    report("build", QUALITY, "--server", filled.uri, "-P", "experiment=birds", "-P", "baseline=0.99", "-o", tmp_path / "x.html")
    assert "1 of 3 checks failed." in (tmp_path / "x.html").read_text()


def test_what_is_wrong_says_so_and_the_rest_is_built(filled, tmp_path):
    folder = write(
        tmp_path / "faults",
        """# Faults

```sql name=wrong
SELECT run_nam FROM runs
```

```sql name=evil
DELETE FROM runs
```

```sql name=empty
SELECT run_id FROM runs WHERE run_name = 'nobody'
```

```sql name=missing
SELECT * FROM runs WHERE run_name = $nobody
```

```sql name=fine
SELECT run_name, 1 AS one FROM runs WHERE run_name = 'run-1' LIMIT 1
```

```vega-lite data=fine
{"mark": "bar", "encoding": {"x": {"field": "tow"}}}
```

```vega-lite data=fine
{"mark": "bar", "encoding": {"x": {"field": "one"}}, "data": {"url": "file:///etc/passwd"}}
```

```check
assert fine.one = 1
assert wrong.x = 1
```
""",
    )
    for source in [("--server", filled.uri), ("--lake", filled.lake)]:
        page = tmp_path / "page.html"
        done = report("build", folder, *source, "-o", page, status=2)
        assert "7 parts of the report could not be computed; the rest was built" in done.stderr
        assert "cell wrong, line 3: " in done.stderr
        text = page.read_text()
        for told in ["run_name", "only reads", "the answer has no rows", "nobody", "no column tow", "not from a url"]:
            assert told in text, told
        checked = report("check", folder, *source, status=2)
        assert "ok      check_8" in checked.stdout and "7 parts of the report could not be computed" in checked.stderr
        assert "<td>run-1</td>" in text and "<b>holds</b>" in text and "7 parts of this report" in text


def test_nobody_to_ask_is_told(tmp_path):
    for source, told in [(("--server", "http://127.0.0.1:9"), "did not answer"), (("--lake", tmp_path / "gone"), "no folder")]:
        done = report("check", QUALITY, "-P", "experiment=x", *source, status=2)
        assert told in done.stderr
    assert "cannot be read" in report("build", tmp_path / "gone", status=2).stderr


class Tags(HTMLParser):
    """What a browser would see: tags and attributes."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))


ATTACKS = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "</title></style><svg onload=alert(1)>",
    "[x](javascript:alert(1))",
    "![x](https://example.org/track.png)",
    "</script><!--",
    "{{ experiment }} `x` | y\n# z",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_was_logged_never_becomes_markup(own_server, tmp_path, attack):
    api = Api(own_server.uri)
    made = api.create_experiment(f"xss {abs(hash(attack))}", tags=[{"key": "x", "value": attack}])
    run = api.create_run(made, run_name=attack)
    api.post("runs/log-batch", run_id=run, params=[{"key": "p", "value": attack}],
             metrics=[{"key": "m", "value": 1, "timestamp": 1, "step": 1}])
    folder = write(
        tmp_path / "xss",
        """+++
title = "{{ runs.run_name }}"
[parameters.given]
+++
Hello {{ runs.run_name }} [there]({{ runs.value }}) and {{ given }}

```sql name=runs source caption="Runs"
SELECT r.run_name, p.value FROM runs r JOIN params p ON p.run_id = r.run_id WHERE p.value = $given
```

```vega-lite data=runs
{"title": "x", "mark": "bar", "encoding": {"x": {"field": "run_name"}, "color": {"field": "value"}}}
```

```check
assert runs.run_name = given
assert runs.run_name < 1
```
""",
    )
    page = tmp_path / "page.html"
    report("build", folder, "--server", own_server.uri, "-P", f"given={attack}", "-o", page, "-o", tmp_path / "page.md", status=2)
    tags = Tags()
    tags.feed(page.read_text())
    assert "could not be computed" in page.read_text()
    for tag, attributes in tags.seen:
        assert tag not in {"script", "iframe", "svg", "base", "form", "object", "embed", "link"}, tag
        assert not [name for name in attributes if name.startswith("on") or name == "srcdoc"], attributes
        assert not attributes.get("href", "#").lower().startswith(("javascript:", "data:")), attributes
        assert attributes.get("src", "data:image/").startswith("data:image/"), attributes
    for svg, _ in pictures(page.read_text()):
        inner = Tags()
        inner.feed(svg)
        assert {tag for tag, _ in inner.seen} <= {"svg", "style", "g", "path", "text", "rect", "line", "defs", "clippath"}, svg
    assert "\n# z" not in (tmp_path / "page.md").read_text()


def test_markdown_has_its_pictures_beside_it(filled, tmp_path):
    report("build", QUALITY, "--server", filled.uri, "-P", "experiment=birds", "-o", "out/README.md", cwd=tmp_path)
    text = (tmp_path / "out" / "README.md").read_text()
    assert text.startswith("# Quality of birds\n")
    assert "| run-3 | 0.900 | 9 | 2023-11-14 22:13:23 |" in text and "| --- | ---: | ---: | --- |" in text
    assert "![All runs](<README.files/spread.svg>)" in text
    assert (tmp_path / "out" / "README.files" / "spread.svg").read_text().startswith("<svg")
    assert "* **holds** summary.runs \\>= 3" in text
    assert "end it in .html, .md or .pdf" in report("build", QUALITY, "-o", "x.docx", status=2).stderr


@pytest.mark.skipif(not (shutil.which("chromium") or shutil.which("google-chrome")), reason="needs a Chromium")
def test_a_chromium_makes_pdf_and_png(filled, tmp_path):
    report("build", QUALITY, "--server", filled.uri, "-P", "experiment=birds", "-o", tmp_path / "q.pdf", "-o",
           tmp_path / "q.md", "--png")
    assert (tmp_path / "q.pdf").read_bytes().startswith(b"%PDF-")
    assert (tmp_path / "q.files" / "history.png").read_bytes().startswith(b"\x89PNG")
    assert "q.files/history.png" in (tmp_path / "q.md").read_text()


@pytest.fixture(scope="module")
def registered(filled):
    """Two versions of a model, the first of which is champion."""
    api = Api(filled.uri)
    made = fill(filled.uri, "for-models", runs=2)
    runs = sorted(api.post("runs/search", experiment_ids=[made])["runs"], key=lambda run: run["info"]["run_name"])
    api.post("registered-models/create", name="birds", description="Which *bird* is it?")
    for run in runs:
        id_ = run["info"]["run_id"]
        api.post("model-versions/create", name="birds", source=f"runs:/{id_}/model", run_id=id_)
    api.post("registered-models/alias", name="birds", alias="champion", version="1")
    return filled


@pytest.mark.parametrize(
    "template, values, wanted",
    [
        ("leaderboard", ["experiment=birds", "metric=accuracy", "better=higher"], ["run-3", "lr=0.3", "The check holds"]),
        ("curves", ["experiment=birds", "metric=accuracy"], ["run-0", "The check holds"]),
        ("model-card", ["model=birds", "version=2"], ["birds, version 2", "Which *bird* is it?", "accuracy", "version_created"]),
        ("regression-gate", ["model=birds", "metric=accuracy", "better=higher"], ["version 2 replace champion", "All checks hold"]),
    ],
)
def test_templates_give_reports(registered, tmp_path, template, values, wanted):
    folder = tmp_path / "report"
    told = report("new", template, folder, *[word for value in values for word in ("-P", value)])
    assert "runlake report serve" in told.stdout
    page = tmp_path / "page.html"
    done = report("build", folder, "--server", registered.uri, "-o", page)
    for text in wanted:
        assert text in page.read_text(), (text, done.stderr)
    assert "is there already" in report("new", template, folder, status=2).stderr


def test_the_gate_holds_a_worse_model_back(registered, tmp_path):
    folder = tmp_path / "gate"
    report("new", "regression-gate", folder, "-P", "model=birds", "-P", "metric=accuracy")
    bad = report("check", folder, "--server", registered.uri, "-P", "better=lower", "-P", "tolerance=0.01", status=1)
    assert "the candidate is not worse than the baseline" in bad.stdout
    report("check", folder, "--server", registered.uri, "-P", "better=higher")


@pytest.fixture
def served(own_server, tmp_path):
    """A report that is served, its folder, and the lake's server."""
    fill(own_server.uri, "live", runs=1)
    folder = write(tmp_path / "live", "# One\n\n```sql name=runs\nSELECT count(*) AS n FROM runs\n```\n")
    process = subprocess.Popen(
        [binary(), "report", "serve", str(folder), "--server", own_server.uri, "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )
    uri = process.stdout.readline().split()[0]
    yield uri, folder, own_server
    process.terminate()
    process.wait(20)


def eventually(look, wanted):
    deadline = time.monotonic() + 60
    while wanted not in look():
        assert time.monotonic() < deadline, look()
        time.sleep(0.1)


def test_a_served_report_follows_its_files_and_the_lake(served):
    uri, folder, server = served

    def page():
        return requests.get(uri, timeout=30).text

    assert "<h1 id=\"one\">One</h1>" in page() and '<td class="number">1</td>' in page()
    number = requests.get(uri + "number", timeout=30).text
    assert f'"{number}"' in requests.get(uri + "live.js", timeout=30).text
    write(folder, (folder / "report.md").read_text().replace("# One", "# Two"))
    eventually(page, "<h1 id=\"two\">Two</h1>")
    fill(server.uri, "more", runs=2)
    eventually(page, '<td class="number">3</td>')
    assert int(requests.get(uri + "number", timeout=30).text) > int(number)
    write(folder, "+++\nwrong\n")
    eventually(page, "front matter")
    refused = requests.get(uri, headers={"Host": "evil.example"}, timeout=30)
    assert refused.status_code == 403 and "Two" not in refused.text
