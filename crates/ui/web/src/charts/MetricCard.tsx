// One metric of some runs: fetched as envelopes when the card comes into sight, and again when it is zoomed.

import { useQueries } from "@tanstack/react-query";
import { type ReactNode, useEffect, useMemo, useRef, useState } from "react";
import { envelope } from "../api/calls";
import type { EnvelopeAnswer, Run } from "../api/types";
import { colorOf, paletteColor } from "../lib/color";
import { cell, column } from "../lib/columns";
import { toCsv } from "../lib/csv";
import { fixed, short } from "../lib/format";
import { type Expression, evaluate, metricsOf } from "../lib/expression";
import { type Curve, type Spread, type XAxis, against, band, combined, curveOf, metricAxis, smooth, stepsWithin, xOf } from "../lib/series";
import { Button, Dialog, ErrorNote, Item, Popover, failed } from "../ui/kit";
import { save } from "../pages/shared";
import { type ChartHandle, type Ends, type Line, LineChart } from "./LineChart";
import { drawable } from "./range";

export interface Settings {
  x: XAxis;
  smoothing: number;
  logX: boolean;
  logY: boolean;
  clip: boolean;
  bands: boolean;
  spread: Spread;
  groupBy: string[];
}

export const PLAIN: Settings = { x: "step", smoothing: 0, logX: false, logY: false, clip: false, bands: false, spread: "range", groupBy: [] };

/** The server answers so many runs at once. */
const RUNS_A_REQUEST = 100;

function bucketsFor(runs: number, wide: boolean): number {
  // Up to four points a bucket: a card is some 300 pixels wide.
  const [most, points] = wide ? [600, 150_000] : [160, 50_000];
  return Math.max(60, Math.min(most, Math.floor(points / Math.max(1, runs))));
}

/** With more requests than this, a card is drawn once all are answered, not anew for each. */
const DRAWN_BY_PART = 3;

/** The curves of some metrics of those runs that have all of them, by run in the order of the metrics. */
function useCurves(runs: readonly Run[], metrics: readonly string[], range: readonly [number, number] | null, wide: boolean) {
  const ids = useMemo(() => runs.filter((run) => metrics.every((key) => key in run.metrics)).map((run) => run.id), [runs, metrics]);
  const chunks = useMemo(() => Array.from({ length: Math.ceil(ids.length / RUNS_A_REQUEST) }, (_, i) => ids.slice(i * RUNS_A_REQUEST, (i + 1) * RUNS_A_REQUEST)), [ids]);
  const live = runs.some((run) => run.status === "RUNNING");
  const buckets = bucketsFor(ids.length, wide);
  const answers = useQueries({
    queries: metrics.flatMap((metric) => chunks.map((chunk) => ({
      queryKey: ["envelope", metric, chunk, buckets, range],
      queryFn: ({ signal }: { signal: AbortSignal }) => envelope(chunk, metric, buckets, range, signal),
      placeholderData: (previous: EnvelopeAnswer | undefined) => previous,
      staleTime: live ? 5_000 : 300_000,
      meta: { live },
    }))),
    combine: (results) => ({
      data: results.map(({ data }) => data),
      pending: results.some(({ isPending }) => isPending),
      error: results.find(({ error }) => error)?.error ?? null,
      stamp: results.map(({ dataUpdatedAt }) => dataUpdatedAt).join(),
    }),
  });
  const waiting = answers.pending && chunks.length > DRAWN_BY_PART;
  const curves = useMemo(() => {
    const out = new Map<string, Curve[]>();
    if (waiting) return out;
    answers.data.forEach((answer, i) => {
      const of = Math.floor(i / chunks.length);
      for (const run of answer?.runs ?? []) {
        const list = out.get(run.run_id) ?? [];
        list[of] = curveOf(run);
        out.set(run.run_id, list);
      }
    });
    // What is not there yet, or has no point in the range, is not drawn.
    for (const [id, list] of out) if (metrics.some((_, i) => !list[i])) out.delete(id);
    return out;
    // eslint-disable-next-line
  }, [answers.stamp, chunks, waiting, metrics]);
  return { curves, pending: answers.pending, error: answers.error };
}

const NONE: readonly Run[] = [];

/** Of each run the curve to draw, its metrics put into the expression if there is one; behind it that of the x axis. */
function useDrawn(fetched: ReturnType<typeof useCurves>, parts: readonly string[], expression?: Expression) {
  const { curves, pending, error } = fetched;
  const drawn = useMemo(() => {
    if (!expression) return curves;
    const of = (values: number[]) => evaluate(expression, (key) => values[parts.indexOf(key)]!);
    return new Map([...curves].map(([id, list]) => [id, [combined(list.slice(0, parts.length), of), ...list.slice(parts.length)]]));
  }, [curves, parts, expression]);
  return { curves: drawn, pending, error };
}

interface CardProps {
  /** A metric, or else an expression of several. */
  metric: string;
  expression?: Expression;
  runs: readonly Run[];
  settings: Settings;
  sync?: string;
  title?: string;
  wide?: boolean;
  extra?: ReactNode;
}

/** A curve with its x: steps, times, or the values of another metric, which comes last of `curves`. */
function placed(curves: readonly Curve[], axis: XAxis, start?: number): { x: number[]; curve: Curve } {
  const [curve, other] = curves as [Curve, Curve?];
  if (other) return against(curve, other);
  if (axis === "relative" && start !== undefined) return { x: curve.times.map((time) => (time - start) / 1000), curve };
  return { x: xOf(curve, axis), curve };
}

export function MetricCard(props: CardProps) {
  const { metric, expression, runs, settings, sync, title, wide, extra } = props;
  const [zoom, setZoom] = useState<[number, number] | null>(null);
  const [steps, setSteps] = useState<[number, number] | null>(null);
  const [full, setFull] = useState(false);
  const [ends, setEnds] = useState<Ends>([null, null]);
  const chart = useRef<ChartHandle>(null);
  const over = metricAxis(settings.x);
  const parts = useMemo(() => (expression ? metricsOf(expression) : [metric]), [metric, expression]);
  const wanted = useMemo(() => (over === null ? parts : [...parts, over]), [parts, over]);
  const base = useDrawn(useCurves(runs, wanted, null, Boolean(wide)), parts, expression);
  const near = useDrawn(useCurves(steps ? runs : NONE, wanted, steps, Boolean(wide)), parts, expression);
  useEffect(() => {
    setZoom(null);
    setSteps(null);
  }, [settings.x]);

  const { lines, points, total, odd } = useMemo(() => {
    const entries: { run: Run; x: number[]; curve: Curve }[] = [];
    let points = 0;
    let total = 0;
    let odd = 0;
    for (const run of runs) {
      const whole = base.curves.get(run.id);
      if (!whole || whole[0]!.steps.length === 0) continue;
      const closer = steps ? near.curves.get(run.id) : undefined;
      const chosen = closer && closer[0]!.steps.length > 0 ? closer : whole;
      points += chosen[0]!.steps.length;
      total += chosen[0]!.total;
      for (const value of chosen[0]!.values) if (!Number.isFinite(value)) odd++;
      // What is nearer begins later: relative time counts from the run's first point all the same.
      const start = chosen === closer ? whole[0]!.times.reduce((least, time) => Math.min(least, time), Infinity) : undefined;
      entries.push({ run, ...placed(chosen, settings.x, start) });
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
        const of = band(curves, settings.spread);
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
    return { lines, points, total, odd };
  }, [base.curves, near.curves, steps, runs, settings.x, settings.smoothing, settings.groupBy, settings.bands, settings.spread]);

  const onZoom = (range: [number, number] | null) => {
    setZoom(range);
    if (!range) {
      setSteps(null);
      return;
    }
    const all = [...base.curves.values()].map((curves) => placed(curves, settings.x));
    const within = stepsWithin(all.map(({ x, curve }) => ({ x, steps: curve.steps })), range[0], range[1]);
    setSteps(within);
  };

  const single = lines.length > 0 && lines.every(({ x }) => x.length <= 1);
  const name = title ?? metric;
  const csv = () => {
    const rows: unknown[][] = [];
    for (const run of runs) {
      const curve = ((steps && near.curves.get(run.id)) || base.curves.get(run.id))?.[0];
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
        {odd > 0 && !single && (
          <span className="faint num" style={{ fontSize: 11 }} title="Points that are NaN or infinite have no place on an axis">
            {short(odd)} NaN or ∞
          </span>
        )}
        {wide && !single && (
          <>
            <EndsOf label="Y" value={ends} onChange={setEnds} />
            {settings.x !== "wall" && <EndsOf label="X" value={zoom ?? [null, null]} onChange={([from, to]) => onZoom(from === null && to === null ? null : [from ?? Math.min(...lines.map(({ x }) => x[0] ?? Infinity)), to ?? Math.max(...lines.map(({ x }) => x.at(-1) ?? -Infinity))])} />}
          </>
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
          <div className="msg">{base.pending ? (runs.length > 100 ? `Fetching the curves of ${runs.length} runs…` : "") : over === null && !expression ? "None of the runs drawn has points of it." : `None of the runs drawn has points of ${wanted.join(" and ")} together.`}</div>
        </div>
      ) : single ? (
        <Bars lines={lines} />
      ) : !drawable(lines, settings.logX, settings.logY) ? (
        <div className="plot">
          <div className="msg">{drawable(lines, false, false) ? "No point lies above zero, where a logarithmic axis begins." : "Every point is NaN or infinite."}</div>
        </div>
      ) : (
        <LineChart label={name} lines={lines} axis={settings.x} logX={settings.logX} logY={settings.logY} clip={settings.clip} ends={ends} zoom={zoom} onZoom={onZoom} sync={sync} handle={chart} />
      )}
      {full && (
        <Dialog title={name} className="full" onClose={() => setFull(false)}>
          <div className="dialog-chart">
            <MetricCard {...props} sync={undefined} extra={undefined} wide title={name} />
          </div>
        </Dialog>
      )}
    </div>
  );
}

/** The first and last value of an axis, typed. What is empty is as the curves are. */
function EndsOf({ label, value, onChange }: { label: string; value: Ends; onChange: (value: Ends) => void }) {
  const field = (at: 0 | 1, name: string) => (
    <input
      key={`${at}${value[at]}`}
      className="input"
      style={{ width: 76, height: 24 }}
      type="number"
      step="any"
      aria-label={`${label} ${name}`}
      placeholder={name}
      defaultValue={value[at] === null ? "" : Number(value[at]!.toPrecision(6))}
      onBlur={(event) => put(at, event.target.value)}
      onKeyDown={(event) => event.key === "Enter" && put(at, event.currentTarget.value)}
    />
  );
  const put = (at: 0 | 1, text: string) => {
    const number = text === "" ? null : Number(text);
    const next: Ends = at === 0 ? [number, value[1]] : [value[0], number];
    const shown = value[at] === null ? null : Number(value[at]!.toPrecision(6));
    if (number === shown || (next[0] !== null && next[1] !== null && next[0] >= next[1])) return;
    onChange(next);
  };
  return (
    <span className="row faint" style={{ gap: 4, fontSize: 12 }}>
      {label} {field(0, "from")} {field(1, "to")}
    </span>
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
