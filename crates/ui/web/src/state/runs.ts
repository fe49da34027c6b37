// Runs of a search, page after page as they are needed, kept up to date without losing the place.

import { useEffect, useMemo, useSyncExternalStore } from "react";
import { type RunQuery, runs as calls } from "../api/calls";
import { sql, sqlMissing } from "../api/sql";
import type { Run } from "../api/types";
import type { Stats } from "../lib/columns";
import { RunsSql, parse, sqlText } from "../lib/filter";
import { refreshing } from "./session";

const FIRST = 200;
const NEXT = 1000;
/** Up to this many loaded rows are fetched again when the lake has moved on; beyond, people are asked. */
const REFRESH_MOST = 2000;

export interface RunsState {
  runs: Run[];
  done: boolean;
  loading: boolean;
  error: unknown;
  /** All that match, where the server could say. */
  total: number | null;
  /** The lake has moved on, and too much is loaded to fetch it again unasked. */
  stale: boolean;
}

export class RunsLoader {
  private state: RunsState = { runs: [], done: false, loading: false, error: null, total: null, stale: false };
  private readonly watchers = new Set<() => void>();
  private next: string | undefined;
  private wanted = 0;
  private refreshing = false;
  /** The lake moved on while a page was being fetched. */
  private missed = false;
  private stop = new AbortController();

  constructor(readonly query: RunQuery) {}

  get = (): RunsState => this.state;

  subscribe = (watch: () => void): (() => void) => {
    this.watchers.add(watch);
    return () => this.watchers.delete(watch);
  };

  private set(patch: Partial<RunsState>): void {
    this.state = { ...this.state, ...patch };
    for (const watch of this.watchers) watch();
  }

  start(): void {
    if (this.stop.signal.aborted) {
      this.stop = new AbortController();
      this.set({ loading: false });
    }
    this.want(1);
    void this.count();
  }

  close(): void {
    this.stop.abort();
  }

  /** Loads until `count` rows are there, or all. */
  want(count: number): void {
    this.wanted = Math.max(this.wanted, count);
    if (!this.state.loading && !this.state.done && this.state.error === null && this.state.runs.length < this.wanted) void this.load();
  }

  retry(): void {
    this.set({ error: null });
    this.want(this.state.runs.length + 1);
  }

  private async load(): Promise<void> {
    const { signal } = this.stop;
    this.set({ loading: true });
    try {
      while (this.state.runs.length < this.wanted && !this.state.done) {
        const size = this.state.runs.length === 0 ? FIRST : Math.min(5000, Math.max(NEXT, this.wanted - this.state.runs.length));
        const page = await calls.page(this.query, size, this.next, signal);
        this.next = page.next ?? undefined;
        this.set({ runs: this.state.runs.concat(page.runs), done: page.next === null });
      }
      this.set({ loading: false });
      if (this.missed) void this.refresh();
    } catch (error) {
      if (!signal.aborted) this.set({ loading: false, error });
    }
  }

  private async count(): Promise<void> {
    if (sqlMissing()) return;
    try {
      const statement = new RunsSql();
      const filter = parse(this.query.filter);
      if (filter) statement.condition(filter);
      const answer = await sql(`SELECT count(*) ${statement.from(this.query.experimentIds, this.query.view, filter)}`, { signal: this.stop.signal });
      this.set({ total: Number(answer.rows[0]?.[0] ?? 0) });
    } catch {
      // The number of loaded rows will do.
    }
  }

  /** Fetches what is loaded again. Rows that did not change stay the same objects, so that they are not drawn again. */
  async refresh(force = false): Promise<void> {
    const { runs, loading, done } = this.state;
    this.missed = loading || this.refreshing;
    if (this.missed) return;
    if (runs.length > REFRESH_MOST && !force) {
      this.set({ stale: true });
      return;
    }
    this.refreshing = true;
    try {
      const count = force ? Math.max(FIRST, Math.min(runs.length, REFRESH_MOST)) : Math.max(FIRST, runs.length + (done ? 100 : 0));
      const page = await calls.page(this.query, Math.min(5000, count), undefined, this.stop.signal);
      const before = new Map(runs.map((run) => [run.id, run]));
      let same = page.runs.length === runs.length;
      const merged = page.runs.map((run, i) => {
        const old = before.get(run.id);
        const keep = old && JSON.stringify(old) === JSON.stringify(run) ? old : run;
        if (keep !== runs[i]) same = false;
        return keep;
      });
      this.next = page.next ?? undefined;
      if (!same || this.state.stale) this.set({ runs: same ? runs : merged, done: page.next === null, stale: false, error: null });
      void this.count();
    } catch {
      // The next change brings another chance; what is shown stays.
    } finally {
      this.refreshing = false;
    }
  }
}

export function useRuns(query: RunQuery): { loader: RunsLoader; state: RunsState } {
  const key = JSON.stringify(query);
  const loader = useMemo(() => new RunsLoader(JSON.parse(key) as RunQuery), [key]);
  useEffect(() => {
    loader.start();
    const off = refreshing(() => loader.refresh(), 700);
    return () => {
      off();
      loader.close();
    };
  }, [loader]);
  return { loader, state: useSyncExternalStore(loader.subscribe, loader.get) };
}

/** Runs whose statistics one statement asks for. */
const STATS_AT_ONCE = 2000;

/** Smallest, greatest and mean of metrics of some runs, as the tables know them. */
export async function statsOf(runIds: readonly string[], keys: readonly string[], signal: AbortSignal): Promise<Stats> {
  const out = new Map<string, Map<string, { min: number; max: number; mean: number }>>();
  if (runIds.length === 0 || keys.length === 0) return out;
  for (let from = 0; from < runIds.length; from += STATS_AT_ONCE) {
    const some = runIds.slice(from, from + STATS_AT_ONCE);
    const answer = await sql(
      `SELECT run_id, key, min, max, sum / count AS mean FROM latest_metrics WHERE key IN (${keys.map(sqlText).join(", ")}) AND run_id IN (${some.map(sqlText).join(", ")})`,
      { signal, row_limit: some.length * keys.length },
    );
    for (const [id, key, min, max, mean] of answer.rows) {
      const of = out.get(String(id)) ?? new Map<string, { min: number; max: number; mean: number }>();
      of.set(String(key), { min: Number(min), max: Number(max), mean: Number(mean) });
      out.set(String(id), of);
    }
  }
  return out;
}
