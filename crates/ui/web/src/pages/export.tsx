// The query behind the table as a file, or as SQL.

import { useRef, useState } from "react";
import { type RunQuery, runs as calls } from "../api/calls";
import { sqlFile, sqlMissing } from "../api/sql";
import type { Run } from "../api/types";
import { cell, column } from "../lib/columns";
import { toCsv } from "../lib/csv";
import { RunsSql, key as filterKey, parse, sqlName } from "../lib/filter";
import { navigate } from "../router";
import { Button, Item, Popover, failed, toast } from "../ui/kit";
import { save } from "./shared";

/** The query behind the table as SQL, with its columns. */
export function exportSql(query: RunQuery, columns: readonly string[]): string {
  const statement = new RunsSql();
  const chosen = columns.map(column).filter((col) => col.kind !== "attributes" || !["run_id", "dataset", "experiment"].includes(col.key));
  const select = chosen.map((col) => `${statement.expression({ kind: col.kind, name: col.key, aggregate: col.aggregate })} AS ${sqlName(col.kind === "attributes" ? col.key : col.id)}`);
  const filter = parse(query.filter);
  if (filter) statement.condition(filter);
  const order = query.orderBy.filter((clause) => !clause.startsWith("attributes.dataset ")).map((clause) => {
    const hit = /^(.*) (ASC|DESC)$/.exec(clause)!;
    return `${statement.expression(filterKey(hit[1]!))} ${hit[2]} NULLS LAST`;
  });
  const from = statement.from(query.experimentIds, query.view, filter);
  return `SELECT r.run_id, r.experiment_id, r.run_name${select.map((one) => `,\n  ${one}`).join("")}\n${from}${order.length > 0 ? `\nORDER BY ${order.join(", ")}` : ""}`;
}

export function ExportMenu({ query, columns, loaded, name }: { query: RunQuery; columns: string[]; loaded: () => Run[]; name: string }) {
  const [busy, setBusy] = useState(false);
  const stop = useRef<AbortController | null>(null);
  const bySql = async (type: "csv" | "parquet") => save(`${name}.${type}`, await sqlFile(exportSql(query, columns), type, { row_limit: 1_000_000 }));
  const byPages = async () => {
    const cols = columns.map(column);
    const rows: unknown[][] = [];
    let token: string | undefined;
    do {
      const page = await calls.page(query, 5000, token, stop.current?.signal);
      for (const run of page.runs) rows.push([run.id, run.name, ...cols.map((col) => cell(run, col))]);
      token = page.next ?? undefined;
    } while (token);
    save(`${name}.csv`, toCsv(["run_id", "run_name", ...columns], rows), "text/csv");
  };
  const start = async (type: "csv" | "parquet") => {
    setBusy(true);
    stop.current = new AbortController();
    try {
      if (type === "csv" && sqlMissing()) await byPages();
      else {
        try {
          await bySql(type);
        } catch (error) {
          if (type !== "csv") throw error;
          await byPages();
        }
      }
      toast("The export is complete.");
    } catch (error) {
      failed(error);
    } finally {
      setBusy(false);
    }
  };
  return (
    <Popover label="Export" role="menu" trigger={(props) => <Button icon={busy ? "spin" : "download"} disabled={busy} {...props}>Export</Button>}>
      {(close) => (
        <>
          <h3>All runs that fit the filter</h3>
          <Item onClick={() => (close(), void start("csv"))}>CSV</Item>
          <Item onClick={() => (close(), void start("parquet"))}>Parquet</Item>
          <hr />
          <Item icon="terminal" onClick={() => navigate(`/sql?q=${encodeURIComponent(exportSql(query, columns))}`)}>
            Open as SQL
          </Item>
          <Item
            icon="copy"
            onClick={() => {
              close();
              navigator.clipboard.writeText(JSON.stringify(loaded().map((run) => run.id))).catch(() => {});
            }}
          >
            Copy the ids loaded so far
          </Item>
        </>
      )}
    </Popover>
  );
}
