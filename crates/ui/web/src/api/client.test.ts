import { afterEach, expect, it, vi } from "vitest";
import { ApiError, json, setCsrf, url } from "./client";
import { sql, sqlMissing } from "./sql";

afterEach(() => {
  vi.unstubAllGlobals();
  setCsrf(null);
});

const answer = (status: number, body: unknown) => vi.fn(async () => new Response(JSON.stringify(body), { status }));

it("writes lists as repeated fields", () => {
  expect(url("/x", { a: ["1", "2"], b: undefined, c: "d e" })).toBe("/x?a=1&a=2&c=d+e");
});

it("brings the token of the session with what changes something", async () => {
  const fetch = answer(200, {});
  vi.stubGlobal("fetch", fetch);
  setCsrf("secret");
  await json("POST", "/x", { body: {} });
  await json("GET", "/x");
  const headers = fetch.mock.calls.map((call) => (call as unknown as [string, { headers: Record<string, string> }])[1].headers["X-CSRF-Token"]);
  expect(headers).toEqual(["secret", undefined]);
});

it("tells errors with what to do", async () => {
  vi.stubGlobal("fetch", answer(403, { error_code: "PERMISSION_DENIED", message: "No." }));
  const error = await json("GET", "/x").catch((failure: unknown) => failure as ApiError);
  expect(error).toMatchObject({ status: 403, code: "PERMISSION_DENIED", message: "No." });
  expect((error as ApiError).advice).toContain("administrator");
  vi.stubGlobal("fetch", vi.fn(async () => Promise.reject(new TypeError("network"))));
  await expect(json("GET", "/x")).rejects.toMatchObject({ status: 0 });
});

it("stops asking for SQL where there is none", async () => {
  const fetch = answer(404, { error_code: "ENDPOINT_NOT_FOUND", message: "There is no endpoint." });
  vi.stubGlobal("fetch", fetch);
  await expect(sql("SELECT 1")).rejects.toMatchObject({ status: 404 });
  expect(sqlMissing()).toBe(true);
  await expect(sql("SELECT 1")).rejects.toMatchObject({ status: 501 });
  expect(fetch).toHaveBeenCalledTimes(1);
});
