// Numbers, times and sizes as people read them.

export function fixed(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e9) return String(value);
  if (size >= 1e6 || size < 1e-4) return value.toExponential(3);
  return String(Number(value.toPrecision(5)));
}

/** A count with thousands separated. */
export function count(value: number): string {
  return value.toLocaleString("en-US");
}

/** A count in three digits: 216k. */
export function short(value: number): string {
  if (value < 1000) return String(value);
  const [size, unit] = value < 1e6 ? [1e3, "k"] : value < 1e9 ? [1e6, "M"] : [1e9, "G"];
  return `${Number((value / size).toPrecision(3))}${unit}`;
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

export function duration(ms: number): string {
  if (ms < 0) return "";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}m ${Math.floor(seconds % 60)}s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours}h ${minutes % 60}m`;
  return `${Math.floor(hours / 24)}d ${hours % 24}h`;
}

const MINUTE = 60_000;

/** "3 min ago" for what is near, a date for what is not. */
export function when(time: number, now = Date.now()): string {
  const age = now - time;
  if (age >= 0 && age < MINUTE) return "just now";
  if (age >= 0 && age < 60 * MINUTE) return `${Math.floor(age / MINUTE)} min ago`;
  if (age >= 0 && age < 24 * 60 * MINUTE) return `${Math.floor(age / MINUTE / 60)} h ago`;
  const date = new Date(time);
  const day = `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
  return `${day} ${pad(date.getHours())}:${pad(date.getMinutes())}`;
}

export function exact(time: number): string {
  const date = new Date(time);
  const day = `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
  return `${day} ${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
}

function pad(n: number): string {
  return String(n).padStart(2, "0");
}

export function bytes(size: number): string {
  if (size < 1000) return `${size} B`;
  for (const [limit, unit] of [[1e6, "kB"], [1e9, "MB"], [1e12, "GB"]] as const) {
    if (size < limit) return `${(size / (limit / 1000)).toFixed(1)} ${unit}`;
  }
  return `${(size / 1e12).toFixed(1)} TB`;
}

/** A number a text stands for, or null. */
export function numeric(text: string | number | null | undefined): number | null {
  if (typeof text === "number") return Number.isFinite(text) ? text : null;
  if (text === null || text === undefined || text.trim() === "") return null;
  const value = Number(text);
  return Number.isFinite(value) ? value : null;
}
