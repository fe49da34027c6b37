// From answers of the server to what a chart draws.

import { type WireCurve, number } from "../api/types";

/** Steps, a time, or another metric. */
export type XAxis = "step" | "wall" | "relative" | `metric:${string}`;

/** The metric that is the x axis, if one is. */
export function metricAxis(axis: XAxis): string | null {
  return axis.startsWith("metric:") ? axis.slice(7) : null;
}

/** One run's points of one metric, by ascending step. */
export interface Curve {
  steps: number[];
  times: number[];
  values: number[];
  /** Points of the run that these stand for. */
  total: number;
}

/** A run's part of an envelope: points of each bucket in their order, so chosen that no spike is lost. */
export function curveOf({ count, steps, timestamps, values }: WireCurve): Curve {
  return { steps, times: timestamps, values: values.map(number), total: count };
}

/** The values of a curve at ascending steps, on the straight line between its neighbours; NaN before and after it. */
export function at({ steps, values }: Curve, wanted: readonly number[]): number[] {
  let next = 0;
  return wanted.map((step) => {
    while (next < steps.length && steps[next]! < step) next++;
    if (next >= steps.length) return NaN;
    // Of several points at a step the last counts.
    if (steps[next] === step) {
      let last = next;
      while (steps[last + 1] === step) last++;
      return values[last]!;
    }
    if (next === 0) return NaN;
    const share = (step - steps[next - 1]!) / (steps[next]! - steps[next - 1]!);
    return values[next - 1]! + (values[next]! - values[next - 1]!) * share;
  });
}

/** Several curves of a run made into one, at the steps of that which has fewest points. */
export function combined(curves: readonly Curve[], of: (values: number[]) => number): Curve {
  const base = curves.reduce((least, curve) => (curve.total < least.total ? curve : least));
  const all = curves.map((curve) => (curve === base ? base.values : at(curve, base.steps)));
  return { ...base, values: base.steps.map((_, i) => of(all.map((values) => values[i]!))) };
}

/** A curve over another metric of its run: where that has a value. */
export function against(curve: Curve, other: Curve): { x: number[]; curve: Curve } {
  const x = at(other, curve.steps);
  const keep = x.map((_, i) => i).filter((i) => Number.isFinite(x[i]));
  const pick = (list: readonly number[]) => keep.map((i) => list[i]!);
  return { x: pick(x), curve: { steps: pick(curve.steps), times: pick(curve.times), values: pick(curve.values), total: curve.total } };
}

export function xOf(curve: Curve, axis: XAxis): number[] {
  if (axis === "step") return curve.steps;
  if (axis === "wall") return curve.times.map((time) => time / 1000);
  const start = curve.times.reduce((least, time) => Math.min(least, time), Infinity);
  return curve.times.map((time) => (time - start) / 1000);
}

/**
 * Exponential moving average, `weight` in 0..1, without the pull towards zero at the start. Where points lie unevenly, as
 * after thinning, a longer gap forgets more.
 */
export function smooth(xs: readonly number[], ys: readonly number[], weight: number): number[] {
  if (weight <= 0 || ys.length < 3) return [...ys];
  const span = (xs.at(-1)! - xs[0]!) / (xs.length - 1) || 1;
  const out: number[] = [];
  let sum = 0;
  let mass = 0;
  let previous: number | null = null;
  ys.forEach((y, i) => {
    if (!Number.isFinite(y)) {
      out.push(y);
      return;
    }
    const gap: number = previous === null ? 1 : Math.max(0, (xs[i]! - xs[previous]!) / span);
    const keep: number = Math.pow(Math.min(weight, 0.9999), gap);
    const add = gap === 0 ? 1 - weight : 1 - keep;
    sum = sum * (1 - add) + y * add;
    mass = mass * (1 - add) + add;
    out.push(sum / mass);
    previous = i;
  });
  return out;
}

/** The bounds within which `share` of the values lie: what is outside does not stretch the axis. */
export function withoutOutliers(values: readonly number[], share = 0.95): [number, number] | null {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  if (sorted.length < 8) return null;
  const cut = Math.floor((sorted.length * (1 - share)) / 2);
  const low = sorted[cut]!;
  const high = sorted[sorted.length - 1 - cut]!;
  return low < high ? [low, high] : null;
}

export interface Aligned {
  x: number[];
  ys: (number | null)[][];
}

/**
 * Puts curves over one x axis, as the chart wants them. Beyond `most` different x they are gathered in cells, each of which
 * keeps its smallest and greatest point in their order, so that spikes stay.
 */
export function align(curves: readonly { x: readonly number[]; y: readonly number[] }[], most = 4000): Aligned {
  const union = new Set<number>();
  for (const { x } of curves) {
    for (const at of x) {
      union.add(at);
      if (union.size > most) return gather(curves, most);
    }
  }
  const x = [...union].sort((a, b) => a - b);
  const place = new Map(x.map((at, i) => [at, i]));
  const ys = curves.map((curve) => {
    const y: (number | null)[] = new Array(x.length).fill(null);
    curve.x.forEach((at, i) => {
      const value = curve.y[i]!;
      y[place.get(at)!] = Number.isFinite(value) ? value : null;
    });
    return y;
  });
  return { x, ys };
}

function gather(curves: readonly { x: readonly number[]; y: readonly number[] }[], most: number): Aligned {
  let low = Infinity;
  let high = -Infinity;
  for (const { x } of curves) {
    for (const at of x) {
      if (at < low) low = at;
      if (at > high) high = at;
    }
  }
  const cells = Math.max(1, Math.floor(most / 2));
  const width = (high - low) / cells || 1;
  const x = Array.from({ length: cells * 2 }, (_, i) => low + (i / 2) * width + (i % 2 ? 0 : width * 0.01));
  const ys = curves.map((curve) => {
    const y: (number | null)[] = new Array(cells * 2).fill(null);
    const min: (number | undefined)[] = [];
    const max: (number | undefined)[] = [];
    curve.x.forEach((at, i) => {
      const value = curve.y[i]!;
      if (!Number.isFinite(value)) return;
      const cell = Math.min(cells - 1, Math.floor((at - low) / width));
      if (min[cell] === undefined || value < curve.y[min[cell]]!) min[cell] = i;
      if (max[cell] === undefined || value > curve.y[max[cell]]!) max[cell] = i;
    });
    min.forEach((first, cell) => {
      if (first === undefined) return;
      const second = max[cell]!;
      y[cell * 2] = curve.y[Math.min(first, second)]!;
      if (first !== second) y[cell * 2 + 1] = curve.y[Math.max(first, second)]!;
    });
    return y;
  });
  return { x, ys };
}

/** How wide the band of a group is: from its smallest to its greatest, or one standard deviation to each side. */
export type Spread = "range" | "deviation";

/** Mean and spread of some curves over cells of x: the band of a group. */
export function band(curves: readonly { x: readonly number[]; y: readonly number[] }[], spread: Spread = "range", cells = 200) {
  const flat = curves.flatMap(({ x }) => [...x]);
  const low = flat.reduce((a, b) => Math.min(a, b), Infinity);
  const high = flat.reduce((a, b) => Math.max(a, b), -Infinity);
  if (!Number.isFinite(low)) return { x: [], mean: [], min: [], max: [] };
  const steps = new Set(flat);
  const wanted = Math.min(cells, steps.size);
  const width = (high - low) / Math.max(1, wanted - 1) || 1;
  const sum = new Array<number>(wanted).fill(0);
  const apart = new Array<number>(wanted).fill(0);
  const count = new Array<number>(wanted).fill(0);
  const min = new Array<number>(wanted).fill(Infinity);
  const max = new Array<number>(wanted).fill(-Infinity);
  for (const { x, y } of curves) {
    x.forEach((at, i) => {
      const value = y[i]!;
      if (!Number.isFinite(value)) return;
      const cell = Math.min(wanted - 1, Math.max(0, Math.round((at - low) / width)));
      count[cell]!++;
      // Welford's way, which keeps small differences of large numbers.
      const off = value - sum[cell]! / Math.max(1, count[cell]! - 1);
      sum[cell]! += value;
      apart[cell]! += off * (value - sum[cell]! / count[cell]!);
      min[cell] = Math.min(min[cell]!, value);
      max[cell] = Math.max(max[cell]!, value);
    });
  }
  const keep = sum.map((_, i) => i).filter((i) => count[i]! > 0);
  const mean = keep.map((i) => sum[i]! / count[i]!);
  const deviation = (i: number) => (count[i]! > 1 ? Math.sqrt(Math.max(0, apart[i]!) / (count[i]! - 1)) : 0);
  return {
    x: keep.map((i) => low + i * width),
    mean,
    min: keep.map((i, at) => (spread === "range" ? min[i]! : mean[at]! - deviation(i))),
    max: keep.map((i, at) => (spread === "range" ? max[i]! : mean[at]! + deviation(i))),
  };
}

/** The steps to ask for when a chart is zoomed to `low..high` of its x axis: those inside, and a neighbour on each side. */
export function stepsWithin(curves: readonly { x: readonly number[]; steps: readonly number[] }[], low: number, high: number): [number, number] | null {
  let from = Infinity;
  let to = -Infinity;
  for (const { x, steps } of curves) {
    for (let i = 0; i < x.length; i++) {
      if (x[i]! < low && !(x[i + 1] !== undefined && x[i + 1]! >= low)) continue;
      if (x[i]! > high && !(i > 0 && x[i - 1]! <= high)) continue;
      from = Math.min(from, steps[i]!);
      to = Math.max(to, steps[i]!);
    }
  }
  return from <= to ? [from, to] : null;
}

/** `train/loss` -> `train`; what has no prefix is in the section `metrics`. */
export function section(key: string): string {
  const at = key.lastIndexOf("/");
  return at > 0 ? key.slice(0, at) : "metrics";
}

export function sections(keys: readonly string[]): { name: string; keys: string[] }[] {
  const by = new Map<string, string[]>();
  for (const key of keys) {
    const name = section(key);
    const list = by.get(name);
    if (list) list.push(key);
    else by.set(name, [key]);
  }
  const weight = (name: string) => (name === "metrics" ? 0 : name === "system" || name.startsWith("system/") ? 2 : 1);
  return [...by.entries()].map(([name, list]) => ({ name, keys: list })).sort((a, b) => weight(a.name) - weight(b.name) || a.name.localeCompare(b.name));
}
