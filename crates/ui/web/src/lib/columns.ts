// Columns of the runs table, named by one string each: `params.lr`, `metrics.train/loss`, `metrics.train/loss@min`.

import type { Run } from "../api/types";
import { duration, fixed, numeric, when } from "./format";

export type Aggregate = "last" | "min" | "max" | "mean";
export type Kind = "attributes" | "params" | "metrics" | "tags";

export interface Column {
  id: string;
  kind: Kind;
  key: string;
  aggregate: Aggregate;
}

export const ATTRIBUTES = ["start_time", "duration", "status", "user", "dataset", "experiment", "end_time", "run_id"] as const;
export const DEFAULT_COLUMNS = ["attributes.start_time", "attributes.duration", "attributes.user"];
export const AGGREGATES: Aggregate[] = ["last", "min", "max", "mean"];

export function column(id: string): Column {
  const dot = id.indexOf(".");
  const kind = id.slice(0, dot) as Kind;
  const rest = id.slice(dot + 1);
  const at = kind === "metrics" ? rest.lastIndexOf("@") : -1;
  if (at > 0 && (AGGREGATES as string[]).includes(rest.slice(at + 1))) return { id, kind, key: rest.slice(0, at), aggregate: rest.slice(at + 1) as Aggregate };
  return { id, kind, key: rest, aggregate: "last" };
}

export function metricColumn(key: string, aggregate: Aggregate): string {
  return aggregate === "last" ? `metrics.${key}` : `metrics.${key}@${aggregate}`;
}

const ATTRIBUTE_LABELS: Record<string, string> = {
  start_time: "Started", duration: "Duration", status: "Status", user: "User", dataset: "Dataset", experiment: "Experiment",
  end_time: "Ended", run_id: "Run id", run_name: "Run",
};

export function label(col: Column): string {
  if (col.kind === "attributes") return ATTRIBUTE_LABELS[col.key] ?? col.key;
  return col.aggregate === "last" ? col.key : `${col.key} (${col.aggregate})`;
}

/** Statistics of metrics that a search does not answer, by run and key. */
export type Stats = ReadonlyMap<string, ReadonlyMap<string, { min: number; max: number; mean: number }>>;

export type Cell = string | number | null;

export function cell(run: Run, col: Column, stats?: Stats): Cell {
  switch (col.kind) {
    case "params":
      return run.params[col.key] ?? null;
    case "tags":
      return run.tags[col.key] ?? null;
    case "metrics":
      if (col.aggregate === "last") return run.metrics[col.key] ?? null;
      return stats?.get(run.id)?.get(col.key)?.[col.aggregate] ?? null;
    case "attributes":
      return attribute(run, col.key);
  }
}

/** NaN and the infinities, as numbers or as words of a param. */
const isOdd = (value: Cell) => (typeof value === "number" ? !Number.isFinite(value) : value !== null && /^\s*[-+]?(nan|inf(inity)?)\s*$/i.test(value));

/** Whether these are numbers, as far as there are any: a run that diverged does not make words of a column. */
export function areNumbers(values: readonly Cell[]): boolean {
  let some = false;
  for (const value of values) {
    if (value === null || isOdd(value)) continue;
    if (numeric(value) === null) return false;
    some = true;
  }
  return some;
}

function attribute(run: Run, key: string): Cell {
  switch (key) {
    case "start_time":
      return run.start;
    case "end_time":
      return run.end;
    case "duration":
      return run.start !== null && run.end !== null ? run.end - run.start : null;
    case "status":
      return run.status;
    case "user":
      return run.user || null;
    case "dataset":
      return run.datasets.map((input) => `${input.dataset.name} (${input.dataset.digest.slice(0, 8)})`).join(", ") || null;
    case "experiment":
      return run.experimentId;
    case "run_name":
      return run.name;
    default:
      return run.id;
  }
}

export function text(value: Cell, col: Column, now = Date.now()): string {
  if (value === null) return "";
  if (col.kind === "attributes" && (col.key === "start_time" || col.key === "end_time")) return when(Number(value), now);
  if (col.kind === "attributes" && col.key === "duration") return duration(Number(value));
  return typeof value === "number" ? fixed(value) : value;
}

/** A key as the filter grammar and `order_by` want it. */
export function quoted(key: string): string {
  return /^[A-Za-z_][\w]*$/.test(key) ? key : `\`${key}\``;
}

/** The clause of `order_by` for a column, or null where the server cannot order by it. */
export function orderBy(id: string, descending: boolean): string | null {
  const col = column(id);
  const way = descending ? "DESC" : "ASC";
  if (col.kind === "attributes") {
    const name: Record<string, string> = { user: "user_id", duration: "duration", dataset: "dataset", run_name: "run_name", run_id: "run_id", start_time: "start_time", end_time: "end_time", status: "status" };
    const key = name[col.key];
    return key ? `attributes.${key} ${way}` : null;
  }
  const suffix = col.aggregate === "last" ? "" : `.${col.aggregate}`;
  return `${col.kind}.${quoted(col.key)}${suffix} ${way}`;
}

/** Keys that occur in some runs, sorted; internal tags left out. */
export function keysOf(runs: readonly Run[]): { params: string[]; metrics: string[]; tags: string[] } {
  const params = new Set<string>();
  const metrics = new Set<string>();
  const tags = new Set<string>();
  for (const run of runs) {
    for (const key in run.params) params.add(key);
    for (const key in run.metrics) metrics.add(key);
    for (const key in run.tags) if (!key.startsWith("mlflow.")) tags.add(key);
  }
  const sorted = (keys: Set<string>) => [...keys].sort((a, b) => a.localeCompare(b));
  return { params: sorted(params), metrics: sorted(metrics), tags: sorted(tags) };
}

/** Of `ids`, those whose values are not all the same. Columns without any value count as constant. */
export function varying(ids: readonly string[], runs: readonly Run[], stats?: Stats): string[] {
  if (runs.length < 2) return [...ids];
  return ids.filter((id) => {
    const col = column(id);
    const first = cell(runs[0]!, col, stats);
    return runs.some((run) => cell(run, col, stats) !== first);
  });
}

/** Metrics in the order in which people look at them: those of most runs, of validation before training, losses and scores first. */
export function watched(runs: readonly Run[]): string[] {
  const times = new Map<string, number>();
  for (const run of runs) for (const key in run.metrics) if (!key.startsWith("system/")) times.set(key, (times.get(key) ?? 0) + 1);
  const rank = (key: string) => (times.get(key) === runs.length ? 0 : times.get(key)! * 2 >= runs.length ? 4 : 8) + (/(^|\/)(val|valid|test|eval)/i.test(key) ? 0 : 1) + (/acc|auc|f1|loss|error|score/i.test(key) ? 0 : 2);
  return [...times.keys()].sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
}

/** Columns for a first look: when, how long, metrics people watch, and params that differ. */
export function firstColumns(runs: readonly Run[]): string[] {
  if (runs.length === 0) return DEFAULT_COLUMNS;
  const sample = runs.slice(0, 200);
  const keys = keysOf(sample);
  const metrics = watched(sample).slice(0, 3);
  const differing = keys.params.filter((key) => new Set(sample.map((run) => run.params[key])).size > 1);
  const params = (differing.length > 0 ? differing : keys.params).filter((key) => !/seed/i.test(key)).slice(0, 4);
  return ["attributes.start_time", "attributes.duration", ...metrics.map((key) => metricColumn(key, "last")), ...params.map((key) => `params.${key}`)];
}
