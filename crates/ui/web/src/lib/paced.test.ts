import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { paced } from "./paced";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("calls without end do not put the work off", async () => {
  const work = vi.fn();
  const { call } = paced(work, 700);
  for (let i = 0; i < 20; i++) {
    call();
    await vi.advanceTimersByTimeAsync(500);
  }
  expect(work.mock.calls.length).toBeGreaterThanOrEqual(9);
  expect(work.mock.calls.length).toBeLessThanOrEqual(14);
});

test("work is never done twice at once, and once more for what came meanwhile", async () => {
  let at = 0;
  let most = 0;
  let times = 0;
  const { call } = paced(async () => {
    most = Math.max(most, ++at);
    await new Promise((done) => setTimeout(done, 2000));
    at--;
    times++;
  }, 100);
  call();
  await vi.advanceTimersByTimeAsync(200);
  call();
  call();
  await vi.advanceTimersByTimeAsync(10_000);
  expect([most, times]).toEqual([1, 2]);
});

test("work that fails is tried again, and none is done after the end", async () => {
  const work = vi.fn(() => Promise.reject(new Error("no")));
  const { call, stop } = paced(work, 10);
  call();
  await vi.advanceTimersByTimeAsync(20);
  call();
  await vi.advanceTimersByTimeAsync(20);
  expect(work).toHaveBeenCalledTimes(2);
  call();
  stop();
  call();
  await vi.advanceTimersByTimeAsync(100);
  expect(work).toHaveBeenCalledTimes(2);
});
