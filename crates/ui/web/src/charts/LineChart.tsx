// Lines over a shared x axis, drawn by uPlot.

import { type RefObject, useEffect, useImperativeHandle, useMemo, useRef, useState } from "react";
import { createPortal } from "react-dom";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { duration, exact, fixed } from "../lib/format";
import { type XAxis, align, metricAxis, withoutOutliers } from "../lib/series";
import { xRange, yRange } from "./range";
import { color as themeColor, useTheme } from "../state/session";

export interface Line {
  id: string;
  label: string;
  color: string;
  x: readonly number[];
  y: readonly number[];
  /** Drawn thinly behind, and not told of in the tooltip. */
  faint?: boolean;
  /** A band drawn behind the line, over the same x. */
  low?: readonly number[];
  high?: readonly number[];
}

export interface ChartHandle {
  png: () => Promise<Blob | null>;
  svg: () => string;
}

/** Where an axis begins and ends; null: where the curves do. */
export type Ends = [number | null, number | null];

interface Props {
  label: string;
  ends?: Ends;
  lines: Line[];
  axis: XAxis;
  logX: boolean;
  logY: boolean;
  clip: boolean;
  zoom: [number, number] | null;
  onZoom: (range: [number, number] | null) => void;
  sync?: string;
  handle?: RefObject<ChartHandle | null>;
}

interface Tip {
  left: number;
  top: number;
  x: number;
  near: string | null;
  rows: { id: string; label: string; color: string; value: number }[];
  more: number;
}

export function xText(value: number, axis: XAxis): string {
  if (axis === "wall") return exact(value * 1000);
  if (axis === "relative") return duration(value * 1000);
  return fixed(value);
}

const axisText = (value: number) => {
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e5 || size < 1e-3)) return value.toExponential(0).replace("e+", "e");
  return String(Number(value.toPrecision(4)));
};

export function LineChart({ label, lines, ends, axis, logX, logY, clip, zoom, onZoom, sync, handle }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [tip, setTip] = useState<Tip | null>(null);
  const { dark } = useTheme();
  const latest = useRef({ lines, onZoom, zoom, axis });
  latest.current = { lines, onZoom, zoom, axis };

  // Bands are two more series each, in front of all lines.
  const { series, data, bands } = useMemo(() => {
    const series: { line: Line; role: "line" | "low" | "high" }[] = [];
    for (const line of lines) {
      if (line.low && line.high) series.push({ line, role: "high" }, { line, role: "low" });
    }
    const bands = Array.from({ length: series.length / 2 }, (_, i) => ({ series: [i * 2 + 1, i * 2 + 2] as [number, number], fill: `${series[i * 2]!.line.color}2e` }));
    for (const line of lines) if (line.faint) series.push({ line, role: "line" });
    for (const line of lines) if (!line.faint) series.push({ line, role: "line" });
    const positive = (values: readonly number[], on: boolean) => (on ? values.map((value) => (value > 0 ? value : NaN)) : values);
    const curves = series.map(({ line, role }) => {
      const y = role === "line" ? line.y : role === "low" ? line.low! : line.high!;
      if (!logX) return { x: line.x, y: positive(y, logY) };
      const keep = line.x.map((at, i) => (at > 0 ? i : -1)).filter((i) => i >= 0);
      return { x: keep.map((i) => line.x[i]!), y: positive(keep.map((i) => y[i]!), logY) };
    });
    const aligned = align(curves, curves.length > 200 ? 800 : 4000);
    return { series, bands, data: [aligned.x, ...aligned.ys] as uPlot.AlignedData };
  }, [lines, logX, logY]);

  const clipped = useMemo(() => (clip ? withoutOutliers(lines.flatMap(({ y }) => (logY ? y.filter((value) => value > 0) : [...y]))) : null), [clip, lines, logY]);
  const structure = `${series.map(({ line, role }) => `${line.id}${role}${line.color}${line.faint ? "f" : ""}${line.x.length < 40 ? "p" : ""}`).join()}|${axis}|${logX}|${logY}|${dark}`;
  const ranges = useRef({ clipped, ends });
  ranges.current = { clipped, ends };

  useEffect(() => {
    const el = box.current!;
    const ink = themeColor("--fg-faint");
    const grid = themeColor("--line");
    const few = series.length <= 120;
    const natural = (low: number | null, high: number | null) => yRange(low, high, logY, ranges.current.clipped);
    const options: uPlot.Options = {
      width: Math.max(60, el.clientWidth),
      height: Math.max(60, el.clientHeight),
      legend: { show: false },
      padding: [8, 12, 0, 2],
      cursor: {
        y: false,
        drag: { x: true, y: false, setScale: false },
        focus: few ? { prox: 24 } : undefined,
        points: { size: 6, show: few ? undefined : false },
        sync: sync ? { key: sync, scales: ["x", null] } : undefined,
        bind: { dblclick: () => () => (latest.current.onZoom(null), null) },
      },
      focus: { alpha: 0.35 },
      scales: {
        x: {
          time: axis === "wall",
          distr: logX ? 3 : 1,
          range: (_, low, high) => xRange(latest.current.zoom, low, high, logX),
        },
        y: {
          distr: logY ? 3 : 1,
          range: (_, low, high) => {
            const [from, to] = ranges.current.ends ?? [null, null];
            const usable = (value: number | null): value is number => value !== null && (!logY || value > 0);
            const [least, most] = natural(low, high);
            const [start, end] = [usable(from) ? from : least, usable(to) ? to : most];
            return start != null && end != null && start < end ? [start, end] : [least, most];
          },
        },
      },
      axes: [
        {
          stroke: ink, font: "11px Inter, sans-serif", size: 26, gap: 4, grid: { stroke: grid, width: 1 }, ticks: { show: false },
          values: axis === "wall" ? undefined : (_, ticks) => ticks.map((tick) => (tick === null ? "" : axis === "relative" ? duration(tick * 1000).replace(/ 0s$/, "") : axisText(tick))),
          space: 64,
        },
        { stroke: ink, font: "11px Inter, sans-serif", size: 50, gap: 4, grid: { stroke: grid, width: 1 }, ticks: { show: false }, values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : axisText(tick))) },
      ],
      series: [
        {},
        ...series.map(({ line, role }): uPlot.Series => ({
          label: line.label,
          stroke: role === "line" ? (line.faint ? `${line.color}45` : line.color) : "transparent",
          width: role !== "line" ? 0 : line.faint ? 1 : few ? 1.6 : 1,
          spanGaps: true,
          points: { show: role === "line" && !line.faint && (line.x.length === 1 || (line.x.length < 12 && few)), size: 5, fill: line.color },
        })),
      ],
      bands,
      hooks: {
        setSelect: [
          (u) => {
            const { left, width } = u.select;
            if (width > 4) latest.current.onZoom([u.posToVal(left, "x"), u.posToVal(left + width, "x")]);
            u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          },
        ],
        setCursor: [
          (u) => {
            if (u.cursor.left === undefined || u.cursor.left < 0 || !u.over.matches(":hover")) {
              setTip(null);
              return;
            }
            setTip(tipOf(u, latest.current.lines));
          },
        ],
      },
    };
    const chart = new uPlot(options, data, el);
    plot.current = chart;
    const watch = new ResizeObserver(() => chart.setSize({ width: Math.max(60, el.clientWidth), height: Math.max(60, el.clientHeight) }));
    watch.observe(el);
    return () => {
      watch.disconnect();
      chart.destroy();
      plot.current = null;
    };
    // The data goes its own way below: a new answer does not build the chart anew.
    // eslint-disable-next-line
  }, [structure]);

  useEffect(() => {
    plot.current?.setData(data);
  }, [data, zoom, clipped, ends]);

  useImperativeHandle(handle, () => ({
    png: () => new Promise((resolve) => (plot.current ? framed(plot.current.ctx.canvas).toBlob(resolve) : resolve(null))),
    svg: () => (plot.current ? svgOf(plot.current, lines, label) : ""),
  }));

  return (
    <>
      <div ref={box} className="plot" role="img" aria-label={`${label}: ${lines.filter(({ faint }) => !faint).length} lines`} />
      {tip &&
        createPortal(
          <div className="tip" style={{ left: Math.min(tip.left + 16, innerWidth - 330), top: Math.min(tip.top + 14, innerHeight - 60 - tip.rows.length * 19) }}>
            <div className="x">{axis === "step" ? "step " : metricAxis(axis) === null ? "" : `${metricAxis(axis)} `}{xText(tip.x, axis)}</div>
            {tip.rows.map(({ id, label: name, color, value }) => (
              <div key={id} className={`s ${id === tip.near ? "near" : ""}`}>
                <span className="dot" style={{ background: color }} />
                <span className="cut">{name}</span>
                <b>{fixed(value)}</b>
              </div>
            ))}
            {tip.more > 0 && <div className="faint">and {tip.more} more</div>}
          </div>,
          document.querySelector("dialog[open]") ?? document.body,
        )}
    </>
  );
}

const TIP_ROWS = 10;

function tipOf(u: uPlot, lines: readonly Line[]): Tip | null {
  const x = u.posToVal(u.cursor.left!, "x");
  const pointer = u.cursor.top!;
  const rows: (Tip["rows"][number] & { away: number })[] = [];
  for (const line of lines) {
    if (line.faint || line.x.length === 0) continue;
    const at = nearest(line.x, x);
    const value = line.y[at]!;
    if (!Number.isFinite(value)) continue;
    rows.push({ id: line.id, label: line.label, color: line.color, value, away: Math.abs(u.valToPos(value, "y") - pointer) });
  }
  if (rows.length === 0) return null;
  rows.sort((a, b) => a.away - b.away);
  const near = rows[0]!;
  const kept = rows.slice(0, TIP_ROWS).sort((a, b) => b.value - a.value);
  const rect = u.over.getBoundingClientRect();
  return { left: rect.left + u.cursor.left!, top: rect.top + pointer, x, near: near.away < 30 ? near.id : null, rows: kept, more: rows.length - kept.length };
}

/** The place of the value nearest to `x` in an ascending list. */
export function nearest(xs: readonly number[], x: number): number {
  let low = 0;
  let high = xs.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (xs[middle]! < x) low = middle + 1;
    else high = middle;
  }
  return low > 0 && x - xs[low - 1]! < xs[low]! - x ? low - 1 : low;
}

function framed(canvas: HTMLCanvasElement): HTMLCanvasElement {
  const out = document.createElement("canvas");
  out.width = canvas.width;
  out.height = canvas.height;
  const context = out.getContext("2d")!;
  context.fillStyle = themeColor("--bg-raised");
  context.fillRect(0, 0, out.width, out.height);
  context.drawImage(canvas, 0, 0);
  return out;
}

const escaped = (text: string) => text.replace(/[<>&"]/g, (c) => `&#${c.charCodeAt(0)};`);

function svgOf(u: uPlot, lines: readonly Line[], label: string): string {
  const width = u.width;
  const height = u.height;
  const { left, top } = u.over.getBoundingClientRect();
  const root = u.root.getBoundingClientRect();
  const [dx, dy] = [left - root.left, top - root.top];
  const ink = themeColor("--fg-faint");
  const [x0, x1] = [u.scales["x"]!.min!, u.scales["x"]!.max!];
  const [y0, y1] = [u.scales["y"]!.min!, u.scales["y"]!.max!];
  const ends = [x0, (x0 + x1) / 2, x1].map((value) => `<text x="${dx + u.valToPos(value, "x")}" y="${height - 6}" text-anchor="middle">${escaped(axisText(value))}</text>`);
  const sides = [y0, (y0 + y1) / 2, y1].map((value) => `<text x="${dx - 6}" y="${dy + u.valToPos(value, "y") + 4}" text-anchor="end">${escaped(axisText(value))}</text>`);
  const paths = lines.map((line) => {
    const points = line.x.flatMap((x, i) => {
      const y = line.y[i]!;
      return Number.isFinite(y) && x >= x0 && x <= x1 ? [`${(dx + u.valToPos(x, "x")).toFixed(1)},${(dy + u.valToPos(y, "y")).toFixed(1)}`] : [];
    });
    return `<polyline points="${points.join(" ")}" fill="none" stroke="${line.color}" stroke-width="${line.faint ? 0.7 : 1.5}" stroke-opacity="${line.faint ? 0.3 : 1}"><title>${escaped(line.label)}</title></polyline>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="Inter, sans-serif" font-size="11" fill="${ink}"><title>${escaped(label)}</title>${ends.join("")}${sides.join("")}${paths.join("")}</svg>`;
}
