// Parquet and Arrow files as tables, read in the browser.

import { tableFromIPC } from "apache-arrow";
import { parquetMetadataAsync, parquetReadObjects, parquetSchema } from "hyparquet";
import { useEffect, useState } from "react";
import { Sheet } from "../pages/artifacts";
import { ErrorNote, Skeleton } from "./kit";
import { shown } from "../lib/arrow";
import { compressors } from "../lib/compressors";
import { count } from "../lib/format";

interface Read {
  head: { name: string; type?: string; numeric?: boolean }[];
  rows: number;
  get: (row: number, col: number) => unknown;
  note?: string;
}

const MOST_ROWS = 100_000;

export default function TableFile({ data, kind }: { data: Uint8Array<ArrayBuffer>; kind: "parquet" | "arrow" }) {
  const [read, setRead] = useState<Read | null>(null);
  const [error, setError] = useState<unknown>(null);
  useEffect(() => {
    let gone = false;
    (kind === "parquet" ? parquet(data) : arrow(data)).then(
      (value) => !gone && setRead(value),
      (failure: unknown) => !gone && setError(failure),
    );
    return () => {
      gone = true;
    };
  }, [data, kind]);
  if (error !== null) {
    return (
      <div className="pad">
        <ErrorNote error={new Error(`This is not a table that can be read here: ${error instanceof Error ? error.message : String(error)}`)} />
      </div>
    );
  }
  if (!read) return <Skeleton />;
  return <Sheet head={read.head} count={read.rows} get={read.get} note={read.note} />;
}

async function parquet(data: Uint8Array<ArrayBuffer>): Promise<Read> {
  const file = data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength);
  const metadata = await parquetMetadataAsync(file);
  const rows = Number(metadata.num_rows);
  const fields = parquetSchema(metadata).children.map(({ element }) => element);
  const objects = await parquetReadObjects({ file, metadata, compressors, rowEnd: Math.min(rows, MOST_ROWS) });
  const head = fields.map(({ name, type, logical_type }) => ({ name, type: (logical_type?.type ?? type ?? "group").toLowerCase().replaceAll("_", ""), numeric: /INT|DOUBLE|FLOAT/.test(type ?? "") && logical_type?.type !== "TIMESTAMP" }));
  return {
    head,
    rows: Math.min(rows, MOST_ROWS),
    get: (row, col) => shown(objects[row]?.[head[col]!.name]),
    note: rows > MOST_ROWS ? `of ${count(rows)} rows the first ${count(MOST_ROWS)}` : `${metadata.row_groups.length} row groups, ${metadata.created_by ?? "Parquet"}`,
  };
}

async function arrow(data: Uint8Array): Promise<Read> {
  const table = tableFromIPC(data);
  const vectors = table.schema.fields.map((_, i) => table.getChildAt(i));
  return {
    head: table.schema.fields.map(({ name, type }) => ({ name, type: String(type), numeric: /^(U?Int|Float|Decimal)/.test(String(type)) })),
    rows: table.numRows,
    get: (row, col) => shown(vectors[col]?.get(row), table.schema.fields[col]?.type),
  };
}
