import { describe, expect, it } from "vitest";
import { against, align, at, band, combined, curveOf, metricAxis, sections, smooth, stepsWithin, withoutOutliers, xOf } from "./series";

const curve = (steps: number[], values: number[]) => ({ steps, times: steps.map((step) => 1000 + step * 10), values, total: steps.length });

describe("curveOf", () => {
  it("reads NaN and infinities", () => {
    const { values, total } = curveOf({ run_id: "r", count: 9, steps: [0, 1, 2], timestamps: [5, 6, 7], values: ["NaN", Number.MAX_VALUE, 2] });
    expect(values).toEqual([NaN, Infinity, 2]);
    expect(total).toBe(9);
  });
});

describe("several metrics of a run", () => {
  it("have values between their points, and none outside", () => {
    expect(at(curve([0, 10, 10, 20], [1, 3, 4, 6]), [-1, 0, 5, 10, 15, 20, 21])).toEqual([NaN, 1, 2, 4, 5, 6, NaN]);
    expect(at(curve([], []), [1])).toEqual([NaN]);
  });

  it("are combined where the rarer one was logged", () => {
    const train = curve([0, 1, 2, 3, 4], [10, 8, 6, 4, 2]);
    const valid = curve([1, 4], [9, 3]);
    const gap = combined([train, valid], ([a, b]) => b! - a!);
    expect(gap.steps).toEqual([1, 4]);
    expect(gap.values).toEqual([1, 1]);
    expect(gap.times).toEqual(valid.times);
  });

  it("are drawn against each other", () => {
    const { x, curve: of } = against(curve([0, 5, 10, 30], [1, 2, 3, 4]), curve([5, 15], [100, 300]));
    expect(x).toEqual([100, 200]);
    expect(of.values).toEqual([2, 3]);
    expect(of.steps).toEqual([5, 10]);
  });

  it("give the axis its name", () => {
    expect(metricAxis("metric:train/epoch")).toBe("train/epoch");
    expect(metricAxis("wall")).toBeNull();
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
  const apart = band([{ x: [0, 1], y: [1e9 + 1, 3] }, { x: [0, 1], y: [1e9 + 2, 3] }, { x: [0], y: [1e9 + 3] }], "deviation");
  expect(apart.mean).toEqual([1e9 + 2, 3]);
  expect(apart.max.map((value, i) => value - apart.mean[i]!)).toEqual([1, 0]);
  expect(apart.min.map((value, i) => value - apart.mean[i]!)).toEqual([-1, 0]);
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
