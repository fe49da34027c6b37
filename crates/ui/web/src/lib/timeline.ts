// Runs as bars over a common axis of time.

import type { Run } from "../api/types";
import { duration } from "./format";

export interface TimelineLine {
  run: Run;
  /** Shares of the axis. */
  from: number;
  to: number;
  lasts: number;
}

export const MOST_LINES = 500;

const SECOND = 1000;
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800, 1_209_600, 2_592_000, 7_776_000, 31_536_000].map((step) => step * SECOND);

/** What goes on at `now` reaches up to it, or to the edge where that would leave no room for all the rest. */
export function timeline(runs: readonly Run[], now: number): { lines: TimelineLine[]; ticks: { at: number; label: string }[]; total: number } {
  const started = runs.filter((run) => run.start !== null);
  const kept = started.slice(0, MOST_LINES).sort((a, b) => a.start! - b.start! || a.name.localeCompare(b.name));
  const open = (run: Run) => run.end === null && (run.status === "RUNNING" || run.status === "SCHEDULED");
  const ended = (run: Run) => Math.max(run.start!, run.end ?? (open(run) ? now : run.start!));
  const low = kept.reduce((least, run) => Math.min(least, run.start!), Infinity);
  const known = kept.reduce((most, run) => Math.max(most, open(run) ? run.start! : ended(run)), -Infinity);
  const closed = Math.max(SECOND, known - low);
  const high = !kept.some(open) ? known : now - known <= closed || kept.every(open) ? now : known + closed * 0.05;
  const span = Math.max(SECOND, high - low);
  const lines = kept.map((run) => ({ run, from: (run.start! - low) / span, to: Math.min(1, (ended(run) - low) / span), lasts: ended(run) - run.start! }));
  const step = STEPS.find((one) => span / one <= 7) ?? span / 6;
  const ticks = kept.length === 0 ? [] : Array.from({ length: Math.floor(span / step) + 1 }, (_, i) => ({ at: (i * step) / span, label: i === 0 ? new Date(low).toLocaleString([], { dateStyle: "short", timeStyle: "short" }) : `+${duration(i * step)}` }));
  return { lines, ticks, total: started.length };
}
