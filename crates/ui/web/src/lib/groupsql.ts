// Groups of all runs of a search, computed by the server where there are more than a browser should fetch.

import type { RunQuery } from "../api/calls";
import { type Aggregate, column, quoted } from "./columns";
import { RunsSql, parse, sqlText } from "./filter";
import type { Group } from "./group";

export interface GroupCell {
  /** A figure of a metric. */
  value?: number | null;
  /** How many different values a param or tag has, and one of them. */
  distinct?: number;
  one?: string | null;
}

export interface CountedGroup extends Group {
  count: number;
  cells: Map<string, GroupCell>;
}

const ATTRIBUTES: Record<string, string> = { status: "status", user: "user_id", experiment: "experiment_id" };

/** Whether SQL can group by these columns. */
export function canGroup(by: readonly string[]): boolean {
  return by.every((id) => {
    const { kind, key } = column(id);
    return kind === "params" || kind === "tags" || (kind === "attributes" && key in ATTRIBUTES);
  });
}

const FIGURES: Record<Aggregate, (last: string, own: string) => string> = {
  last: (last) => `avg(${last})`,
  min: (_, own) => `min(${own})`,
  max: (_, own) => `max(${own})`,
  mean: (_, own) => `avg(${own})`,
};

interface Plan {
  sql: string;
  shown: { id: string; numeric: boolean }[];
}

export function groupSql(query: RunQuery, by: readonly string[], columns: readonly string[]): Plan {
  const statement = new RunsSql();
  const expression = (id: string) => {
    const { kind, key, aggregate } = column(id);
    return statement.expression({ kind, name: kind === "attributes" ? ATTRIBUTES[key]! : key, aggregate });
  };
  const select = by.map((id, i) => `${expression(id)} AS g${i}`);
  select.push("count(*) AS n");
  const shown: Plan["shown"] = [];
  for (const id of columns) {
    if (by.includes(id)) continue;
    const { kind, key, aggregate } = column(id);
    if (kind === "metrics") {
      const last = statement.expression({ kind, name: key, aggregate: "last" });
      select.push(`${FIGURES[aggregate](last, expression(id))} AS c${shown.length}`);
      shown.push({ id, numeric: true });
    } else if (kind === "params" || kind === "tags") {
      select.push(`count(DISTINCT ${expression(id)}) AS c${shown.length}`, `min(${expression(id)}) AS o${shown.length}`);
      shown.push({ id, numeric: false });
    }
  }
  const filter = parse(query.filter);
  if (filter) statement.condition(filter);
  const keys = by.map((_, i) => i + 1).join(", ");
  return { sql: `SELECT ${select.join(", ")}\n${statement.from(query.experimentIds, query.view, filter)}\nGROUP BY ${keys}\nORDER BY n DESC\nLIMIT 5000`, shown };
}

export function groupsOf(plan: Plan, by: readonly string[], rows: readonly unknown[][]): CountedGroup[] {
  return rows.map((row) => {
    const values = by.map((_, i) => (row[i] === null || row[i] === undefined || row[i] === "" ? null : String(row[i])));
    const cells = new Map<string, GroupCell>();
    let at = by.length + 1;
    for (const { id, numeric } of plan.shown) {
      const value = row[at++];
      if (numeric) cells.set(id, { value: value === null ? null : Number(value) });
      else {
        const one = row[at++];
        cells.set(id, { distinct: Number(value), one: one === null ? null : String(one) });
      }
    }
    return { id: JSON.stringify(values), values, runs: [], count: Number(row[by.length]), cells };
  });
}

/** The search for the runs of one group. */
export function within(query: RunQuery, by: readonly string[], values: readonly (string | null)[]): RunQuery {
  const conditions = by.map((id, i) => {
    const { kind, key } = column(id);
    const name = kind === "attributes" ? `attributes.${ATTRIBUTES[key] ?? key}` : `${kind}.${quoted(key)}`;
    const value = values[i] ?? null;
    return value === null ? `${name} IS NULL` : `${name} = ${sqlText(value)}`;
  });
  const experiment = by.indexOf("attributes.experiment");
  const experimentIds = experiment >= 0 ? [values[experiment] ?? ""] : query.experimentIds;
  const rest = conditions.filter((_, i) => i !== experiment);
  const filter = [...(query.filter ? [`(${query.filter})`] : []), ...rest].join(" AND ");
  return { ...query, experimentIds, filter };
}
