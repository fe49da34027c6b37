// Runs with the same values of some columns, with aggregates of the others.

import type { Run } from "../api/types";
import { type Aggregate, cell, column } from "./columns";

export interface Group {
  id: string;
  values: (string | null)[];
  runs: Run[];
}

export function group(runs: readonly Run[], by: readonly string[]): Group[] {
  const columns = by.map(column);
  const groups = new Map<string, Group>();
  for (const run of runs) {
    const values = columns.map((col) => {
      const value = cell(run, col);
      return value === null ? null : String(value);
    });
    const id = JSON.stringify(values);
    const found = groups.get(id);
    if (found) found.runs.push(run);
    else groups.set(id, { id, values, runs: [run] });
  }
  return [...groups.values()].sort((a, b) => b.runs.length - a.runs.length);
}

export interface Summary {
  count: number;
  mean: number;
  min: number;
  max: number;
  deviation: number;
}

export function summary(values: readonly number[]): Summary | null {
  const finite = values.filter(Number.isFinite);
  if (finite.length === 0) return null;
  const mean = finite.reduce((sum, value) => sum + value, 0) / finite.length;
  const variance = finite.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(1, finite.length - 1);
  return {
    count: finite.length,
    mean,
    min: finite.reduce((a, b) => Math.min(a, b), Infinity),
    max: finite.reduce((a, b) => Math.max(a, b), -Infinity),
    deviation: finite.length > 1 ? Math.sqrt(variance) : 0,
  };
}

export function summarised(values: readonly number[], how: Aggregate): number | null {
  const all = summary(values);
  if (!all) return null;
  return how === "min" ? all.min : how === "max" ? all.max : all.mean;
}

/** Quartiles and whiskers (1.5 times the distance of the quartiles), and what lies outside. */
export function quartiles(values: readonly number[]) {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  if (sorted.length === 0) return null;
  const at = (share: number) => {
    const place = (sorted.length - 1) * share;
    const low = Math.floor(place);
    return sorted[low]! + (sorted[Math.ceil(place)]! - sorted[low]!) * (place - low);
  };
  const [q1, median, q3] = [at(0.25), at(0.5), at(0.75)];
  const reach = 1.5 * (q3 - q1);
  const inside = sorted.filter((value) => value >= q1 - reach && value <= q3 + reach);
  return { low: inside[0]!, q1, median, q3, high: inside.at(-1)!, outliers: sorted.filter((value) => value < q1 - reach || value > q3 + reach) };
}
