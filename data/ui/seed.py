"""Fills a lake with a demonstration: deterministic, over plain REST.

    python data/ui/seed.py http://127.0.0.1:5000 [--runs 200] [--steps 400]
"""

import argparse
import io
import json
import math
import random
import struct
import wave
import zlib
from urllib.parse import quote

import requests

START = 1_760_000_000_000
AUTHORS = ["ada", "grace", "katherine", "alan"]


class Server:
    def __init__(self, url):
        self.url = url.rstrip("/")
        self.session = requests.Session()

    def call(self, method, path, body=None, params=None):
        answer = self.session.request(method, f"{self.url}/api/2.0/mlflow/{path}", json=body, params=params, timeout=60)
        if answer.status_code >= 400:
            raise RuntimeError(f"{path}: {answer.status_code} {answer.text[:400]}")
        return answer.json()

    def post(self, path, body):
        return self.call("POST", path, body)

    def experiment(self, name, tags=None):
        found = self.session.get(f"{self.url}/api/2.0/mlflow/experiments/get-by-name", params={"experiment_name": name})
        if found.status_code == 200:
            return found.json()["experiment"]["experiment_id"]
        tags = [{"key": k, "value": v} for k, v in (tags or {}).items()]
        return self.post("experiments/create", {"name": name, "tags": tags})["experiment_id"]

    def run(self, experiment, name, start, tags=None):
        tags = {"mlflow.runName": name, **(tags or {})}
        body = {
            "experiment_id": experiment,
            "run_name": name,
            "start_time": start,
            "tags": [{"key": k, "value": str(v)} for k, v in tags.items()],
        }
        return self.post("runs/create", body)["run"]["info"]["run_id"]

    def finish(self, run, status, end):
        self.post("runs/update", {"run_id": run, "status": status, "end_time": end})

    def batch(self, run, metrics=(), params=None, tags=None):
        params = [{"key": k, "value": str(v)} for k, v in (params or {}).items()]
        tags = [{"key": k, "value": str(v)} for k, v in (tags or {}).items()]
        metrics = list(metrics)
        self.post("runs/log-batch", {"run_id": run, "params": params, "tags": tags, "metrics": metrics[:1000]})
        for at in range(1000, len(metrics), 1000):
            self.post("runs/log-batch", {"run_id": run, "metrics": metrics[at : at + 1000]})

    def upload(self, experiment, run, path, data):
        url = f"{self.url}/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/{quote(path)}"
        answer = self.session.put(url, data=data)
        if answer.status_code >= 400:
            raise RuntimeError(f"upload {path}: {answer.status_code} {answer.text[:300]}")


def point(key, value, step, time):
    return {"key": key, "value": value, "step": step, "timestamp": time}


def png(width, height, seed):
    rng = random.Random(seed)
    ax, ay, phase = rng.uniform(2, 7), rng.uniform(2, 7), rng.uniform(0, 6)
    rows = bytearray()
    for y in range(height):
        rows.append(0)
        for x in range(width):
            v = math.sin(ax * x / width + phase) * math.cos(ay * y / height) * 0.5 + 0.5
            rows += bytes((int(40 + 180 * v), int(60 + 120 * (1 - v)), int(140 + 90 * math.sin(3 * v) ** 2)))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(rows), 6)) + chunk(b"IEND", b"")


def wav():
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"".join(struct.pack("<h", int(9000 * math.sin(i / 8000 * 440 * 6.283))) for i in range(8000)))
    return out.getvalue()


def pdf(text):
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 420 240] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
    ]
    stream = f"BT /F1 22 Tf 40 150 Td ({text}) Tj ET".encode()
    objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
    objects.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    out, places = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    for place in places:
        out += b"%010d 00000 n \n" % place
    out += b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table)
    return bytes(out)


def table_files():
    """Parquet and Arrow files, where pyarrow is there to write them."""
    try:
        import pyarrow as pa
        import pyarrow.feather as feather
        import pyarrow.parquet as pq
    except ImportError:
        return {}
    rng = random.Random(7)
    count = 2000
    table = pa.table(
        {
            "id": pa.array(range(count), pa.int64()),
            "label": [rng.choice(["cat", "dog", "bird"]) for _ in range(count)],
            "predicted": [rng.choice(["cat", "dog", "bird"]) for _ in range(count)],
            "confidence": [round(rng.random(), 4) for _ in range(count)],
            "when": pa.array([START + i * 1000 for i in range(count)], pa.timestamp("ms")),
            "correct": [rng.random() > 0.2 for _ in range(count)],
        }
    )
    parquet, arrow = io.BytesIO(), io.BytesIO()
    pq.write_table(table, parquet, compression="zstd")
    feather.write_feather(table.slice(0, 200), arrow, compression="uncompressed")
    return {"tables/predictions.parquet": parquet.getvalue(), "tables/sample.arrow": arrow.getvalue()}


def curve(rng, steps, lr, depth, noise, spike=None):
    floor = 0.08 + 0.5 * abs(math.log10(lr) + 2.5) / 4 + 0.03 * abs(depth - 6)
    speed = 3.5 * min(1.5, math.sqrt(lr * 100))
    out = []
    for i in range(steps):
        t = i / steps
        value = floor + 2.2 * math.exp(-speed * t * 2.4) + rng.gauss(0, noise) * (1.1 - t)
        if spike is not None and i == spike:
            value += 1.5
        out.append(max(value, 0.001))
    return out


MLMODEL = """artifact_path: model
flavors:
  python_function:
    loader_module: mlflow.pytorch
    python_version: 3.11.4
  pytorch:
    model_data: data
    pytorch_version: 2.4.0
model_uuid: {uuid}
run_id: {run}
signature:
  inputs: '[{{"type": "tensor", "name": "image", "tensor-spec": {{"dtype": "float32", "shape": [-1, 3, 224, 224]}}}}, {{"type": "long", "name": "tile", "required": false}}]'
  outputs: '[{{"type": "tensor", "name": "logits", "tensor-spec": {{"dtype": "float32", "shape": [-1, 10]}}}}]'
  params: '[{{"name": "temperature", "type": "double", "default": 1.0, "shape": null}}]'
"""

NOTE = """## What this run is about

A **ResNet** with a warm-up of 500 steps; the *learning rate* is decayed with a cosine.

| split | images | share |
|---|---:|---:|
| train | 48,000 | 80 % |
| valid | 12,000 | 20 % |

- augmentation: `RandAugment(2, 9)`
- label smoothing 0.1
- [x] checked for leaks
- [ ] ask for more birds

> The spike at step 220 is a bad shard, not the optimiser.

```python
model = resnet(depth=50)
model.fit(train, epochs=90)
```

See [the paper](https://arxiv.org/abs/1512.03385).
"""


def vision(server, runs, steps):
    experiment = server.experiment(
        "vision/classification/resnet", {"mlflow.note.content": "Sweeps over **learning rate** and depth.", "team": "vision"}
    )
    made = []
    tables = table_files()
    for i in range(runs):
        rng = random.Random(1000 + i)
        lr = round(10 ** rng.uniform(-4, -1), 6)
        depth = rng.choice([2, 4, 6, 8])
        optimizer = rng.choice(["adam", "sgd", "adamw"])
        start = START + i * 1_200_000
        status = "FAILED" if i % 17 == 5 else "KILLED" if i % 41 == 7 else "RUNNING" if i >= runs - 2 else "FINISHED"
        length = steps if status == "FINISHED" else steps // 3
        run = server.run(
            experiment,
            f"{optimizer}-d{depth}-{i:03}",
            start,
            {"mlflow.user": AUTHORS[i % 4], "mlflow.source.name": "train.py", "mlflow.source.type": "LOCAL",
             "mlflow.source.git.commit": f"{rng.getrandbits(160):040x}", "stage": rng.choice(["baseline", "sweep", "final"]),
             "gpu": rng.choice(["a100", "h100"])},
        )
        loss = curve(rng, length, lr, depth, 0.05, spike=220 if i % 3 == 0 else None)
        metrics = []
        for step in range(length):
            time = start + step * 900
            metrics.append(point("train/loss", loss[step], step, time))
            if step % 10 == 0:
                valid = loss[step] * 1.12 + rng.gauss(0, 0.02)
                accuracy = max(0.0, min(0.99, 1 - valid / 2.6 + rng.gauss(0, 0.008)))
                metrics.append(point("valid/loss", valid, step, time))
                metrics.append(point("valid/accuracy", accuracy, step, time))
                metrics.append(point("train/learning_rate", lr * 0.5 * (1 + math.cos(math.pi * step / steps)), step, time))
                metrics.append(point("valid/f1", accuracy * 0.97, step, time))
            if step % 20 == 0 and i % 4 == 0:
                metrics.append(point("system/cpu_utilization_percentage", 55 + 30 * math.sin(step / 30) + rng.gauss(0, 4), step // 20, time))
                metrics.append(point("system/gpu_0_utilization_percentage", 90 + rng.gauss(0, 5), step // 20, time))
                metrics.append(point("system/system_memory_usage_megabytes", 18000 + step * 8 + rng.gauss(0, 90), step // 20, time))
        params = {"learning_rate": lr, "depth": depth, "optimizer": optimizer, "batch_size": rng.choice([32, 64, 128, 256]),
                  "dropout": round(rng.uniform(0, 0.5), 3), "seed": i, "dataset": "birds-v3", "epochs": 90, "augment": "randaugment"}
        server.batch(run, metrics, params)
        if i % 5 == 0:
            server.batch(run, tags={"mlflow.note.content": NOTE})
        server.post("runs/log-inputs", {"run_id": run, "datasets": [{
            "dataset": {"name": "birds", "digest": "b1rd5v3" if i % 2 else "b1rd5v2", "source_type": "http",
                        "source": json.dumps({"url": "https://example.org/birds.tar"}),
                        "schema": json.dumps({"mlflow_colspec": [{"name": "image", "type": "binary"}, {"name": "label", "type": "string"}]}),
                        "profile": json.dumps({"num_rows": 60000, "num_elements": 120000})},
            "tags": [{"key": "mlflow.data.context", "value": "train"}]}]})
        if status != "RUNNING":
            server.finish(run, status, start + length * 900)
        made.append((run, loss[-1], status))
    artifacts(server, experiment, made[0][0], tables)
    for i, (run, _, _) in enumerate(made[:3]):
        for step in (0, 100, 200):
            name = f"images/samples+step+{step}+timestamp+{START + step}+{i:08x}"
            server.upload(experiment, run, f"{name}.png", png(96, 72, 10 * i + step))
    return experiment, made


def artifacts(server, experiment, run, tables):
    rng = random.Random(3)
    files = {
        "images/activations.png": png(320, 220, 1),
        "images/attention.png": png(320, 220, 2),
        "images/chart.svg": b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 100"><rect width="200" height="100" fill="#eef"/>'
        b'<path d="M0 90 Q50 10 100 50 T200 20" stroke="#46c" fill="none" stroke-width="4"/></svg>',
        "report.html": b"<!doctype html><style>body{font-family:sans-serif;padding:24px}h1{color:#5b5bd6}</style><h1>Report</h1>"
        b"<p>Loss fell to <b>0.12</b>.</p><p id=x>scripts are off</p><script>document.getElementById('x').textContent='scripts ran in their own origin: '+origin</script>",
        "notes.md": NOTE.encode(),
        "config.json": json.dumps({"model": {"depth": 50, "width": 1.0}, "train": {"lr": 0.01, "steps": [1, 2, 3]}, "tags": ["a", "b"]}).encode(),
        "train.py": b"import torch\n\n\ndef train(model, data, lr=0.01):\n    optimizer = torch.optim.Adam(model.parameters(), lr=lr)\n"
        b"    for batch in data:\n        loss = model(batch)\n        loss.backward()\n        optimizer.step()\n    return model\n",
        "config.yaml": b"model:\n  depth: 50\n  width: 1.0\ntrain:\n  lr: 0.01\n",
        "tables/confusion.csv": ("label,predicted,count,note\n" + "\n".join(
            f'{a},{b},{rng.randint(0, 400)},"{a}, then {b}"' for a in ("cat", "dog", "bird") for b in ("cat", "dog", "bird"))).encode(),
        "logs/stdout.txt": "\n".join(f"[{i:05}] step={i} loss={2.2 * math.exp(-i / 200):.4f}" for i in range(3000)).encode(),
        "sound/tone.wav": wav(),
        "paper.pdf": pdf("runlake: a page of PDF"),
        "weights.bin": bytes(range(256)) * 40,
        "model/MLmodel": MLMODEL.format(uuid="8f2d1c", run=run).encode(),
        "model/requirements.txt": b"torch==2.4.0\nmlflow==3.17\n",
        **tables,
    }
    for path, data in files.items():
        server.upload(experiment, run, path, data)


def sweeps(server):
    experiment = server.experiment("tabular/churn/gradient-boosting", {"team": "growth"})
    parents = []
    for p in range(3):
        start = START + 40_000_000 + p * 5_000_000
        parent = server.run(experiment, f"sweep-{p + 1}", start, {"mlflow.user": AUTHORS[p]})
        best = 0
        for c in range(8):
            rng = random.Random(p * 100 + c)
            child = server.run(experiment, f"sweep-{p + 1}-trial-{c + 1}", start + c * 60_000,
                               {"mlflow.parentRunId": parent, "mlflow.user": AUTHORS[p]})
            leaves, rate = rng.choice([15, 31, 63, 127]), round(rng.uniform(0.01, 0.3), 3)
            auc = 0.74 + 0.12 * math.exp(-abs(rate - 0.08) * 6) + rng.gauss(0, 0.01)
            best = max(best, auc)
            server.batch(child, [point("auc", auc * (1 - math.exp(-(s + 1) / 8)), s, start + s * 1000) for s in range(40)]
                         + [point("logloss", 0.6 - 0.3 * auc * (1 - math.exp(-(s + 1) / 9)), s, start + s * 1000) for s in range(40)],
                         {"num_leaves": leaves, "learning_rate": rate, "boosting": "gbdt"})
            server.finish(child, "FINISHED", start + c * 60_000 + 55_000)
            parents.append((child, auc))
        server.batch(parent, [point("best_auc", best, 0, start)], {"trials": 8, "sampler": "tpe"})
        server.finish(parent, "FINISHED", start + 600_000)
    return experiment, parents


def models(server, experiment, made):
    best = sorted((run for run in made if run[2] == "FINISHED"), key=lambda run: run[1])[:4]
    name = "birds-classifier"
    if server.session.get(f"{server.url}/api/2.0/mlflow/registered-models/get", params={"name": name}).status_code == 200:
        return
    server.post("registered-models/create", {"name": name, "description": "Which bird is it? **ResNet** on birds-v3.",
                                             "tags": [{"key": "team", "value": "vision"}, {"key": "tier", "value": "1"}]})
    for number, (run, loss, _) in enumerate(best, 1):
        logged = server.post("logged-models", {"experiment_id": experiment, "name": "model", "source_run_id": run, "model_type": "pytorch",
                                               "params": [{"key": "depth", "value": "50"}], "tags": [{"key": "framework", "value": "torch"}]})
        model = logged["model"]["info"]
        server.call("PATCH", f"logged-models/{model['model_id']}", {"model_id": model["model_id"], "status": "LOGGED_MODEL_READY"})
        server.post("runs/outputs", {"run_id": run, "models": [{"model_id": model["model_id"], "step": 399}]})
        root = model["artifact_uri"].replace("mlflow-artifacts:/", "")
        for path, data in {"MLmodel": MLMODEL.format(uuid=model["model_id"], run=run).encode(), "requirements.txt": b"torch==2.4.0\n",
                           "data/model.pth": bytes(2048)}.items():
            server.session.put(f"{server.url}/api/2.0/mlflow-artifacts/artifacts/{root}/{path}", data=data)
        server.batch(run, [{**point("test/accuracy", 0.9 - loss / 4, 399, START), "model_id": model["model_id"]}])
        server.post("model-versions/create", {"name": name, "source": f"models:/{model['model_id']}", "run_id": run,
                                              "description": f"Candidate {number}, loss {loss:.3f}",
                                              "tags": [{"key": "validated", "value": "yes" if number < 4 else "no"}]})
    server.post("model-versions/transition-stage", {"name": name, "version": "1", "stage": "Archived", "archive_existing_versions": False})
    server.post("model-versions/transition-stage", {"name": name, "version": "2", "stage": "Production", "archive_existing_versions": False})
    server.post("model-versions/transition-stage", {"name": name, "version": "3", "stage": "Staging", "archive_existing_versions": False})
    for alias, version in (("champion", "2"), ("challenger", "3"), ("champion", "3"), ("previous", "2")):
        server.post("registered-models/alias", {"name": name, "alias": alias, "version": version})
    for other in ("churn-gbm", "search-ranker", "speech/keyword-spotter"):
        server.post("registered-models/create", {"name": other.replace("/", "-"), "description": f"Demonstration: {other}"})


def hostile(server):
    """Strings and files that must never run."""
    script = "<img src=x onerror=\"window.__xss=1\"><script>window.__xss=1</script>"
    experiment = server.experiment("probe/<b>xss</b>\"><script>window.__xss=1<", {})
    run = server.run(experiment, f"evil {script}", START, {"mlflow.user": script})
    note = f"{script}\n\n[click](javascript:window.__xss=1) ![x](javascript:window.__xss=1)\n\n<iframe srcdoc='<script>parent.__xss=1</script>'></iframe>\n\n[data](data:text/html,<script>1</script>)"
    server.batch(run, [point("evil metric", 1.0, 0, START)],
                 {"evil": script}, {"evil": script, "mlflow.note.content": note, "javascript.url": "javascript:window.__xss=1"})
    html = b"<script>try{parent.__xss=1}catch(e){} try{top.__xss=1}catch(e){} window.__inner=1</script><h1>evil</h1>"
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10" onload="window.__xss=1;parent.__xss=1"><script>window.__xss=1;parent.__xss=1</script><circle cx="5" cy="5" r="4"/></svg>'
    for path, data in {"evil.html": html, "evil.svg": svg, "evil.md": note.encode(), "evil.csv": f"a,b\n{script},=1+1\n".encode(),
                       "evil.json": json.dumps({"a": script}).encode(), "evil.txt": script.encode()}.items():
        server.upload(experiment, run, path, data)
    server.finish(run, "FINISHED", START + 5)
    return experiment, run


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:5000")
    parser.add_argument("--runs", type=int, default=160)
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    server = Server(options.url)
    experiment, made = vision(server, options.runs, options.steps)
    sweeps(server)
    models(server, experiment, made)
    evil_experiment, evil_run = hostile(server)
    for name in ("vision/segmentation/unet", "speech/keyword-spotter", "ranking/two-tower", "scratch"):
        empty = server.experiment(name)
        for i in range(3):
            run = server.run(empty, f"try-{i + 1}", START + i * 1000)
            server.batch(run, [point("loss", 1 / (s + 1 + i), s, START + s) for s in range(50)], {"lr": 0.1 * (i + 1)})
            server.finish(run, "FINISHED", START + 100_000)
    # More than the table fetches at first.
    nightly = server.experiment("ops/nightly")
    for i in range(420):
        server.run(nightly, f"night-{i + 1:03}", START + i * 60_000)
    server.experiment("empty/nothing-yet")
    gone = server.experiment("old/abandoned")
    try:
        server.post("experiments/delete", {"experiment_id": gone})
    except RuntimeError:
        pass
    print(json.dumps({"experiment": experiment, "run": made[0][0], "evil_experiment": evil_experiment, "evil_run": evil_run}))


if __name__ == "__main__":
    main()
