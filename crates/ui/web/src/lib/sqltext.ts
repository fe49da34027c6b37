// Small things about SQL texts.

import { sqlName } from "./filter";

/** A name as it has to be written: in quotes where it is not plain. */
export function identifier(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) ? name : sqlName(name);
}

export function isExplain(text: string): boolean {
  return /^\s*EXPLAIN\b/i.test(text);
}

/** The query behind an EXPLAIN. */
export function withoutExplain(text: string): string {
  return text.replace(/^\s*EXPLAIN\s+(ANALYZE\s+)?(VERBOSE\s+)?/i, "");
}

export interface Column {
  schema: string;
  table: string;
  name: string;
  type: string;
}

export interface Table {
  id: string;
  columns: { name: string; type: string }[];
}

/** Tables with their columns, those of the lake first; what only the engine needs is left out. */
export function tables(columns: readonly Column[]): Table[] {
  const out = new Map<string, Table>();
  for (const { schema, table, name, type } of columns) {
    if (schema === "information_schema") continue;
    const id = schema === "public" ? table : `${schema}.${table}`;
    const found = out.get(id) ?? { id, columns: [] };
    found.columns.push({ name, type: type.replace(/^Timestamp\(.*$/, "timestamp").replace(/^Dictionary\(.*, (.*)\)$/, "$1").toLowerCase().replace(/^utf8(view)?$|^largeutf8$/, "text") });
    out.set(id, found);
  }
  return [...out.values()].sort((a, b) => Number(a.id.includes(".")) - Number(b.id.includes(".")) || a.id.localeCompare(b.id));
}

export const FUNCTIONS: { name: string; what: string; example: string }[] = [
  { name: "runs_wide", what: "A row for each run, a column for each param, metric and tag", example: "SELECT * FROM runs_wide('experiment') LIMIT 100" },
  { name: "compare_runs", what: "What differs between runs", example: "SELECT * FROM compare_runs('run a', 'run b') WHERE differs" },
  { name: "metric_envelope", what: "A curve in buckets, no spike lost", example: "SELECT * FROM metric_envelope('run', 'loss', 200)" },
  { name: "lineage", what: "What a thing was made of, and made into", example: "SELECT * FROM lineage('models:/Name/1', 'up')" },
];

export const EXAMPLES: { title: string; sql: string }[] = [
  { title: "Newest runs", sql: "SELECT run_name, status, start_time, end_time - start_time AS took\nFROM runs\nWHERE lifecycle_stage = 'active'\nORDER BY start_time DESC\nLIMIT 100" },
  { title: "Best value of each metric, by experiment", sql: "SELECT e.name AS experiment, m.key AS metric, min(m.min) AS least, max(m.max) AS greatest, count(*) AS runs\nFROM latest_metrics m\nJOIN experiments e ON e.experiment_id = m.experiment_id\nGROUP BY 1, 2\nORDER BY 1, 2" },
  { title: "A metric by the value of a param", sql: "SELECT p.value AS optimizer, count(*) AS runs, avg(m.value) AS mean, min(m.value) AS least, max(m.value) AS greatest\nFROM latest_metrics m\nJOIN params p ON p.run_id = m.run_id AND p.key = 'optimizer'\nWHERE m.key = 'valid/accuracy'\nGROUP BY 1\nORDER BY mean DESC" },
  { title: "Which version was in production", sql: "SELECT time, actor, version, old_value, new_value\nFROM registry_events\nWHERE action = 'stage_changed'\nORDER BY time DESC" },
];
