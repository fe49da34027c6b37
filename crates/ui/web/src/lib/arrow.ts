// Values of Arrow and Parquet as text.

import { type DataType, Type } from "apache-arrow";

/** A value as a cell shows it; null stays null. */
export function shown(value: unknown, type?: DataType): unknown {
  if (value === null || value === undefined) return null;
  if (type && type.typeId === Type.Timestamp && (typeof value === "number" || typeof value === "bigint")) return time(Number(value));
  if (type && type.typeId === Type.Date && typeof value === "number") return new Date(value).toISOString().slice(0, 10);
  if (value instanceof Date) return time(value.getTime());
  if (typeof value === "bigint") return value.toString();
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (typeof value === "object") return text(value);
  return value;
}

/** Milliseconds, as apache-arrow gives timestamps of every unit, with as many digits as say something. */
function time(ms: number): string {
  const date = new Date(Math.floor(ms));
  if (Number.isNaN(date.getTime())) return String(ms);
  return date.toISOString().replace("T", " ").replace(/(\.000)?Z$/, "");
}

function text(value: object): string {
  const plain = "toJSON" in value && typeof value.toJSON === "function" ? (value.toJSON as () => unknown)() : value;
  try {
    return typeof plain === "string" ? plain : JSON.stringify(plain, (_, inner: unknown) => (typeof inner === "bigint" ? inner.toString() : inner));
  } catch {
    return String(value);
  }
}
