import { describe, expect, it } from "vitest";
import type { Bucket } from "../api/types";
import { align, band, curveOf, sections, smooth, stepsWithin, withoutOutliers, xOf } from "./series";

const point = (step: number, value: number | string) => ({ step, timestamp: 1000 + step * 10, value });

describe("curveOf", () => {
  it("keeps first, smallest, greatest and last in order, each once", () => {
    const buckets: Bucket[] = [
      { index: 0, count: 10, nan_count: 0, first: point(0, 5), last: point(9, 4), min: point(7, 1), max: point(3, 9) },
      { index: 1, count: 1, nan_count: 0, first: point(10, 2), last: point(10, 2), min: point(10, 2), max: point(10, 2) },
    ];
    const curve = curveOf(buckets);
    expect(curve.steps).toEqual([0, 3, 7, 9, 10]);
    expect(curve.values).toEqual([5, 9, 1, 4, 2]);
    expect(curve.total).toBe(11);
  });

  it("reads NaN and infinities", () => {
    const { values } = curveOf([{ index: 0, count: 2, nan_count: 1, first: point(0, "NaN"), last: point(1, Number.MAX_VALUE) }]);
    expect(values).toEqual([NaN, Infinity]);
  });
});

describe("smooth", () => {
  it("is the identity at 0, and keeps a constant", () => {
    expect(smooth([0, 1, 2], [3, 1, 2], 0)).toEqual([3, 1, 2]);
    for (const value of smooth([0, 1, 2, 3], [4, 4, 4, 4], 0.9)) expect(value).toBeCloseTo(4);
  });

  it("starts at the first value, not at zero", () => {
    expect(smooth([0, 1, 2], [10, 10.5, 11], 0.99)[0]).toBeCloseTo(10);
  });

  it("leaves NaN where it is", () => {
    const out = smooth([0, 1, 2, 3], [1, NaN, 3, 3], 0.5);
    expect(out[1]).toBeNaN();
    expect(out[3]).toBeGreaterThan(1);
  });
});

describe("align", () => {
  it("puts curves over the union of their x", () => {
    expect(align([{ x: [0, 2], y: [1, 3] }, { x: [1, 2], y: [5, NaN] }])).toEqual({ x: [0, 1, 2], ys: [[1, null, 3], [null, 5, null]] });
  });

  it("loses no extreme when there are too many x", () => {
    const x = Array.from({ length: 10_000 }, (_, i) => i);
    const y = x.map((i) => (i === 4321 ? 100 : i === 777 ? -100 : Math.sin(i)));
    const { x: cells, ys } = align([{ x, y }], 500);
    expect(cells.length).toBeLessThanOrEqual(500);
    expect(Math.max(...ys[0]!.filter((value) => value !== null))).toBe(100);
    expect(Math.min(...ys[0]!.filter((value) => value !== null))).toBe(-100);
    for (let i = 1; i < cells.length; i++) expect(cells[i]!).toBeGreaterThan(cells[i - 1]!);
  });
});

it("clips what lies far outside, and nothing when there is little", () => {
  const values = [...Array.from({ length: 100 }, (_, i) => i / 100), 1e6];
  expect(withoutOutliers(values)![1]).toBeLessThan(2);
  expect(withoutOutliers([1, 2, 3])).toBeNull();
});

it("draws a band of a group", () => {
  const of = band([{ x: [0, 1], y: [0, 2] }, { x: [0, 1], y: [4, 6] }]);
  expect(of).toEqual({ x: [0, 1], mean: [2, 4], min: [0, 2], max: [4, 6] });
});

it("asks for the steps in sight and one neighbour", () => {
  expect(stepsWithin([{ x: [0, 10, 20, 30, 40], steps: [0, 1, 2, 3, 4] }], 15, 25)).toEqual([1, 3]);
  expect(stepsWithin([], 0, 1)).toBeNull();
});

it("counts relative time from the first point", () => {
  const curve = { steps: [1, 2], times: [5000, 7000], values: [1, 2], total: 2 };
  expect(xOf(curve, "relative")).toEqual([0, 2]);
  expect(xOf(curve, "wall")).toEqual([5, 7]);
  expect(xOf(curve, "step")).toEqual([1, 2]);
});

it("groups metrics by their prefix, system last", () => {
  expect(sections(["system/cpu", "loss", "train/loss", "train/acc"])).toEqual([
    { name: "metrics", keys: ["loss"] },
    { name: "train", keys: ["train/loss", "train/acc"] },
    { name: "system", keys: ["system/cpu"] },
  ]);
});
