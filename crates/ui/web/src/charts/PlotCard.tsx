// Charts of whole runs: scatter, parallel coordinates, bars, boxes, contours.

import { useCallback, useMemo, useRef, useState } from "react";
import type { Run } from "../api/types";
import { colorOf } from "../lib/color";
import { type Stats, areNumbers, cell, column, label, text } from "../lib/columns";
import { toCsv } from "../lib/csv";
import { interpolate, wantsLog } from "../lib/field";
import { fixed, numeric, plural } from "../lib/format";
import { quartiles } from "../lib/group";
import type { CardSpec, RunsView } from "../lib/views";
import { save } from "../pages/shared";
import { Button, Dialog, Item, Popover } from "../ui/kit";
import { EChart, type EChartHandle, type Option, tooltip } from "./EChart";

type Kind = "scatter" | "parallel" | "bar" | "box" | "contour";

interface Props {
  card: CardSpec & { kind: Kind };
  runs: Run[];
  stats?: Stats;
  brush: RunsView["brush"];
  onBrush: (brush: RunsView["brush"]) => void;
  onRemove?: () => void;
  wide?: boolean;
}

type Colors = { ink: string; faint: string; line: string; panel: string };

const TITLES = { scatter: "Scatter", parallel: "Parallel coordinates", bar: "Bars", box: "Box plot", contour: "Contour" };
const SCALE = ["#2c3f8f", "#2277a8", "#2aa198", "#7fbf5b", "#f0c543"];
const MOST = 5000;

export default function PlotCard(props: Props) {
  const { card, runs, stats, brush, onBrush, onRemove, wide } = props;
  const handle = useRef<EChartHandle>(null);
  const [full, setFull] = useState(false);
  const cols = useMemo(() => card.columns.map(column), [card.columns]);
  const kept = useMemo(() => runs.slice(0, MOST), [runs]);
  // Whether a column is drawn as numbers or as words is the same for all its values.
  const numbers = useMemo(() => cols.map((col) => areNumbers(kept.map((run) => cell(run, col, stats)))), [cols, kept, stats]);
  const complete = useMemo(() => {
    const needed = card.kind === "bar" ? cols.slice(0, 1) : card.kind === "scatter" ? cols.slice(0, 2) : cols;
    return kept.filter((run) =>
      needed.every((col, i) => {
        const value = cell(run, col, stats);
        return value !== null && ((!numbers[i] && card.kind !== "contour") || numeric(value) !== null);
      }),
    ).length;
  }, [card.kind, cols, kept, numbers, stats]);
  const least = card.kind === "contour" ? 3 : 1;
  const title = `${TITLES[card.kind]}: ${cols.map(label).join(card.kind === "parallel" ? " · " : ", ")}`;

  const option = useCallback(
    (colors: Colors): Option => {
      const value = (run: Run, i: number) => (cols[i] ? cell(run, cols[i], stats) : null);
      const frame = base(colors);
      const axis = (i: number, extra: Option = {}): Option => {
        const values = kept.map((run) => value(run, i)).filter((one) => one !== null);
        const common = { name: cols[i] ? label(cols[i]) : "", nameLocation: "middle", nameGap: 26, nameTextStyle: { color: colors.faint }, axisLabel: { color: colors.faint, hideOverlap: true, formatter: undefined as unknown }, axisLine: { lineStyle: { color: colors.line } }, splitLine: { lineStyle: { color: colors.line } }, ...extra };
        if (!numbers[i]) return { ...common, type: "category", data: [...new Set(values.map(String))].sort() };
        common.axisLabel = { ...common.axisLabel, formatter: (at: number) => fixed(at) };
        return { ...common, type: wantsLog(values.map(numeric).filter((one) => one !== null)) ? "log" : "value", scale: true };
      };
      const plain = (run: Run, i: number) => {
        const of = value(run, i);
        return of === null ? null : numbers[i] ? numeric(of) : String(of);
      };
      const told = (run: Run, extra: number[]) => tooltip([run.name, ...extra.map((i) => (cols[i] ? `${label(cols[i])}: ${text(value(run, i), cols[i])}` : null))]);
      switch (card.kind) {
        case "scatter": {
          const points = kept.filter((run) => plain(run, 0) !== null && plain(run, 1) !== null);
          const shades = cols[2] ? points.map((run) => numeric(value(run, 2))).filter((one) => one !== null) : [];
          return {
            ...frame,
            grid: { left: 58, right: shades.length > 0 ? 66 : 16, top: 10, bottom: 44 },
            tooltip: { ...frame.tooltip, formatter: ({ dataIndex }: { dataIndex: number }) => told(points[dataIndex]!, [0, 1, 2]) },
            xAxis: axis(0),
            yAxis: axis(1, { nameGap: 44 }),
            visualMap: shades.length > 0 ? { min: Math.min(...shades), max: Math.max(...shades), dimension: 2, inRange: { color: SCALE }, calculable: false, right: 2, top: "middle", itemHeight: 110, itemWidth: 9, textStyle: { color: colors.faint, fontSize: 10 }, text: [fixed(Math.max(...shades)), fixed(Math.min(...shades))] } : undefined,
            series: [{ type: "scatter", symbolSize: 8, large: points.length > 3000, itemStyle: { opacity: 0.85 }, data: points.map((run) => ({ value: [plain(run, 0), plain(run, 1), cols[2] ? numeric(value(run, 2)) : null], itemStyle: shades.length > 0 ? undefined : { color: colorOf(run.id) } })) }],
          };
        }
        case "parallel": {
          const usable = kept.filter((run) => cols.every((_, i) => plain(run, i) !== null));
          const last = cols.length - 1;
          const shades = usable.map((run) => numeric(value(run, last))).filter((one) => one !== null);
          return {
            ...frame,
            tooltip: { ...frame.tooltip, formatter: ({ dataIndex }: { dataIndex: number }) => (usable[dataIndex] ? told(usable[dataIndex], cols.map((_, i) => i)) : "") },
            parallel: { left: 40, right: 56, top: 44, bottom: 22, axisExpandable: false, parallelAxisDefault: { nameLocation: "start", nameRotate: 0, nameTextStyle: { color: colors.ink, fontSize: 11, width: 110, overflow: "truncate" }, nameGap: 16, areaSelectStyle: { width: 14, borderColor: "#2a9fc9", color: "#2a9fc9", opacity: 0.3 } } },
            parallelAxis: cols.map((_, i) => {
              const { name, ...of } = axis(i) as { name: string };
              const labels = of as { axisLabel?: Option };
              return { dim: i, ...of, axisLabel: { ...labels.axisLabel, backgroundColor: colors.panel, padding: [1, 3], borderRadius: 3 }, name, nameLocation: "end", splitLine: { show: false }, inverse: false, id: `axis-${i}` };
            }),
            visualMap: shades.length > 0 ? { show: false, min: Math.min(...shades), max: Math.max(...shades), dimension: last, inRange: { color: SCALE } } : undefined,
            series: [{ type: "parallel", smooth: false, lineStyle: { width: 1.2, opacity: 0.55 }, inactiveOpacity: 0.04, activeOpacity: 0.85, progressive: 500, data: usable.map((run) => cols.map((_, i) => plain(run, i))) }],
          };
        }
        case "bar": {
          const rows = kept.slice(0, 200).filter((run) => plain(run, 0) !== null);
          return {
            ...frame,
            grid: { left: 58, right: 12, top: 10, bottom: 40 },
            tooltip: { ...frame.tooltip, trigger: "item", formatter: ({ dataIndex }: { dataIndex: number }) => told(rows[dataIndex]!, cols.map((_, i) => i)) },
            xAxis: { type: "category", data: rows.map((run) => run.name), axisLabel: { show: rows.length <= 40, color: colors.faint, rotate: 30, width: 80, overflow: "truncate" }, axisLine: { lineStyle: { color: colors.line } } },
            // A bar is as long as its value: from zero, and never over logarithms.
            yAxis: { ...axis(0, { nameGap: 44 }), type: "value", scale: false },
            series: cols.map((_, i) => ({ type: "bar", barMaxWidth: 28, data: rows.map((run) => ({ value: numeric(value(run, i)), itemStyle: { color: colorOf(run.id), opacity: i === 0 ? 1 : 0.5, borderRadius: [3, 3, 0, 0] } })) })),
          };
        }
        case "box": {
          const groups = new Map<string, number[]>();
          for (const run of kept) {
            const figure = numeric(value(run, 0));
            const by = value(run, 1);
            if (figure === null || by === null) continue;
            const name = String(by);
            groups.set(name, [...(groups.get(name) ?? []), figure]);
          }
          const names = [...groups.keys()].sort((a, b) => (numeric(a) ?? 0) - (numeric(b) ?? 0) || a.localeCompare(b)).slice(0, 40);
          const boxes = names.map((name) => quartiles(groups.get(name)!));
          return {
            ...frame,
            grid: { left: 58, right: 12, top: 10, bottom: 44 },
            tooltip: { ...frame.tooltip, formatter: ({ dataIndex, seriesType, value: at }: { dataIndex: number; seriesType: string; value: number[] }) => {
              if (seriesType === "scatter") return tooltip([names[at[0]!] ?? "", fixed(at[1]!)]);
              const of = boxes[dataIndex]!;
              return tooltip([`${names[dataIndex]} (${groups.get(names[dataIndex]!)!.length} runs)`, `median ${fixed(of.median)}`, `quartiles ${fixed(of.q1)} to ${fixed(of.q3)}`, `whiskers ${fixed(of.low)} to ${fixed(of.high)}`]);
            } },
            xAxis: { type: "category", data: names, name: cols[1] ? label(cols[1]) : "", nameLocation: "middle", nameGap: 26, nameTextStyle: { color: colors.faint }, axisLabel: { color: colors.faint }, axisLine: { lineStyle: { color: colors.line } } },
            yAxis: axis(0, { nameGap: 44 }),
            series: [
              { type: "boxplot", boxWidth: [10, 44], itemStyle: { color: "#2a9fc933", borderColor: "#2a9fc9" }, data: boxes.map((of) => (of ? [of.low, of.q1, of.median, of.q3, of.high] : [])) },
              { type: "scatter", symbolSize: 5, itemStyle: { color: "#e0693e" }, data: boxes.flatMap((of, i) => (of?.outliers ?? []).map((value) => [i, value])) },
            ],
          };
        }
        case "contour": {
          const usable = kept.filter((run) => [0, 1, 2].every((i) => numeric(value(run, i)) !== null)).slice(0, 1000);
          const get = (i: number) => usable.map((run) => numeric(value(run, i))!);
          const [xs, ys, zs] = [get(0), get(1), get(2)];
          const scaled = (values: number[]) => {
            const log = wantsLog(values);
            const on = log ? values.map(Math.log10) : values;
            const low = Math.min(...on);
            const span = Math.max(...on) - low || 1;
            return { to: on.map((one) => (one - low) / span), back: (share: number) => (log ? 10 ** (low + share * span) : low + share * span) };
          };
          if (usable.length < 3) return { ...frame, title: undefined };
          const [x, y] = [scaled(xs), scaled(ys)];
          const [w, h] = [64, 48];
          const field = interpolate(usable.map((_, i) => ({ x: x.to[i]!, y: y.to[i]!, z: zs[i]! })), w, h);
          const cells = field.values.map((z, i) => [i % w, Math.floor(i / w), z]);
          const ticks = (back: (share: number) => number, n: number) => Array.from({ length: n }, (_, i) => fixed(Number(back(i / (n - 1)).toPrecision(3))));
          return {
            ...frame,
            grid: { left: 64, right: 66, top: 10, bottom: 44 },
            tooltip: { ...frame.tooltip, formatter: ({ seriesType, dataIndex }: { seriesType: string; dataIndex: number }) => (seriesType === "scatter" ? told(usable[dataIndex]!, [0, 1, 2]) : tooltip([`${label(cols[2]!)} about ${fixed(field.values[dataIndex]!)}`])) },
            xAxis: { type: "category", data: ticks(x.back, w), name: label(cols[0]!), nameLocation: "middle", nameGap: 26, nameTextStyle: { color: colors.faint }, axisLabel: { color: colors.faint, interval: 15 }, axisLine: { lineStyle: { color: colors.line } }, axisTick: { show: false } },
            yAxis: { type: "category", data: ticks(y.back, h), name: label(cols[1]!), nameLocation: "middle", nameGap: 50, nameTextStyle: { color: colors.faint }, axisLabel: { color: colors.faint, interval: 11 }, axisLine: { lineStyle: { color: colors.line } }, axisTick: { show: false } },
            visualMap: { type: "piecewise", splitNumber: 9, min: Math.min(...zs), max: Math.max(...zs), dimension: 2, seriesIndex: 0, inRange: { color: SCALE }, right: 0, top: "middle", itemWidth: 9, itemHeight: 9, itemGap: 4, textStyle: { color: colors.faint, fontSize: 9 }, formatter: (low: number) => fixed(Number(low.toPrecision(3))) },
            series: [
              { type: "heatmap", data: cells, progressive: 0, emphasis: { disabled: true } },
              { type: "scatter", symbolSize: 7, itemStyle: { color: "#ffffff", borderColor: "#14181f", borderWidth: 1 }, data: usable.map((_, i) => [Math.round(x.to[i]! * (w - 1)), Math.round(y.to[i]! * (h - 1)), zs[i]!]) },
            ],
          };
        }
      }
    },
    [card.kind, cols, kept, stats, numbers],
  );

  const csv = () => toCsv(["run_id", "run_name", ...card.columns], kept.map((run) => [run.id, run.name, ...cols.map((col) => cell(run, col, stats))]));
  const brushAxis = (at: number, ranges: [number, number][]) => {
    const id = card.columns[at];
    if (!id) return;
    const { [id]: _, ...rest } = brush;
    const range = ranges[0];
    // Axes of words give places, which mean nothing to the table.
    if (range && numbers[at]) onBrush({ ...rest, [id]: [Number(range[0].toPrecision(6)), Number(range[1].toPrecision(6))] });
    else onBrush(rest);
  };
  return (
    <div className="chart" style={card.kind === "parallel" && !wide ? { gridColumn: "1 / -1", height: 300 } : undefined}>
      <header>
        <h3 className="cut" title={title}>
          {title}
        </h3>
        {complete >= least && complete < kept.length && (
          <span className="faint num" style={{ fontSize: 11 }} title="The others lack a value, or it is NaN or infinite">
            {complete} of {plural(kept.length, "run")}
          </span>
        )}
        <span className="tools">
          <Popover label={`Download ${title}`} role="menu" trigger={(props) => <Button small kind="quiet" icon="download" title={`Download ${title}`} {...props} />}>
            {(close) => (
              <>
                <Item onClick={() => (close(), save(`${card.kind}.png`, fromDataUrl(handle.current!.png())))}>PNG</Item>
                <Item onClick={() => (close(), save(`${card.kind}.svg`, handle.current!.svg(), "image/svg+xml"))}>SVG</Item>
                <Item onClick={() => (close(), save(`${card.kind}.csv`, csv(), "text/csv"))}>CSV</Item>
              </>
            )}
          </Popover>
          {!wide && <Button small kind="quiet" icon="full" title={`${title} in full size`} onClick={() => setFull(true)} />}
          {!wide && onRemove && <Button small kind="quiet" icon="close" title={`Remove ${title}`} onClick={onRemove} />}
        </span>
      </header>
      <div className="plot">{kept.length === 0 ? <div className="msg">There are no runs yet.</div> : complete < least ? <div className="msg">{least > 1 ? `Three runs with numbers in all of these columns make a contour; there ${complete === 1 ? "is" : "are"} ${complete}.` : "No run has a value in all of these columns."}</div> : <EChart option={option} label={title} onBrush={card.kind === "parallel" ? brushAxis : undefined} areas={card.kind === "parallel" ? card.columns.map((id) => brush[id] ?? null) : undefined} handle={handle} />}</div>
      {full && (
        <Dialog title={title} className="full" onClose={() => setFull(false)}>
          <div className="dialog-chart">
            <PlotCard {...props} wide />
          </div>
        </Dialog>
      )}
    </div>
  );
}

function fromDataUrl(url: string): Blob {
  const [head = "", data = ""] = url.split(",");
  const type = /data:([^;]+)/.exec(head)?.[1] ?? "image/png";
  return new Blob([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], { type });
}

function base(colors: Colors) {
  return {
    animation: false,
    textStyle: { fontFamily: "Inter, sans-serif", fontSize: 11, color: colors.faint },
    tooltip: { trigger: "item", confine: true, backgroundColor: colors.panel, borderColor: colors.line, textStyle: { color: colors.ink, fontSize: 12 }, extraCssText: "" },
  };
}
