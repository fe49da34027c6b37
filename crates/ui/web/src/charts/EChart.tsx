// A box in which ECharts draws; only the parts that are used are bundled.

import { BarChart, BoxplotChart, HeatmapChart, LineChart, ParallelChart, ScatterChart } from "echarts/charts";
import { GridComponent, ParallelComponent, TooltipComponent, VisualMapComponent } from "echarts/components";
import * as echarts from "echarts/core";
import { CanvasRenderer, SVGRenderer } from "echarts/renderers";
import { type RefObject, useEffect, useImperativeHandle, useRef } from "react";
import { useTheme } from "../state/session";

echarts.use([BarChart, BoxplotChart, HeatmapChart, LineChart, ParallelChart, ScatterChart, GridComponent, ParallelComponent, TooltipComponent, VisualMapComponent, CanvasRenderer, SVGRenderer]);

export type Option = Record<string, unknown>;

export interface EChartHandle {
  png: () => string;
  svg: () => string;
}

export function EChart({ option, label, onBrush, areas, handle }: { option: (colors: { ink: string; faint: string; line: string; panel: string }) => Option; label: string; onBrush?: (axis: number, ranges: [number, number][]) => void; areas?: ([number, number] | null)[]; handle?: RefObject<EChartHandle | null> }) {
  const box = useRef<HTMLDivElement>(null);
  const chart = useRef<echarts.ECharts | null>(null);
  const brush = useRef(onBrush);
  brush.current = onBrush;
  const brushed = useRef(areas);
  brushed.current = areas;
  const { dark } = useTheme();

  useEffect(() => {
    const instance = echarts.init(box.current!, undefined, { renderer: "canvas" });
    chart.current = instance;
    instance.on("axisareaselected", (event) => {
      const { parallelAxisId, intervals } = event as { parallelAxisId?: string; intervals?: [number, number][] };
      const at = Number(/\d+/.exec(parallelAxisId ?? "")?.[0] ?? -1);
      if (at >= 0) brush.current?.(at, intervals ?? []);
    });
    const watch = new ResizeObserver(() => instance.resize());
    watch.observe(box.current!);
    return () => {
      watch.disconnect();
      instance.dispose();
      chart.current = null;
    };
  }, []);

  const colors = () => {
    const style = (name: string) => {
      const probe = document.createElement("span");
      probe.style.color = `var(${name})`;
      box.current!.append(probe);
      const value = getComputedStyle(probe).color;
      probe.remove();
      return value;
    };
    return { ink: style("--fg-soft"), faint: style("--fg-faint"), line: style("--line"), panel: style("--bg-raised") };
  };

  const last = useRef<Option>({});
  useEffect(() => {
    last.current = option(colors());
    chart.current?.setOption(last.current as echarts.EChartsCoreOption, { notMerge: true });
    // A new option takes the brushes away, which still count.
    brushed.current?.forEach((range, i) => range && chart.current?.dispatchAction({ type: "axisAreaSelect", parallelAxisId: `axis-${i}`, intervals: [range] }));
    // eslint-disable-next-line
  }, [option, dark]);

  useImperativeHandle(handle, () => ({
    png: () => chart.current?.getDataURL({ type: "png", pixelRatio: 2, backgroundColor: colors().panel }) ?? "",
    svg: () => {
      const off = echarts.init(null, undefined, { renderer: "svg", ssr: true, width: box.current!.clientWidth, height: box.current!.clientHeight });
      off.setOption({ ...last.current, animation: false } as echarts.EChartsCoreOption);
      const text = off.renderToSVGString();
      off.dispose();
      return text;
    },
  }));

  return <div ref={box} className="echart" role="img" aria-label={label} />;
}

/** A tooltip without markup: what runs are called never becomes HTML. */
export function tooltip(lines: (string | null)[]): HTMLElement {
  const out = document.createElement("div");
  lines.forEach((line, i) => {
    if (line === null) return;
    const row = document.createElement("div");
    row.textContent = line;
    if (i === 0) row.style.fontWeight = "600";
    out.append(row);
  });
  return out;
}
