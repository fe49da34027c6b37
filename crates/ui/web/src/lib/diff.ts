// What differs between runs.

import type { Run } from "../api/types";

export interface DiffRow {
  key: string;
  values: (string | number | null)[];
  differs: boolean;
}

export interface DiffGroup {
  name: "Attributes" | "Params" | "Metrics" | "Tags";
  rows: DiffRow[];
}

function rows(runs: readonly Run[], get: (run: Run) => Record<string, string | number>, skip: (key: string) => boolean = () => false): DiffRow[] {
  const keys = new Set<string>();
  for (const run of runs) for (const key of Object.keys(get(run))) if (!skip(key)) keys.add(key);
  return [...keys]
    .sort((a, b) => a.localeCompare(b))
    .map((key) => {
      const values = runs.map((run) => get(run)[key] ?? null);
      return { key, values, differs: values.some((value) => !Object.is(value, values[0])) };
    });
}

export function diff(runs: readonly Run[]): DiffGroup[] {
  return [
    {
      name: "Attributes",
      rows: rows(runs, (run) => ({
        status: run.status,
        user: run.user,
        ...(run.start !== null ? { "start time": run.start } : {}),
        ...(run.start !== null && run.end !== null ? { duration: run.end - run.start } : {}),
        ...(run.datasets.length > 0 ? { datasets: run.datasets.map(({ dataset }) => `${dataset.name} (${dataset.digest})`).join(", ") } : {}),
      })),
    },
    { name: "Params", rows: rows(runs, (run) => run.params) },
    { name: "Metrics", rows: rows(runs, (run) => run.metrics) },
    { name: "Tags", rows: rows(runs, (run) => run.tags, (key) => key.startsWith("mlflow.")) },
  ];
}
