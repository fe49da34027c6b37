import { expect, test } from "vitest";
import { drawable, xRange, yRange } from "./range";

const sound = ([from, to]: readonly [number, number]) => Number.isFinite(from) && Number.isFinite(to) && from < to && Number.isFinite(to - from);

test("y axes have finite ends, whatever the values", () => {
  const values = [null, -1e308, -5, -1, 0, 1e-300, 1, 7, 1e308];
  for (const log of [false, true]) {
    for (const clip of [null, [-2, 3], [0.5, 3], [-1e307, 1e307]] as const) {
      for (const low of values) {
        for (const high of values) {
          if ((low === null) !== (high === null) || (low !== null && high! < low)) continue;
          const range = yRange(low, high, log, clip);
          expect(sound(range), `${low}..${high} ${log} ${clip}: ${range}`).toBe(true);
          if (log) expect(range[0]).toBeGreaterThan(0);
        }
      }
    }
  }
});

test("a logarithmic y axis holds all values", () => {
  const [from, to] = yRange(0.023, 3, true, null);
  expect(from).toBeLessThanOrEqual(0.023);
  expect(to).toBeGreaterThanOrEqual(3);
});

test("x axes follow the zoom, as far as a logarithm allows", () => {
  expect(xRange(null, 0, 10, false)).toEqual([0, 10]);
  expect(xRange([2, 3], 0, 10, false)).toEqual([2, 3]);
  expect(xRange(null, 4, 4, false)).toEqual([3.5, 4.5]);
  expect(xRange([0, 5], 1, 10, true)).toEqual([1, 5]);
  expect(sound(xRange([-3, -1], 1, 10, true))).toBe(true);
  expect(sound(xRange(null, 4, 4, true))).toBe(true);
  expect(sound(xRange(null, NaN, NaN, true))).toBe(true);
});

test("lines of nothing but NaN cannot be drawn, negative ones not over logarithms", () => {
  const nan = { x: [0, 1], y: [NaN, Infinity] };
  const below = { x: [0, 1], y: [-1, -2] };
  expect(drawable([nan], false, false)).toBe(false);
  expect(drawable([nan, below], false, false)).toBe(true);
  expect(drawable([nan, below], false, true)).toBe(false);
  expect(drawable([{ x: [-1, 0], y: [1, 2] }], true, false)).toBe(false);
});
