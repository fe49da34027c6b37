import { describe, expect, it } from "vitest";
import { type Run, toRun } from "../api/types";
import { previewOf } from "./artifacts";
import { areNumbers, cell, column, firstColumns, metricColumn, orderBy, varying } from "./columns";
import { parseCsv, toCsv } from "./csv";
import { diff } from "./diff";
import { interpolate, wantsLog } from "./field";
import { bytes, duration, fixed, numeric, short, when } from "./format";
import { group, quartiles, summary } from "./group";
import { atStep, correlation, imageOf } from "./images";
import { bundled, guarded, inWords, layout, told } from "./registry";
import { signatureOf } from "./signature";
import { identifier, tables, withoutExplain } from "./sqltext";
import { nested, pathTree } from "./tree";
import { timeline } from "./timeline";
import { readView, sharedViews, viewTag, writeView } from "./views";

const run = (id: string, patch: Partial<Run> = {}): Run => ({
  ...toRun({ info: { run_id: id, run_name: id, experiment_id: "1", status: "FINISHED", lifecycle_stage: "active", start_time: 0, end_time: 5 } }),
  ...patch,
});

describe("the view in the address", () => {
  it("comes back as it was written", () => {
    const view = readView(new URLSearchParams());
    const changed = {
      ...view, filter: "metrics.`a,b` < 1", sort: { id: "metrics.train/loss@min", descending: false }, columns: ["params.a,b", "metrics.x~y"], pinned: ["params.a,b"],
      groupBy: ["params.lr"], tree: true, varying: true, layout: "charts" as const, selected: ["r1", "r2"], draw: "selected" as const, flipped: ["r3"], x: "metric:train/epoch" as const,
      smoothing: 0.6, logX: true, logY: true, clip: true, bands: true, spread: "deviation" as const, metrics: "train", life: "all" as const,
      cards: [{ kind: "scatter" as const, columns: ["params.lr", "metrics.a;b"] }, { kind: "expression" as const, columns: ["max(`a,b`, `c`)"] }, { kind: "timeline" as const, columns: [] }], brush: { "metrics.a,b": [-1e-5, 2] as [number, number] },
    };
    const search = new URLSearchParams();
    for (const [key, value] of Object.entries(writeView(changed))) if (value !== null) search.set(key, value);
    expect(readView(new URLSearchParams(search.toString()))).toEqual(changed);
  });

  it("is kept in a tag under any name", () => {
    for (const name of ["only sgd", "a/b: ä & :2f:", "🙂"]) {
      expect(viewTag(name)).toMatch(/^[\w .:-]+$/);
      expect(sharedViews([{ key: viewTag(name), value: "?q=1" }])).toEqual([{ name, search: "?q=1" }]);
    }
    expect(sharedViews([{ key: "team", value: "?x" }, { key: "runlake.view.evil", value: "//evil.example" }, { key: "runlake.view.:ffffff:", value: "?" }])).toEqual([{ name: ":ffffff:", search: "?" }]);
  });

  it("leaves out what is as by default", () => {
    const written = writeView(readView(new URLSearchParams()));
    expect(Object.values(written).filter((value) => value !== null)).toEqual([]);
  });

  it("survives nonsense", () => {
    expect(readView(new URLSearchParams("draw=-5&smooth=abc&cards=foo(&brush==..&x=q&view=z&sort=")).smoothing).toBe(0);
  });

  it("knows no columns from columns by default", () => {
    expect(readView(new URLSearchParams({ cols: writeView({ columns: [] })["cols"]! })).columns).toEqual([]);
  });
});

describe("runs", () => {
  it("of blank names are called by their ids", () => {
    const named = (run_name: string) => toRun({ info: { run_id: "0123456789abcdef", run_name, experiment_id: "1", status: "FINISHED", lifecycle_stage: "active" } }).name;
    expect([named("  \t "), named(""), named(" a ")]).toEqual(["01234567", "01234567", " a "]);
  });
});

describe("columns", () => {
  it("have one name each", () => {
    expect(column("metrics.train/loss@min")).toEqual({ id: "metrics.train/loss@min", kind: "metrics", key: "train/loss", aggregate: "min" });
    expect(column(metricColumn("a.b", "last"))).toMatchObject({ key: "a.b", aggregate: "last" });
  });

  it("may be of metrics with an @ in their names", () => {
    expect(column("metrics.recall@10")).toMatchObject({ key: "recall@10", aggregate: "last" });
    expect(column("metrics.recall@10@max")).toMatchObject({ key: "recall@10", aggregate: "max" });
  });

  it("stay numbers when a run diverged", () => {
    expect(areNumbers([1, NaN, null, Infinity])).toBe(true);
    expect(areNumbers(["0.1", "nan", "-inf", "1e-3"])).toBe(true);
    expect(areNumbers(["0.1", "auto"])).toBe(false);
    expect(areNumbers([NaN, null])).toBe(false);
  });

  it("order as the server can", () => {
    expect(orderBy("metrics.train/loss@min", false)).toBe("metrics.`train/loss`.min ASC");
    expect(orderBy("params.lr", true)).toBe("params.lr DESC");
    expect(orderBy("attributes.user", true)).toBe("attributes.user_id DESC");
    expect(orderBy("attributes.dataset", true)).toBe("attributes.dataset DESC");
    expect(orderBy("attributes.experiment", true)).toBeNull();
  });

  it("leave out those that do not differ", () => {
    const runs = [run("a", { params: { lr: "1", same: "x" } }), run("b", { params: { lr: "2", same: "x" } })];
    expect(varying(["params.lr", "params.same", "params.none"], runs)).toEqual(["params.lr"]);
  });

  it("give values", () => {
    expect(cell(run("a"), column("attributes.duration"))).toBe(5);
    expect(cell(run("a", { metrics: { m: 2 } }), column("metrics.m"))).toBe(2);
    expect(cell(run("a"), column("metrics.m@min"))).toBeNull();
  });

  it("begin with metrics that people watch and params that differ", () => {
    const runs = [run("a", { params: { lr: "1", k: "x" }, metrics: { "system/cpu": 1, z: 1, "valid/loss": 2 } }), run("b", { params: { lr: "2", k: "x" }, metrics: { "test/rare": 1, z: 1 } }), run("c", { metrics: { z: 1, "valid/loss": 2 } })];
    expect(firstColumns(runs)).toEqual(["attributes.start_time", "attributes.duration", "metrics.z", "metrics.valid/loss", "metrics.test/rare", "params.k", "params.lr"]);
  });
});

describe("csv", () => {
  it("comes back as it was written", () => {
    const rows = [["a", 'quote "x"', "line\nbreak"], ["", "b,c", "é"]];
    expect(parseCsv(toCsv(["x", "y", "z"], rows))).toEqual([["x", "y", "z"], ...rows]);
  });
  it("takes other separators, marks and ends of lines", () => {
    expect(parseCsv("\ufeffa\tb\r\n1\t2", "\t")).toEqual([["a", "b"], ["1", "2"]]);
    expect(parseCsv("a\nb\nc\n", ",", 2)).toEqual([["a"], ["b"]]);
  });
});

it("tells what differs between runs", () => {
  const groups = diff([run("a", { params: { lr: "1", k: "x" }, metrics: { m: NaN } }), run("b", { params: { lr: "2", k: "x" }, metrics: { m: NaN } })]);
  const params = groups.find(({ name }) => name === "Params")!;
  expect(params.rows).toEqual([{ key: "k", values: ["x", "x"], differs: false }, { key: "lr", values: ["1", "2"], differs: true }]);
  expect(groups.find(({ name }) => name === "Metrics")!.rows[0]!.differs).toBe(false);
});

describe("trees", () => {
  it("make folders of slashes, and join those with one child", () => {
    const tree = pathTree(["a/b/c", "a/b/d", "x/y/z", "a"], (name) => name);
    expect(tree.map(({ name, size }) => [name, size])).toEqual([["a", 3], ["x/y/z", 1]]);
    expect(tree[0]!.children.map(({ name, children }) => [name, children.length])).toEqual([["b", 2]]);
  });

  it("puts child runs below their parents, and survives circles", () => {
    const runs = [run("p"), run("c", { parentId: "p" }), run("lonely", { parentId: "elsewhere" })];
    expect(nested(runs, () => true).map(({ run: { id }, depth }) => [id, depth])).toEqual([["p", 0], ["c", 1], ["lonely", 0]]);
    expect(nested(runs, () => false).map(({ run: { id }, children }) => [id, children])).toEqual([["p", 1], ["lonely", 0]]);
    expect(nested([run("a", { parentId: "a" })], () => true)).toHaveLength(1);
  });
});

it("groups runs and sums them up", () => {
  const runs = [run("a", { params: { o: "x" } }), run("b", { params: { o: "y" } }), run("c", { params: { o: "x" } }), run("d")];
  expect(group(runs, ["params.o"]).map(({ values, runs: list }) => [values[0], list.length])).toEqual([["x", 2], ["y", 1], [null, 1]]);
  expect(summary([1, 2, 3, NaN])).toMatchObject({ count: 3, mean: 2, min: 1, max: 3, deviation: 1 });
  expect(summary([])).toBeNull();
  expect(quartiles([1, 2, 3, 4, 100])).toMatchObject({ q1: 2, median: 3, q3: 4, high: 4, outliers: [100] });
});

it("writes numbers and times as people read them", () => {
  expect([fixed(0.1 + 0.2), fixed(NaN), fixed(Infinity), fixed(1e-9), fixed(12), fixed(123456.789)]).toEqual(["0.3", "NaN", "∞", "1.000e-9", "12", "1.2346e+5".replace("1.2346e+5", "123460")]);
  expect([duration(5), duration(61_000), duration(3_700_000), duration(90_000_000)]).toEqual(["5 ms", "1m 1s", "1h 1m", "1d 1h"]);
  expect([bytes(12), bytes(1500), bytes(2.5e6)]).toEqual(["12 B", "1.5 kB", "2.5 MB"]);
  expect([short(999), short(215_919), short(2e6)]).toEqual(["999", "216k", "2M"]);
  expect(when(0, 30_000)).toBe("just now");
  expect([numeric("1e-3"), numeric("x"), numeric(""), numeric(null)]).toEqual([0.001, null, null, null]);
});

it("makes a surface that passes through its points", () => {
  const field = interpolate([{ x: 0, y: 0, z: 1 }, { x: 1, y: 1, z: 3 }], 3, 3);
  expect(field.values[0]).toBe(1);
  expect(field.values[8]).toBe(3);
  expect(field.values[4]).toBeCloseTo(2);
  expect([wantsLog([1e-4, 1e-3, 1]), wantsLog([1, 2, 3]), wantsLog([-1, 1, 1000])]).toEqual([true, false, false]);
});

describe("the registry", () => {
  it("is told in words", () => {
    const event = { event_id: "e", time: 0, name: "m", action: "alias_set", version: "3", subject: "champion", old_value: "2" };
    expect(told(event)).toBe("moved alias champion from version 2 to version 3");
    expect(told({ ...event, action: "stage_changed", old_value: "None", new_value: "Production" })).toBe("moved version 3 from None to Production");
    expect(told({ ...event, action: "something_new" })).toBe("something new version 3");
  });

  it("knows which changes need approval", () => {
    const policy = { required_approvals: 1, approvers: [], stages: ["Production"], aliases: [] };
    expect(guarded(policy, { stage: "Production" })).toBe(true);
    expect(guarded(policy, { stage: "Staging" })).toBe(false);
    expect(guarded(policy, { alias: "anything" })).toBe(true);
    expect(guarded(null, { stage: "Production" })).toBe(false);
  });

  it("draws what was made of what from left to right", () => {
    const lineage = {
      start: ["models:/M/1"], direction: "both", truncated: false,
      nodes: [
        { id: "models:/M/1", kind: "model_version" as const, known: true },
        { id: "run:r", kind: "run" as const, known: true, name: "first" },
        { id: "dataset:d@x", kind: "dataset" as const, known: true },
        { id: "models:/M@best", kind: "alias" as const, known: true },
      ],
      edges: [
        { from: "dataset:d@x", to: "run:r", kind: "input", direction: "up" as const, depth: 2 },
        { from: "run:r", to: "models:/M/1", kind: "registered", direction: "up" as const, depth: 1 },
        { from: "models:/M/1", to: "models:/M@best", kind: "alias", direction: "down" as const, depth: 1 },
      ],
    };
    const { nodes, edges } = layout(lineage);
    expect(edges).toHaveLength(3);
    for (const { from, to } of edges) expect(from.x).toBeLessThan(to.x);
    expect(nodes).toHaveLength(4);
    expect(inWords(lineage)).toEqual(["M version 1 was made by run first.", "It was trained on d.", "Alias M@best means something made of it."]);
  });

  it("takes alike ends together until somebody opens them", () => {
    const ids = Array.from({ length: 20 }, (_, i) => `run:${i}`);
    const lineage = {
      start: ["dataset:d"], direction: "both", truncated: false,
      nodes: [{ id: "dataset:d", kind: "dataset" as const, known: true }, ...ids.map((id) => ({ id, kind: "run" as const, known: true }))],
      edges: ids.map((id) => ({ from: "dataset:d", to: id, kind: "input", direction: "down" as const, depth: 1 })),
    };
    const short = bundled(lineage, new Set());
    const [bundle] = [...short.bundles.values()];
    expect(bundle).toMatchObject({ kind: "run", count: 17 });
    expect(short.lineage.nodes).toHaveLength(5);
    expect(short.lineage.edges).toHaveLength(4);
    expect(bundled(lineage, new Set([bundle!.id])).lineage.nodes).toHaveLength(21);
  });

  it("reads the signature of a model", () => {
    const text = `flavors: {}\nsignature:\n  inputs: '[{"name": "it''s", "type": "long", "required": false}, {"type": "tensor", "tensor-spec":\n    {"dtype": "float32", "shape": [-1, 3]}}]'\n  outputs: null\n  params: '[{"name": "t", "type": "double", "default": 1.0}]'\nuuid: x\n`;
    expect(signatureOf(text)).toEqual({
      inputs: [{ name: "it's", type: "long", required: false, byDefault: undefined }, { name: "#1", type: "float32 (any × 3)", required: true, byDefault: undefined }],
      outputs: [],
      params: [{ name: "t", type: "double", required: false, byDefault: "1" }],
    });
    expect(signatureOf("flavors: {}")).toBeNull();
  });
});

it("finds images by key and step", () => {
  const image = imageOf("images/samples+step+20+timestamp+1700+abc.png")!;
  expect(image).toMatchObject({ key: "images/samples", step: 20 });
  expect(imageOf("images/samples+step+20+timestamp+1700+abc+compressed.webp")).toBeNull();
  expect(imageOf("a/b.png")).toMatchObject({ key: "a/b.png", step: null });
  expect(imageOf("a/b.txt")).toBeNull();
  const files = [0, 10, 20].map((step) => ({ path: String(step), key: "k", step }));
  expect([atStep(files, 15)?.step, atStep(files, null)?.step, atStep(files, -1)?.step, atStep([], 1)]).toEqual([10, 20, 0, null]);
});

it("correlates ranks", () => {
  expect(correlation([[1, 10], [2, 20], [3, 25], [4, 100]])).toBeCloseTo(1);
  expect(correlation([[1, 4], [2, 3], [3, 2], [4, 1]])).toBeCloseTo(-1);
  expect(correlation([[1, 1], [1, 2], [1, 3], [1, 4]])).toBeNull();
  expect(correlation([[1, 1]])).toBeNull();
});

it("shows files by what they are", () => {
  expect(["a/b.PNG", "MLmodel", "x.parquet", "report.html", "noext", "a.feather", ".gitignore"].map(previewOf)).toEqual(["image", "code", "parquet", "html", "none", "arrow", "none"]);
});

it("writes names of SQL as they have to be", () => {
  expect([identifier("runs"), identifier("params.lr"), identifier('a"b')]).toEqual(["runs", '"params.lr"', '"a""b"']);
  expect(withoutExplain("EXPLAIN ANALYZE SELECT 1")).toBe("SELECT 1");
  expect(tables([{ schema: "public", table: "runs", name: "start_time", type: 'Timestamp(Microsecond, Some("UTC"))' }, { schema: "information_schema", table: "x", name: "y", type: "Utf8" }])).toEqual([
    { id: "runs", columns: [{ name: "start_time", type: "timestamp" }] },
  ]);
});

describe("the timeline", () => {
  it("lays runs over the time they all took", () => {
    const runs = [run("b", { start: 11_000, end: 21_000 }), run("a", { start: 1_000, end: 6_000 }), run("c", { start: 16_000, end: null, status: "RUNNING" }), run("d", { start: null })];
    const { lines, ticks, total } = timeline(runs, 41_000);
    expect(lines.map(({ run: of, from, to, lasts }) => [of.id, from, to, lasts])).toEqual([["a", 0, 0.125, 5_000], ["b", 0.25, 0.5, 10_000], ["c", 0.375, 1, 25_000]]);
    expect(total).toBe(3);
    expect(ticks.slice(1).map(({ at, label }) => [at, label])).toEqual([[0.25, "+10.0 s"], [0.5, "+20.0 s"], [0.75, "+30.0 s"], [1, "+40.0 s"]]);
  });

  it("is not stretched by a run that was never ended", () => {
    const { lines } = timeline([run("a", { start: 0, end: 20_000 }), run("b", { start: 10_000, end: null, status: "RUNNING" })], 1e9);
    expect(lines[0]!.to).toBeCloseTo(20 / 21);
    expect(lines[1]!.to).toBe(1);
  });

  it("has nothing to show of nothing", () => {
    expect(timeline([], 5)).toEqual({ lines: [], ticks: [], total: 0 });
    expect(timeline([run("a", { start: 7, end: null, status: "FAILED" })], 5).lines[0]!.lasts).toBe(0);
  });
});
