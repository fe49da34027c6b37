import { Binary, Bool, DateMillisecond, Decimal, Field, Float64, Int64, List, Struct, Utf8, vectorFromArray } from "apache-arrow";
import { expect, test } from "vitest";
import { shown } from "./arrow";

/** A decimal's words, as they come over the wire. */
const words = (value: bigint) => Uint32Array.from({ length: 4 }, (_, i) => Number(BigInt.asUintN(32, value >> BigInt(32 * i))));

test("decimals keep their point and their sign", () => {
  const money = new Decimal(2, 10);
  expect(shown(words(150n), money)).toBe("1.50");
  expect(shown(words(-7n), money)).toBe("-0.07");
  expect(shown(words(123456789012345678901234567890n), new Decimal(0, 38))).toBe("123456789012345678901234567890");
});

test("numbers in lists and structs are no texts", () => {
  const list = vectorFromArray([[1n, 2n, 9007199254740993n]], new List(Field.new("item", new Int64())));
  expect(shown(list.get(0), list.type)).toBe("[1,2,9007199254740993]");
  const struct = vectorFromArray([{ a: 1n, b: "x", c: null }], new Struct([Field.new("a", new Int64()), Field.new("b", new Utf8()), Field.new("c", new Float64())]));
  expect(shown(struct.get(0), struct.type)).toBe('{"a":1,"b":"x","c":null}');
  const nan = vectorFromArray([[NaN, 1.5]], new List(Field.new("item", new Float64())));
  expect(shown(nan.get(0), nan.type)).toBe("[NaN,1.5]");
});

test("short bytes are shown, long ones counted", () => {
  expect(shown(new Uint8Array([255, 1]), new Binary())).toBe("ff01");
  expect(shown(new Uint8Array([]), new Binary())).toBe("0 bytes");
  expect(shown(new Uint8Array(100), new Binary())).toBe("100 bytes");
});

test("plain values stay what they are", () => {
  expect(shown(null)).toBeNull();
  expect(shown(true, new Bool())).toBe(true);
  expect(shown(12n, new Int64())).toBe("12");
  expect(shown(0, new DateMillisecond())).toBe("1970-01-01");
});
