import { useQueries, useQuery } from "@tanstack/react-query";
import { Suspense, lazy, useMemo, useState } from "react";
import { experiments, runs as calls } from "../api/calls";
import type { Run } from "../api/types";
import { Lazy, MetricCard } from "../charts/MetricCard";
import { colorOf } from "../lib/color";
import { watched } from "../lib/columns";
import { toCsv } from "../lib/csv";
import { diff } from "../lib/diff";
import { duration, exact, fixed, numeric } from "../lib/format";
import { correlation } from "../lib/images";
import { sections } from "../lib/series";
import { readView, writeView } from "../lib/views";
import { Link, path, setSearch, useLocation } from "../router";
import { Button, Empty, ErrorNote, Skeleton, Tabs } from "../ui/kit";
import { Controls } from "./charts";
import { DiffTable } from "./parts";
import { RunImages } from "./run-images";
import { Swatch } from "./runs";
import { SearchBox, TopBar, save, useDebounced } from "./shared";

const PlotCard = lazy(() => import("../charts/PlotCard"));

export default function ComparePage() {
  const { search } = useLocation();
  const ids = useMemo(() => (search.get("runs") ?? "").split(",").filter(Boolean).slice(0, 50), [search]);
  const tab = search.get("tab") ?? "diff";
  const only = search.get("all") !== "1";
  const text = search.get("find") ?? "";
  const [, recolour] = useState(0);
  const answers = useQueries({ queries: ids.map((id) => ({ queryKey: ["run", id], queryFn: () => calls.get(id) })) });
  const loaded = answers.every(({ data, error }) => data || error);
  const runs = useMemo(() => answers.flatMap(({ data }) => (data ? [data] : [])), [answers]);
  const error = answers.find((answer) => answer.error)?.error;
  const experimentIds = [...new Set(runs.map(({ experimentId }) => experimentId))];
  const link = (to: string) => {
    const next = new URLSearchParams(search);
    next.set("tab", to);
    return `/compare?${next.toString().replace(/%2C/g, ",")}`;
  };
  const groups = useMemo(() => diff(runs), [runs]);
  const shown = groups
    .map((group) => ({ ...group, rows: group.rows.filter((row) => (!only || row.differs || runs.length < 2) && row.key.toLowerCase().includes(text.toLowerCase())) }))
    .filter(({ rows }) => rows.length > 0);

  return (
    <>
      <TopBar crumbs={[{ label: "Experiments", href: "/" }, ...(experimentIds.length === 1 ? [{ label: "Runs", href: path("experiments", experimentIds[0]!) }] : []), { label: `Compare ${ids.length} runs` }]}>
        <AddRun experimentIds={experimentIds} ids={ids} />
        <Button icon="download" disabled={runs.length === 0} onClick={() => save("compare.csv", toCsv(["part", "key", ...runs.map(({ name }) => name)], groups.flatMap(({ name, rows }) => rows.map(({ key, values }) => [name, key, ...values]))), "text/csv")}>
          CSV
        </Button>
      </TopBar>
      <Tabs
        label="Ways to compare"
        current={tab}
        items={[
          { id: "diff", label: "Side by side", href: link("diff") },
          { id: "curves", label: "Curves", href: link("curves") },
          { id: "plots", label: "Params and metrics", href: link("plots") },
          { id: "images", label: "Images", href: link("images") },
        ]}
      />
      {ids.length === 0 ? (
        <Empty title="Choose runs to compare">
          <p>Select runs in the table of an experiment, then choose Compare.</p>
        </Empty>
      ) : error ? (
        <div className="pad">
          <ErrorNote error={error} />
        </div>
      ) : !loaded ? (
        <Skeleton />
      ) : tab === "curves" ? (
        <Curves runs={runs} />
      ) : tab === "plots" ? (
        <Plots runs={runs} />
      ) : tab === "images" ? (
        <RunImages runs={runs} />
      ) : (
        <div className="page fixed">
          <div className="toolbar">
            <label className="check">
              <input type="checkbox" checked={only} onChange={() => setSearch({ all: only ? "1" : null })} /> Only what differs
            </label>
            <div style={{ width: 240 }}>
              <SearchBox value={text} onChange={(value) => setSearch({ find: value })} placeholder="Search params, metrics, tags" />
            </div>
          </div>
          {shown.length === 0 ? (
            <Empty title="Nothing differs">
              <p>{only ? "Switch off “Only what differs” to see everything." : "No row fits the search."}</p>
            </Empty>
          ) : (
            <div className="compare" tabIndex={0} role="region" aria-label="Side by side">
              <DiffTable
                parts={shown}
                show={written}
                heads={runs.map((run) => ({
                  id: run.id,
                  head: (
                    <span className="row">
                      <Swatch run={run} onChange={() => recolour((n) => n + 1)} />
                      <Link href={path("runs", run.id)} className="cut grow">
                        {run.name}
                      </Link>
                      <Button small kind="quiet" icon="close" title={`Leave out ${run.name}`} onClick={() => setSearch({ runs: ids.filter((id) => id !== run.id).join(",") })} />
                    </span>
                  ),
                }))}
              />
            </div>
          )}
        </div>
      )}
    </>
  );
}

function written(key: string, value: string | number): string {
  if (key === "start time" && typeof value === "number") return exact(value);
  if (key === "duration" && typeof value === "number") return duration(value);
  return typeof value === "number" ? fixed(value) : value;
}

function Curves({ runs }: { runs: Run[] }) {
  const { search } = useLocation();
  const view = useMemo(() => readView(search), [search]);
  const known = [...new Set(runs.flatMap((run) => Object.keys(run.metrics)))].sort();
  const keys = known.filter((key) => key.toLowerCase().includes(view.metrics.toLowerCase()));
  const settings = useMemo(() => ({ x: view.x, smoothing: view.smoothing, logX: view.logX, logY: view.logY, clip: view.clip, bands: false, spread: view.spread, groupBy: [] }), [view]);
  return (
    <div className="page fixed">
      <Controls view={view} patch={(change) => setSearch(writeView(change))} metrics={known} />
      <div className="row wrap" style={{ padding: "8px 16px 0", gap: 14 }} aria-label="Runs">
        {runs.map((run) => (
          <span key={run.id} className="row" style={{ gap: 6 }}>
            <span className="dot" style={{ background: colorOf(run.id) }} />
            <Link href={path("runs", run.id)}>{run.name}</Link>
          </span>
        ))}
      </div>
      <div className="charts" tabIndex={0} role="region" aria-label="Charts">
        {sections(keys).map(({ name, keys: list }) => (
          <section key={name} aria-label={name}>
            <h2>
              {name} <span className="badge">{list.length}</span>
            </h2>
            <div className="cards">
              {list.map((key) => (
                <Lazy key={key} height={272}>
                  <MetricCard metric={key} title={name === "metrics" ? key : key.slice(name.length + 1)} runs={runs} settings={settings} sync={`compare-${view.x}`} />
                </Lazy>
              ))}
            </div>
          </section>
        ))}
      </div>
    </div>
  );
}

function Plots({ runs }: { runs: Run[] }) {
  const params = [...new Set(runs.flatMap((run) => Object.keys(run.params)))].filter((key) => new Set(runs.map((run) => run.params[key])).size > 1).sort();
  const metrics = [...new Set(runs.flatMap((run) => Object.keys(run.metrics)))].filter((key) => !key.startsWith("system/")).sort();
  const [metric, setMetric] = useState(watched(runs)[0] ?? "");
  const [brush, setBrush] = useState<Record<string, [number, number]>>({});
  if (params.length === 0 || !metric) return <Empty title="There is nothing to plot"><p>No param differs between these runs, or none has a metric.</p></Empty>;
  const cards = [
    { kind: "parallel" as const, columns: [...params.slice(0, 7).map((key) => `params.${key}`), `metrics.${metric}`] },
    { kind: "bar" as const, columns: [`metrics.${metric}`] },
    ...params.slice(0, 6).map((key) => ({ kind: "scatter" as const, columns: [`params.${key}`, `metrics.${metric}`] })),
  ];
  const weights = params
    .flatMap((key) => {
      const pairs = runs.flatMap((run) => {
        const [x, y] = [numeric(run.params[key]), run.metrics[metric]];
        return x !== null && y !== undefined && Number.isFinite(y) ? [[x, y] as const] : [];
      });
      const value = correlation(pairs);
      return value === null ? [] : [{ key, value }];
    })
    .sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
  return (
    <div className="page">
      <div className="controls">
        <label>
          Metric
          <select className="select" value={metric} onChange={(event) => setMetric(event.target.value)}>
            {metrics.map((key) => (
              <option key={key}>{key}</option>
            ))}
          </select>
        </label>
      </div>
      <div className="charts">
        <div className="cards" style={{ paddingTop: 12 }}>
          <Suspense fallback={<Skeleton rows={4} />}>
            {weights.length > 0 && (
              <div className="chart">
                <header>
                  <h3>Rank correlation with {metric}</h3>
                </header>
                <div style={{ overflow: "auto", padding: "4px 12px 12px" }}>
                  {weights.map(({ key, value }) => (
                    <div key={key} className="row" style={{ height: 24, fontSize: 12 }}>
                      <span className="cut soft" style={{ width: 120 }} title={key}>
                        {key}
                      </span>
                      <span className="grow" style={{ position: "relative", height: 12 }}>
                        <span style={{ position: "absolute", top: 0, bottom: 0, borderRadius: 3, background: value < 0 ? "#e0693e" : "#3b82d6", left: value < 0 ? `${50 + value * 50}%` : "50%", width: `${Math.abs(value) * 50}%` }} />
                        <span style={{ position: "absolute", top: -3, bottom: -3, left: "50%", borderLeft: "1px solid var(--line-strong)" }} />
                      </span>
                      <b className="num" style={{ width: 44, textAlign: "right", fontWeight: 540 }}>
                        {value.toFixed(2)}
                      </b>
                    </div>
                  ))}
                </div>
              </div>
            )}
            {cards.map((card) => (
              <PlotCard key={`${card.kind}${card.columns.join()}`} card={card} runs={runs} brush={brush} onBrush={setBrush} />
            ))}
          </Suspense>
        </div>
      </div>
    </div>
  );
}

function AddRun({ experimentIds, ids }: { experimentIds: string[]; ids: string[] }) {
  const [text, setText] = useState("");
  const late = useDebounced(text.trim(), 200);
  const list = useQuery({ queryKey: ["experiments", "ACTIVE_ONLY"], queryFn: () => experiments.list("ACTIVE_ONLY"), enabled: experimentIds.length === 0 });
  const within = experimentIds.length > 0 ? experimentIds : (list.data ?? []).map(({ experiment_id }) => experiment_id);
  const found = useQuery({
    queryKey: ["add-run", within, late],
    enabled: late.length > 1 && within.length > 0,
    queryFn: async ({ signal }) => (await calls.page({ experimentIds: within, filter: `attributes.run_name ILIKE '%${late.replace(/'/g, "''")}%'`, orderBy: ["attributes.start_time DESC"], view: "ACTIVE_ONLY" }, 10, undefined, signal)).runs,
  });
  const options = (found.data ?? []).filter((run) => !ids.includes(run.id));
  return (
    <div style={{ position: "relative", width: 220 }}>
      <SearchBox value={text} onChange={setText} placeholder="Add a run by name" search={false} />
      {late.length > 1 && text && options.length > 0 && (
        <ul className="suggest" style={{ minWidth: 220 }} aria-label="Runs found">
          {options.map((run) => (
            <li key={run.id} style={{ padding: 0 }}>
              <button
                type="button"
                className="item"
                style={{ border: 0, background: "none", width: "100%", textAlign: "left", padding: "4px 8px" }}
                onClick={() => {
                  setText("");
                  setSearch({ runs: [...ids, run.id].join(",") });
                }}
              >
                {run.name}
              </button>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
