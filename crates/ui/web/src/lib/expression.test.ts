import { describe, expect, it } from "vitest";
import { evaluate, metricsOf, parseExpression, written } from "./expression";

const known = ["loss", "train/loss", "val/loss", "val", "lr", "a b", "log"];
const values: Record<string, number> = { loss: 2, "train/loss": 10, "val/loss": 4, val: 3, lr: 0.5, "a b": 7, log: 9, "x-y": 6 };
const worth = (text: string) => evaluate(parseExpression(text, known), (key) => values[key] ?? NaN);

describe("expressions of metrics", () => {
  it.each([
    ["train/loss - val/loss", 6],
    ["val/loss", 4],
    ["val / loss", 1.5],
    ["(val)/loss", 1.5],
    ["loss + 2 * val", 8],
    ["(loss + 2) * val", 12],
    ["10 - 4 - 3", 3],
    ["2 ^ 3 ^ 2", 512],
    ["-loss ^ 2", -4],
    ["2 ^ -1", 0.5],
    ["2 * -loss", -4],
    ["-loss * 3", -6],
    ["8 / 4 / 2", 1],
    ["log(exp(loss))", 2],
    ["log + 1", 10],
    ["max(val, abs(-loss)) / 1e1", 0.3],
    ["`x-y` * 1.5", 9],
    ["a b + .5", 7.5],
    ["pow(loss, 3) - sqrt(4)", 6],
  ])("%s", (text, expected) => {
    expect(worth(text)).toBeCloseTo(expected, 12);
    // What is written into an address is read again without knowing any name.
    const again = parseExpression(written(parseExpression(text, known)));
    expect(evaluate(again, (key) => values[key] ?? NaN)).toBeCloseTo(expected, 12);
  });

  it.each([
    ["", "Something is missing at the end."],
    ["loss +", "Something is missing at the end."],
    ["(loss", "A closing parenthesis is missing."],
    ["loss)", ") is not expected here."],
    ["nothing * 2", "No metric or function is called nothing."],
    ["losses", "No metric or function is called losses."],
    ["eval(1)", "No metric or function is called eval."],
    ["constructor(1)", "No metric or function is called constructor."],
    ["max(1)", "max takes 2 values, not 1."],
    ["loss; val", "; is not expected here."],
    ["1 2", "2 is not expected here."],
    ["1e", "No metric or function is called 1e."],
    [`${"-".repeat(600)}1`, "An expression has at most 500 characters."],
  ])("%s says what is wrong", (text, message) => {
    expect(() => parseExpression(text, known)).toThrow(message);
  });

  it("names its metrics once", () => {
    expect(metricsOf(parseExpression("train/loss / (train/loss + val/loss)", known))).toEqual(["train/loss", "val/loss"]);
  });
});
