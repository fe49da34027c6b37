import { describe, expect, it } from "vitest";
import { canGroup, groupSql, groupsOf, within } from "./groupsql";
import { FilterError, type Known, RunsSql, complete, key, parse, tokens } from "./filter";

describe("parse", () => {
  it("reads what the server reads", () => {
    expect(parse("metrics.loss < 0.5 AND params.optimizer = 'adam'")).toEqual({
      type: "and",
      items: [
        { type: "compare", key: { kind: "metrics", name: "loss", aggregate: "last" }, op: "<", value: 0.5 },
        { type: "compare", key: { kind: "params", name: "optimizer", aggregate: "last" }, op: "=", value: "adam" },
      ],
    });
    expect(parse("")).toBeNull();
    expect(parse("tags.a IS NOT NULL")).toMatchObject({ type: "null", not: true });
    expect(parse("params.a IN ('x', 'y')")).toMatchObject({ type: "in", values: ["x", "y"] });
    expect(parse("metrics.a NOT BETWEEN 1 AND 2 OR NOT (status = 'FAILED')")).toMatchObject({ type: "or", items: [{ type: "between", not: true, low: 1, high: 2 }, { type: "not" }] });
  });

  it("knows quoted keys and aggregates", () => {
    expect(key("metrics.`train/loss`.min")).toEqual({ kind: "metrics", name: "train/loss", aggregate: "min" });
    expect(key("metrics.loss.max")).toEqual({ kind: "metrics", name: "loss", aggregate: "max" });
    expect(key("metrics.`loss.max`")).toEqual({ kind: "metrics", name: "loss.max", aggregate: "last" });
    expect(key("start_time")).toEqual({ kind: "attributes", name: "start_time", aggregate: "last" });
  });

  it("keeps quotes within texts", () => {
    expect(parse("params.a = 'it''s'")).toMatchObject({ value: "it's" });
  });

  it.each([
    ["metrics.loss <", "A value is missing"],
    ["metrics.loss", "An operator is missing"],
    ["params.a = adam", "Texts stand in quotes"],
    ["(metrics.a < 1", "A closing parenthesis"],
    ["metrics.a < 1 metrics.b > 2", "AND or OR"],
    ["foo.a = 1", "Unknown"],
    ["params.a IN 'x'", "A list in parentheses"],
  ])("says what is wrong with %s", (text, message) => {
    expect(() => parse(text)).toThrow(FilterError);
    expect(() => parse(text)).toThrow(message);
  });
});

describe("complete", () => {
  const known: Known = { metrics: ["loss", "train/loss"], params: ["lr"], tags: ["team"], values: ({ name }) => (name === "lr" ? ["0.1", "0.01"] : []) };
  const options = (text: string) => complete(text, known).options.map((option) => option.text);

  it("offers keys first, operators then, values last", () => {
    expect(options("")).toContain("metrics.loss");
    expect(options("")).toContain("metrics.`train/loss`");
    expect(options("metrics.loss ")).toContain("<");
    expect(options("params.lr ")).toContain("LIKE");
    expect(options("params.lr = ")).toEqual(["'0.1'", "'0.01'"]);
    expect(options("params.lr IN ('0.1', ")).toContain("'0.01'");
    expect(options("params.lr = '0.1' ")).toEqual(["AND", "OR"]);
    expect(options("params.lr = '0.1' AND ")).toContain("params.lr");
    expect(options("metrics.loss BETWEEN 1 AND ")).toEqual([]);
  });

  it("replaces the word that was begun", () => {
    const { from, options } = complete("metrics.loss < 1 AND para", known);
    expect(from).toBe(21);
    expect(options[0]!.text).toBe("params.lr");
  });

  it("finds quoted keys by their bare text", () => {
    expect(options("train")).toContain("metrics.`train/loss`");
  });
});

describe("RunsSql", () => {
  it("asks the same question of the tables", () => {
    const statement = new RunsSql();
    const filter = parse("metrics.loss.min < 0.5 AND params.`a'b` = 'x''y' AND status != 'FAILED'")!;
    statement.condition(filter);
    expect(statement.from(["1", "2"], "ACTIVE_ONLY", filter)).toBe(
      [
        "FROM runs r",
        "LEFT JOIN latest_metrics l0 ON l0.run_id = r.run_id AND l0.key = 'loss'",
        "LEFT JOIN params p1 ON p1.run_id = r.run_id AND p1.key = 'a''b'",
        "WHERE r.experiment_id IN ('1', '2') AND r.lifecycle_stage = 'active' AND (l0.min < 0.5 AND p1.value = 'x''y' AND r.\"status\" != 'FAILED')",
      ].join("\n"),
    );
  });

  it("joins a key once", () => {
    const statement = new RunsSql();
    expect(statement.expression(key("metrics.a.min"))).toBe("l0.min");
    expect(statement.expression(key("metrics.a.mean"))).toBe("(l0.sum / l0.count)");
  });
});

describe("groups", () => {
  const query = { experimentIds: ["1"], filter: "metrics.a < 1", orderBy: [], view: "ACTIVE_ONLY" as const };
  const by = ["params.o", "attributes.user"];

  it("are counted by the server", () => {
    const plan = groupSql(query, by, ["params.o", "metrics.a", "metrics.a@min", "params.lr"]);
    expect(plan.sql).toContain('SELECT p0.value AS g0, r."user_id" AS g1, count(*) AS n, avg(l1.value) AS c0, min(l1.min) AS c1, count(DISTINCT p2.value) AS c2, min(p2.value) AS o2');
    expect(plan.sql).toContain("GROUP BY 1, 2");
    const [first] = groupsOf(plan, by, [["x", null, 7, 0.5, null, 1, "0.1"]]);
    expect(first).toMatchObject({ values: ["x", null], count: 7 });
    expect(first!.cells.get("metrics.a")).toEqual({ value: 0.5 });
    expect(first!.cells.get("metrics.a@min")).toEqual({ value: null });
    expect(first!.cells.get("params.lr")).toEqual({ distinct: 1, one: "0.1" });
    expect([canGroup(by), canGroup(["metrics.a"]), canGroup(["attributes.dataset"])]).toEqual([true, false, false]);
  });

  it("are opened by a search", () => {
    expect(within(query, by, ["it's", null]).filter).toBe("(metrics.a < 1) AND params.o = 'it''s' AND attributes.user_id IS NULL");
    expect(parse(within(query, by, ["it's", null]).filter)).toMatchObject({ type: "and" });
  });
});

it("cuts every text into tokens without losing any of it", () => {
  const text = "metrics.`a b` >= -1e-5 AND (tags.\"x\" ILIKE '%é%')";
  expect(tokens(text).map((token) => token.text).join("")).toBe(text.replace(/ (?![b])/g, ""));
});
