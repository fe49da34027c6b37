// `POST /api/runlake/sql`: as JSON for small answers, as an Arrow stream for the SQL page, as files for downloads.

import { ApiError, send } from "./client";

export interface SqlAnswer {
  columns: { name: string; type: string }[];
  rows: unknown[][];
  row_count: number;
  truncated: boolean;
}

export interface SqlOptions {
  params?: unknown[] | Record<string, unknown>;
  as_of?: string;
  row_limit?: number;
  signal?: AbortSignal;
}

export const ARROW = "application/vnd.apache.arrow.stream";

function body(text: string, options: SqlOptions) {
  const { params, as_of, row_limit } = options;
  return { sql: text, params, as_of: as_of || undefined, row_limit };
}

let missing = false;

/** Whether this server is known not to answer SQL: then pages do not ask again and again. */
export function sqlMissing(): boolean {
  return missing;
}

export async function sqlAs(text: string, accept: string, options: SqlOptions = {}): Promise<Response> {
  try {
    return await send("POST", "/api/runlake/sql", { body: body(text, options), accept, signal: options.signal });
  } catch (error) {
    if (error instanceof ApiError && (error.status === 404 || error.status === 501 || error.status === 405)) missing = error.code !== "RESOURCE_DOES_NOT_EXIST";
    throw error;
  }
}

export async function sql(text: string, options: SqlOptions = {}): Promise<SqlAnswer> {
  if (missing) throw new ApiError(501, "NOT_IMPLEMENTED", "This server does not answer SQL.");
  const response = await sqlAs(text, "application/json", options);
  return (await response.json()) as SqlAnswer;
}

export async function sqlFile(text: string, type: "csv" | "parquet" | "arrow", options: SqlOptions = {}): Promise<Blob> {
  const accept = { csv: "text/csv", parquet: "application/vnd.apache.parquet", arrow: ARROW }[type];
  return (await sqlAs(text, accept, options)).blob();
}
