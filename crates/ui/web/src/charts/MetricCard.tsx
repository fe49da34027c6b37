// One metric of some runs: fetched as envelopes when the card comes into sight, and again when it is zoomed.

import { useQueries } from "@tanstack/react-query";
import { type ReactNode, useEffect, useMemo, useRef, useState } from "react";
import { envelope } from "../api/calls";
import type { EnvelopeAnswer, Run } from "../api/types";
import { colorOf, paletteColor } from "../lib/color";
import { cell, column } from "../lib/columns";
import { toCsv } from "../lib/csv";
import { fixed, short } from "../lib/format";
import { type Curve, type XAxis, band, curveOf, smooth, stepsWithin, xOf } from "../lib/series";
import { Button, Dialog, ErrorNote, Item, Popover, failed } from "../ui/kit";
import { save } from "../pages/shared";
import { type ChartHandle, type Line, LineChart } from "./LineChart";

export interface Settings {
  x: XAxis;
  smoothing: number;
  logX: boolean;
  logY: boolean;
  clip: boolean;
  bands: boolean;
  groupBy: string[];
}

export const PLAIN: Settings = { x: "step", smoothing: 0, logX: false, logY: false, clip: false, bands: false, groupBy: [] };

/** The server answers so many runs at once. */
const RUNS_A_REQUEST = 100;

function bucketsFor(runs: number, wide: boolean): number {
  // Up to four points a bucket: a card is some 300 pixels wide.
  const [most, points] = wide ? [600, 150_000] : [160, 50_000];
  return Math.max(60, Math.min(most, Math.floor(points / Math.max(1, runs))));
}

/** With more requests than this, a card is drawn once all are answered, not anew for each. */
const DRAWN_BY_PART = 3;

function useCurves(runs: readonly Run[], metric: string, range: readonly [number, number] | null, wide: boolean) {
  const ids = useMemo(() => runs.filter((run) => metric in run.metrics).map((run) => run.id), [runs, metric]);
  const chunks = useMemo(() => Array.from({ length: Math.ceil(ids.length / RUNS_A_REQUEST) }, (_, i) => ids.slice(i * RUNS_A_REQUEST, (i + 1) * RUNS_A_REQUEST)), [ids]);
  const live = runs.some((run) => run.status === "RUNNING");
  const buckets = bucketsFor(ids.length, wide);
  const answers = useQueries({
    queries: chunks.map((chunk) => ({
      queryKey: ["envelope", metric, chunk, buckets, range],
      queryFn: ({ signal }: { signal: AbortSignal }) => envelope(chunk, metric, buckets, range, signal),
      placeholderData: (previous: EnvelopeAnswer | undefined) => previous,
      staleTime: live ? 5_000 : 300_000,
      meta: { live },
    })),
    combine: (results) => ({
      data: results.map(({ data }) => data),
      pending: results.some(({ isPending }) => isPending),
      error: results.find(({ error }) => error)?.error ?? null,
      stamp: results.map(({ dataUpdatedAt }) => dataUpdatedAt).join(),
    }),
  });
  const waiting = answers.pending && chunks.length > DRAWN_BY_PART;
  const curves = useMemo(() => {
    const out = new Map<string, Curve>();
    if (waiting) return out;
    for (const answer of answers.data) for (const { run_id, buckets: list } of answer?.runs ?? []) out.set(run_id, curveOf(list));
    return out;
    // eslint-disable-next-line
  }, [answers.stamp, chunks, waiting]);
  return { curves, pending: answers.pending, error: answers.error };
}

export function MetricCard({ metric, runs, settings, sync, title, wide, extra }: { metric: string; runs: readonly Run[]; settings: Settings; sync?: string; title?: string; wide?: boolean; extra?: ReactNode }) {
  const [zoom, setZoom] = useState<[number, number] | null>(null);
  const [steps, setSteps] = useState<[number, number] | null>(null);
  const [full, setFull] = useState(false);
  const chart = useRef<ChartHandle>(null);
  const base = useCurves(runs, metric, null, Boolean(wide));
  const near = useCurves(steps ? runs : [], metric, steps, Boolean(wide));
  useEffect(() => {
    setZoom(null);
    setSteps(null);
  }, [settings.x]);

  const { lines, points, total } = useMemo(() => {
    const entries: { run: Run; x: number[]; curve: Curve }[] = [];
    let points = 0;
    let total = 0;
    for (const run of runs) {
      const whole = base.curves.get(run.id);
      if (!whole || whole.steps.length === 0) continue;
      const closer = steps ? near.curves.get(run.id) : undefined;
      const curve = closer && closer.steps.length > 0 ? closer : whole;
      points += curve.steps.length;
      total += curve.total;
      let x = xOf(curve, settings.x);
      // What is nearer begins later: relative time counts from the run's first point all the same.
      if (curve === closer && settings.x === "relative") {
        const start = whole.times.reduce((least, time) => Math.min(least, time), Infinity);
        x = curve.times.map((time) => (time - start) / 1000);
      }
      entries.push({ run, x, curve });
    }
    const lines: Line[] = [];
    const monotone = (x: number[], y: number[]) => {
      if (settings.x === "step") return { x, y };
      const order = x.map((_, i) => i).sort((a, b) => x[a]! - x[b]!);
      return { x: order.map((i) => x[i]!), y: order.map((i) => y[i]!) };
    };
    if (settings.groupBy.length > 0 && settings.bands) {
      const by = settings.groupBy.map(column);
      const groups = new Map<string, { x: number[]; y: number[] }[]>();
      for (const { run, x, curve } of entries) {
        const name = by.map((col) => cell(run, col) ?? "none").join(" · ");
        const list = groups.get(name) ?? [];
        list.push({ x, y: curve.values });
        groups.set(name, list);
      }
      const names = [...groups.keys()].sort((a, b) => a.localeCompare(b));
      for (const [name, curves] of groups) {
        const of = band(curves);
        const color = paletteColor(names.indexOf(name));
        lines.push({ id: name, label: `${name} (${curves.length})`, color, x: of.x, y: smooth(of.x, of.mean, settings.smoothing), low: of.min, high: of.max });
      }
    } else {
      for (const { run, x, curve } of entries) {
        const color = colorOf(run.id);
        const of = monotone(x, curve.values);
        if (settings.smoothing > 0 && of.y.length > 2) {
          if (entries.length <= 50) lines.push({ id: `${run.id}~`, label: run.name, color, ...of, faint: true });
          lines.push({ id: run.id, label: run.name, color, x: of.x, y: smooth(of.x, of.y, settings.smoothing) });
        } else lines.push({ id: run.id, label: run.name, color, ...of });
      }
    }
    return { lines, points, total };
  }, [base.curves, near.curves, steps, runs, settings.x, settings.smoothing, settings.groupBy, settings.bands]);

  const onZoom = (range: [number, number] | null) => {
    setZoom(range);
    if (!range) {
      setSteps(null);
      return;
    }
    const within = stepsWithin([...base.curves.values()].map((curve) => ({ x: xOf(curve, settings.x), steps: curve.steps })), range[0], range[1]);
    setSteps(within);
  };

  const single = lines.length > 0 && lines.every(({ x }) => x.length <= 1);
  const name = title ?? metric;
  const csv = () => {
    const rows: unknown[][] = [];
    for (const run of runs) {
      const curve = (steps && near.curves.get(run.id)) || base.curves.get(run.id);
      curve?.steps.forEach((step, i) => rows.push([run.id, run.name, metric, step, curve.times[i], curve.values[i]]));
    }
    return toCsv(["run_id", "run_name", "key", "step", "timestamp", "value"], rows);
  };
  return (
    <div className="chart">
      <header>
        <h3 className="cut" title={metric}>
          {name}
        </h3>
        {points < total && (
          <span className="faint num" style={{ fontSize: 11 }} title="Smallest and greatest of each stretch are kept, so no spike is lost; zoom in for more">
            {short(points)} of {short(total)}
          </span>
        )}
        {zoom && (
          <Button small kind="quiet" onClick={() => onZoom(null)}>
            Reset zoom
          </Button>
        )}
        <span className="tools">
          {extra}
          <Popover label={`Download ${name}`} role="menu" trigger={(props) => <Button small kind="quiet" icon="download" title={`Download ${name}`} {...props} />}>
            {(close) => (
              <>
                <Item onClick={() => (close(), chart.current?.png().then((blob) => blob && save(`${metric}.png`, blob), failed))}>PNG</Item>
                <Item onClick={() => (close(), save(`${metric}.svg`, chart.current?.svg() ?? "", "image/svg+xml"))}>SVG</Item>
                <Item onClick={() => (close(), save(`${metric}.csv`, csv(), "text/csv"))}>CSV of the points drawn</Item>
              </>
            )}
          </Popover>
          {!wide && <Button small kind="quiet" icon="full" title={`${name} in full size`} onClick={() => setFull(true)} />}
        </span>
      </header>
      {base.error && base.curves.size === 0 ? (
        <div style={{ padding: 12 }}>
          <ErrorNote error={base.error} />
        </div>
      ) : lines.length === 0 ? (
        <div className="plot">
          <div className="msg">{base.pending ? (runs.length > 100 ? `Fetching the curves of ${runs.length} runs…` : "") : "None of the runs drawn has points of it."}</div>
        </div>
      ) : single ? (
        <Bars lines={lines} />
      ) : (
        <LineChart label={name} lines={lines} axis={settings.x} logX={settings.logX} logY={settings.logY} clip={settings.clip} zoom={zoom} onZoom={onZoom} sync={sync} handle={chart} />
      )}
      {full && (
        <Dialog title={name} className="full" onClose={() => setFull(false)}>
          <div className="dialog-chart">
            <MetricCard metric={metric} runs={runs} settings={settings} wide title={name} />
          </div>
        </Dialog>
      )}
    </div>
  );
}

/** Values that have no history, side by side. */
function Bars({ lines }: { lines: Line[] }) {
  const sorted = [...lines].sort((a, b) => (b.y[0] ?? 0) - (a.y[0] ?? 0));
  const most = Math.max(...sorted.map(({ y }) => Math.abs(y[0] ?? 0)), 1e-12);
  return (
    <div style={{ overflow: "auto", padding: "4px 12px 12px", flex: 1 }}>
      {sorted.slice(0, 200).map(({ id, label, color, y }) => (
        <div key={id} className="row" style={{ gap: 8, height: 22, fontSize: 12 }}>
          <span className="cut soft" style={{ width: 110 }} title={label}>
            {label}
          </span>
          <span className="grow">
            <span style={{ display: "block", height: 12, borderRadius: 3, background: color, width: `${(Math.abs(y[0] ?? 0) / most) * 100}%`, minWidth: 2 }} />
          </span>
          <b className="num" style={{ fontWeight: 540 }}>
            {fixed(y[0] ?? NaN)}
          </b>
        </div>
      ))}
    </div>
  );
}

/** Children are in the document only while they are near the window: a thousand cards cost as much as ten. */
export function Lazy({ height, children, className = "chart lazy" }: { height: number; children: ReactNode; className?: string }) {
  const ref = useRef<HTMLDivElement>(null);
  const [near, setNear] = useState(false);
  useEffect(() => {
    const watch = new IntersectionObserver((entries) => setNear(entries.at(-1)!.isIntersecting), { rootMargin: "400px 0px" });
    watch.observe(ref.current!);
    return () => watch.disconnect();
  }, []);
  return (
    <div ref={ref} style={{ minHeight: height, minWidth: 0 }}>
      {near ? children : <div className={className} style={{ height }} />}
    </div>
  );
}
