// Values of Arrow and Parquet as text.

import { type DataType, type Decimal, Type } from "apache-arrow";

const SHORT_BYTES = 32;

/** A value as a cell shows it; null stays null. */
export function shown(value: unknown, type?: DataType): unknown {
  if (value === null || value === undefined) return null;
  if (type && type.typeId === Type.Timestamp && (typeof value === "number" || typeof value === "bigint")) return time(Number(value));
  if (type && type.typeId === Type.Date && typeof value === "number") return new Date(value).toISOString().slice(0, 10);
  if (value instanceof Date) return time(value.getTime());
  if (typeof value === "bigint") return value.toString();
  if (type?.typeId === Type.Decimal && value instanceof Uint32Array) return decimal(value, (type as Decimal).scale);
  if (type?.typeId === Type.Interval && value instanceof Int32Array) return interval(value);
  if (value instanceof Uint8Array) return value.length > 0 && value.length <= SHORT_BYTES ? [...value].map((byte) => byte.toString(16).padStart(2, "0")).join("") : `${value.length} bytes`;
  if (typeof value === "object") return text(value, type);
  return value;
}

/** Milliseconds, as apache-arrow gives timestamps of every unit, with as many digits as say something. */
function time(ms: number): string {
  const date = new Date(Math.floor(ms));
  if (Number.isNaN(date.getTime())) return String(ms);
  return date.toISOString().replace("T", " ").replace(/(\.000)?Z$/, "");
}

/** Objects as JSON, but with whole numbers of any size and NaN as what they are. */
function text(value: object, type?: DataType): string {
  const plain = "toJSON" in value && typeof value.toJSON === "function" && !type?.children?.length ? (value.toJSON as () => unknown)() : value;
  if (typeof plain === "string") return plain;
  try {
    return json(plain, type);
  } catch {
    return String(value);
  }
}

function json(value: unknown, type?: DataType): string {
  if (value === null || value === undefined) return "null";
  if (typeof value === "bigint" || typeof value === "number") return isTime(type) ? JSON.stringify(shown(value, type)) : String(value);
  if (typeof value !== "object") return JSON.stringify(value);
  if (type?.typeId === Type.Decimal) return String(shown(value, type));
  if (value instanceof Date || value instanceof Uint8Array) return JSON.stringify(shown(value, type));
  const inner = type?.children?.[0]?.type as DataType | undefined;
  if (type?.typeId !== Type.Struct && type?.typeId !== Type.Map && Symbol.iterator in value) return `[${[...(value as Iterable<unknown>)].map((one) => json(one, inner)).join(",")}]`;
  if (type?.typeId === Type.Struct) return `{${type.children.map((field) => `${JSON.stringify(field.name)}:${json((value as Record<string, unknown>)[field.name], field.type as DataType)}`).join(",")}}`;
  const plain = "toJSON" in value && typeof value.toJSON === "function" ? ((value.toJSON as () => unknown)() as object) : value;
  return `{${Object.entries(plain).map(([key, one]) => `${JSON.stringify(key)}:${json(one)}`).join(",")}}`;
}

const isTime = (type?: DataType) => type?.typeId === Type.Timestamp || type?.typeId === Type.Date;

/** The words of a decimal, least first, with its point where it belongs. */
function decimal(words: Uint32Array, scale: number): string {
  let whole = 0n;
  for (let i = words.length - 1; i >= 0; i--) whole = (whole << 32n) | BigInt(words[i]!);
  whole = BigInt.asIntN(words.length * 32, whole);
  const digits = (whole < 0n ? -whole : whole).toString().padStart(scale + 1, "0");
  const sign = whole < 0n ? "-" : "";
  return scale > 0 ? `${sign}${digits.slice(0, -scale)}.${digits.slice(-scale)}` : sign + digits;
}

/** Months, days and nanoseconds, as the engine counts intervals. */
function interval(parts: Int32Array): string {
  const [months = 0, days = 0] = parts;
  const nanos = parts.length === 4 ? (BigInt(parts[3]!) << 32n) | BigInt(parts[2]! >>> 0) : 0n;
  const out = [months !== 0 && `${months} months`, days !== 0 && `${days} days`, nanos !== 0n && `${Number(nanos) / 1e9} s`].filter(Boolean);
  return out.join(" ") || "0 s";
}
