// Where the axes of curves begin and end.

import uPlot from "uplot";

/** So that the length of an axis is a number, too. */
const FARTHEST = 8e307;

/** The y axis for values from `low` to `high` (null: there are none), or for `clip`, which leaves outliers out. */
export function yRange(low: number | null, high: number | null, log: boolean, clip: readonly [number, number] | null): [number, number] {
  if (clip) {
    const [from, to] = clip;
    // What lies at or below zero has no place on a logarithmic axis.
    if (log) return from > 0 ? decades(from, to) : to > 0 && low !== null && low > 0 ? decades(low, to) : [1, 10];
    return [from - (to - from) * 0.05, to + (to - from) * 0.05];
  }
  if (low === null || high === null) return log ? [1, 10] : [0, 1];
  if (log) return low > 0 ? decades(low, high) : [1, 10];
  const within = (value: number) => Math.max(-FARTHEST, Math.min(FARTHEST, value));
  const [from, to] = [within(low), within(high)];
  if (low === high) {
    const room = Math.max(Math.abs(from) * 0.1, 0.1);
    return [from - room, to + room];
  }
  if (to - from > FARTHEST) return [from, to];
  const [start, end] = uPlot.rangeNum(from, to, 0.06, false);
  return start === null || end === null || !Number.isFinite(start) || !Number.isFinite(end) ? [from, to] : [start, end];
}

function decades(low: number, high: number): [number, number] {
  const [from, to] = uPlot.rangeLog(low, Math.max(low, high), 10, false);
  return from !== null && to !== null && from > 0 && from < to && Number.isFinite(to) ? [from, to] : [low / 2, Math.min(Math.max(low, high) * 2, Number.MAX_VALUE)];
}

/** The part of the x axis to show; null where all is. */
export function xRange(zoom: readonly [number, number] | null, low: number, high: number, log: boolean): [number, number] {
  let [from, to] = zoom ?? [low, high];
  if (log) {
    // Without points there are no ends either.
    if (!(low > 0)) [low, high] = [1, 10];
    if (!(from > 0)) from = low;
    if (!(to > 0)) to = high;
    if (from < to) return [from, to];
    return [from / 2, from * 2];
  }
  return from === to ? [from - 0.5, to + 0.5] : [from, to];
}

/** Whether any point can be drawn. */
export function drawable(lines: readonly { x: readonly number[]; y: readonly number[] }[], logX: boolean, logY: boolean): boolean {
  return lines.some(({ x, y }) => y.some((value, i) => Number.isFinite(value) && (!logY || value > 0) && (!logX || x[i]! > 0)));
}
