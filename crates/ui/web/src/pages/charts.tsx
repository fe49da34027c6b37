import { Suspense, lazy, useDeferredValue, useMemo, useState } from "react";
import type { Run } from "../api/types";
import { Lazy, MetricCard, type Settings } from "../charts/MetricCard";
import { Timeline } from "../charts/Timeline";
import { type Stats, column, keysOf, label, watched } from "../lib/columns";
import { count } from "../lib/format";
import { FUNCTIONS, metricsOf, parseExpression, written } from "../lib/expression";
import { type XAxis, metricAxis, sections } from "../lib/series";
import type { CardKind, CardSpec, RunsView } from "../lib/views";
import { remember, remembered } from "../state/session";
import { Icon } from "../ui/icons";
import { Button, Dialog, Empty, Popover, Skeleton } from "../ui/kit";

const PlotCard = lazy(() => import("../charts/PlotCard"));

interface Props {
  runs: Run[];
  /** All runs of the table, and those before any was brushed away. */
  all: Run[];
  everything: Run[];
  view: RunsView;
  patch: (change: Partial<RunsView>) => void;
  stats?: Stats;
  colors: number;
  loading: boolean;
}

const CARD_HEIGHT = 272;

export default function Charts({ runs, all, everything, view, patch, stats, loading }: Props) {
  const keys = useMemo(() => keysOf(runs).metrics, [runs]);
  const [closed, setClosed] = useState<ReadonlySet<string>>(() => new Set(remembered<string[]>("closed-sections", [])));
  const [adding, setAdding] = useState(false);
  const wanted = useMemo(() => {
    const words = view.metrics.toLowerCase().split(/\s+/).filter(Boolean);
    return keys.filter((key) => words.every((word) => key.toLowerCase().includes(word)));
  }, [keys, view.metrics]);
  const parts = useMemo(() => sections(wanted), [wanted]);
  const deferred = useDeferredValue(runs);
  const settings = useMemo(
    () => ({ x: view.x, smoothing: view.smoothing, logX: view.logX, logY: view.logY, clip: view.clip, bands: view.bands, spread: view.spread, groupBy: view.groupBy }),
    [view.x, view.smoothing, view.logX, view.logY, view.clip, view.bands, view.spread, view.groupBy],
  );
  const toggle = (name: string) => {
    const next = new Set(closed);
    if (!next.delete(name)) next.add(name);
    setClosed(next);
    remember("closed-sections", [...next]);
  };

  return (
    <>
      <Controls view={view} patch={patch} metrics={keys} onAdd={() => setAdding(true)} />
      <div className="charts" tabIndex={0} role="region" aria-label="Charts">
        {view.cards.length > 0 && (
          <section aria-label="Charts of runs">
            <h2>Across runs</h2>
            <div className="cards">
              <Suspense fallback={<Skeleton rows={4} />}>
                {view.cards.map((card, i) => {
                  const key = `${i}${card.kind}${card.columns.join()}`;
                  const remove = () => patch({ cards: view.cards.filter((_, at) => at !== i), brush: card.kind === "parallel" ? {} : view.brush });
                  if (card.kind === "timeline") return <Timeline key={key} runs={all} onRemove={remove} />;
                  if (card.kind === "expression") return <ExpressionCard key={key} text={card.columns[0] ?? ""} runs={deferred} settings={settings} onRemove={remove} />;
                  return <PlotCard key={key} card={{ ...card, kind: card.kind }} runs={card.kind === "parallel" ? everything : all} stats={stats} brush={view.brush} onBrush={(brush) => patch({ brush })} onRemove={remove} />;
                })}
              </Suspense>
            </div>
          </section>
        )}
        {loading ? (
          <Skeleton />
        ) : runs.length === 0 ? (
          <Empty title="No run is drawn">
            <p>{view.draw === "selected" ? "Select runs in the table, or draw the first ones." : "Runs appear here as soon as the table has some. The eye beside a run draws it or hides it."}</p>
          </Empty>
        ) : keys.length === 0 ? (
          <Empty title="The runs drawn have no metrics" code={`mlflow.log_metric("train/loss", 0.1, step=1)`} />
        ) : (
          parts.map(({ name, keys: list }) => (
            <section key={name} aria-label={name}>
              <h2>
                <button type="button" aria-expanded={!closed.has(name)} onClick={() => toggle(name)}>
                  <Icon name={closed.has(name) ? "chevron" : "down"} size={12} />
                  {name}
                </button>
                <span className="badge">{count(list.length)}</span>
              </h2>
              {!closed.has(name) && (
                <div className="cards">
                  {list.map((key) => (
                    <Lazy key={key} height={CARD_HEIGHT}>
                      <MetricCard metric={key} title={name === "metrics" ? key : key.slice(name.length + 1)} runs={deferred} settings={settings} sync={`charts-${view.x}`} />
                    </Lazy>
                  ))}
                </div>
              )}
            </section>
          ))
        )}
      </div>
      {adding && (
        <AddChart
          runs={all}
          onClose={() => setAdding(false)}
          onAdd={(card) => {
            patch({ cards: [...view.cards, card] });
            setAdding(false);
          }}
        />
      )}
    </>
  );
}

/** Curves computed from several metrics, as the address names them. */
function ExpressionCard({ text, runs, settings, onRemove }: { text: string; runs: Run[]; settings: Settings; onRemove: () => void }) {
  const expression = useMemo(() => {
    try {
      return parseExpression(text);
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }, [text]);
  const remove = <Button small kind="quiet" icon="close" title={`Remove ${text.replace(/`/g, "")}`} onClick={onRemove} />;
  if (typeof expression !== "string") return <MetricCard metric={text.replace(/`/g, "")} expression={expression} runs={runs} settings={settings} sync={`charts-${settings.x}`} extra={remove} />;
  return (
    <div className="chart">
      <header>
        <h3 className="cut">{text}</h3>
        <span className="tools">{remove}</span>
      </header>
      <div className="plot">
        <div className="msg">{expression}</div>
      </div>
    </div>
  );
}

const AXES: { id: XAxis; label: string; title: string }[] = [
  { id: "step", label: "Step", title: "Steps" },
  { id: "relative", label: "Relative", title: "Time since the first point" },
  { id: "wall", label: "Wall", title: "Time of day" },
];

export function Controls({ view, patch, metrics, onAdd }: { view: RunsView; patch: (change: Partial<RunsView>) => void; metrics: readonly string[]; onAdd?: () => void }) {
  const over = metricAxis(view.x);
  return (
    <div className="controls">
      <input className="input" type="search" style={{ width: 140 }} placeholder="Search metrics" aria-label="Search metrics" value={view.metrics} onChange={(event) => patch({ metrics: event.target.value })} />
      <div className="seg" role="group" aria-label="X axis">
        {AXES.map(({ id, label: text, title }) => (
          <button key={id} type="button" aria-pressed={view.x === id} title={title} onClick={() => patch({ x: id })}>
            {text}
          </button>
        ))}
      </div>
      <select className="select" style={{ width: 104 }} aria-label="X axis by a metric" title="Another metric" value={over ?? ""} onChange={(event) => patch({ x: event.target.value ? `metric:${event.target.value}` : "step" })}>
        <option value="">{over === null ? "Metric…" : "Step"}</option>
        {(over === null || metrics.includes(over) ? metrics : [over, ...metrics]).map((key) => (
          <option key={key} value={key}>
            {key}
          </option>
        ))}
      </select>
      <label>
        Smoothing
        <input type="range" min={0} max={0.99} step={0.01} value={view.smoothing} onChange={(event) => patch({ smoothing: Number(event.target.value) })} />
        <span className="num faint" style={{ width: 26 }}>
          {view.smoothing ? view.smoothing.toFixed(2) : "off"}
        </span>
      </label>
      <Popover label="Axes and lines" trigger={(props) => <Button icon="settings" title="Axes and lines" on={view.logX || view.logY || view.clip || view.bands || undefined} {...props} />}>
        {() => (
          <div className="stack" style={{ padding: 8, gap: 9, width: 250 }}>
            <label className="check">
              <input type="checkbox" checked={view.logY} onChange={() => patch({ logY: !view.logY })} /> Logarithmic y
            </label>
            <label className="check">
              <input type="checkbox" checked={view.logX} onChange={() => patch({ logX: !view.logX })} /> Logarithmic x
            </label>
            <label className="check">
              <input type="checkbox" checked={view.clip} onChange={() => patch({ clip: !view.clip })} /> Ignore outliers
            </label>
            <label className="check">
              <input type="checkbox" checked={view.bands} disabled={view.groupBy.length === 0} onChange={() => patch({ bands: !view.bands })} />
              {view.groupBy.length > 0 ? "One band for each group" : "Bands of groups (group runs first)"}
            </label>
            {view.bands && view.groupBy.length > 0 && (
              <label className="field">
                Bands reach
                <select className="select" value={view.spread} onChange={(event) => patch({ spread: event.target.value === "deviation" ? "deviation" : "range" })}>
                  <option value="range">From the smallest to the greatest</option>
                  <option value="deviation">One standard deviation to each side</option>
                </select>
              </label>
            )}
            <label className="field">
              Runs drawn
              <select className="select" value={String(view.draw)} onChange={(event) => patch({ draw: event.target.value === "selected" ? "selected" : Number(event.target.value), flipped: [] })}>
                {[5, 10, 20, 50, 100, 250, 1000].map((n) => (
                  <option key={n} value={n}>
                    The first {n}
                  </option>
                ))}
                <option value="selected">Those selected</option>
              </select>
            </label>
          </div>
        )}
      </Popover>
      <span className="grow" />
      {onAdd && (
        <Button icon="plus" onClick={onAdd}>
          Chart
        </Button>
      )}
    </div>
  );
}

const KINDS: { id: CardKind; label: string; what: string; roles: string[]; metric: boolean[]; /** Roles from this on may be left out. */ optional?: number }[] = [
  { id: "parallel", label: "Parallel coordinates", what: "Drag over an axis to filter the table.", roles: [], metric: [] },
  { id: "scatter", label: "Scatter", what: "Two columns against each other.", roles: ["X", "Y", "Colour"], metric: [false, true, true], optional: 2 },
  { id: "bar", label: "Bars", what: "Last values, run by run.", roles: ["Metric", "Beside it", "And it"], metric: [true, true, true], optional: 1 },
  { id: "box", label: "Box plot", what: "A metric for each value of a param.", roles: ["Metric", "By"], metric: [true, false] },
  { id: "contour", label: "Contour", what: "A metric over two params.", roles: ["X", "Y", "Z"], metric: [false, false, true] },
  { id: "expression", label: "Expression", what: `Curves computed from metrics, with + - * / ^ and ${Object.keys(FUNCTIONS).join(", ")}.`, roles: [], metric: [] },
  { id: "timeline", label: "Timeline", what: "When runs began and ended.", roles: [], metric: [] },
];

function AddChart({ runs, onAdd, onClose }: { runs: Run[]; onAdd: (card: CardSpec) => void; onClose: () => void }) {
  const keys = useMemo(() => keysOf(runs), [runs]);
  const params = keys.params.map((key) => `params.${key}`);
  const metrics = keys.metrics.map((key) => `metrics.${key}`);
  const options = [...params, ...metrics, ...keys.tags.map((key) => `tags.${key}`), "attributes.duration", "attributes.user", "attributes.start_time"];
  // Params that are numbers, and differ, make the better axes.
  const good = useMemo(() => {
    const scored = params.filter((id) => new Set(runs.slice(0, 500).map((run) => run.params[column(id).key])).size > 1);
    const isNumber = (id: string) => runs.slice(0, 50).every((run) => !Number.isNaN(Number(run.params[column(id).key] ?? "0")));
    return { numbers: scored.filter(isNumber), words: scored.filter((id) => !isNumber(id)) };
    // eslint-disable-next-line
  }, [runs]);
  const [firstMetric, secondMetric] = useMemo(() => watched(runs.slice(0, 500)).map((key) => `metrics.${key}`), [runs]);
  const [kind, setKind] = useState<CardKind>("parallel");
  const spec = KINDS.find(({ id }) => id === kind)!;
  const defaults = (of: CardKind): string[] => {
    const [a = params[0] ?? "", b = params[1] ?? a] = good.numbers;
    if (of === "parallel") return [...good.numbers.slice(0, 4), ...good.words.slice(0, 1), ...(firstMetric ? [firstMetric] : [])];
    if (of === "scatter") return [a, firstMetric ?? "", secondMetric ?? ""];
    if (of === "bar") return [firstMetric ?? ""];
    if (of === "timeline" || of === "expression") return [];
    if (of === "box") return [firstMetric ?? "", good.words[0] ?? a];
    return [a, b, firstMetric ?? ""];
  };
  const [columns, setColumns] = useState<string[]>(() => defaults("parallel"));
  const [text, setText] = useState("");
  const read = useMemo(() => {
    try {
      return { expression: parseExpression(text, keys.metrics), error: null };
    } catch (error) {
      return { expression: null, error: error instanceof Error ? error.message : String(error) };
    }
  }, [text, keys.metrics]);
  const ready = kind === "expression" ? read.expression !== null && metricsOf(read.expression).length > 0 : kind === "parallel" ? columns.length > 1 : spec.roles.every((_, i) => i >= (spec.optional ?? Infinity) || columns[i]);
  return (
    <Dialog
      title="Add a chart"
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" disabled={!ready} onClick={() => onAdd({ kind, columns: read.expression && kind === "expression" ? [written(read.expression)] : columns.filter(Boolean) })}>
            Add
          </Button>
        </>
      }
    >
      <div className="body">
        <label className="field">
          Kind
          <select
            className="select"
            value={kind}
            onChange={(event) => {
              const next = event.target.value as CardKind;
              setKind(next);
              setColumns(defaults(next));
            }}
          >
            {KINDS.map(({ id, label: text }) => (
              <option key={id} value={id}>
                {text}
              </option>
            ))}
          </select>
        </label>
        <p className="faint">{spec.what}</p>
        {kind === "expression" ? (
          <>
            <label className="field">
              Expression
              <input className="input mono" autoFocus spellCheck={false} placeholder={`${keys.metrics[0] ?? "train/loss"} - ${keys.metrics[1] ?? "valid/loss"}`} value={text} onChange={(event) => setText(event.target.value)} aria-describedby="expression-told" />
            </label>
            <p id="expression-told" className={text && read.error ? "wrong" : "faint"}>
              {text && read.error ? read.error : "Metrics are aligned by step. Names with spaces or signs go in backquotes."}
            </p>
          </>
        ) : kind === "parallel" ? (
          <div className="stack" style={{ gap: 4, maxHeight: 300, overflow: "auto" }}>
            {options.map((id) => (
              <label className="check" key={id}>
                <input type="checkbox" checked={columns.includes(id)} onChange={() => setColumns(columns.includes(id) ? columns.filter((one) => one !== id) : [...columns, id])} />
                <span className="faint">{id.split(".")[0]}</span> {label(column(id))}
              </label>
            ))}
          </div>
        ) : (
          spec.roles.map((role, i) => (
            <label className="field" key={role}>
              {role}
              <select className="select" value={columns[i] ?? ""} onChange={(event) => setColumns(Object.assign([...columns], { [i]: event.target.value }))}>
                {(i >= (spec.optional ?? Infinity) || !columns[i]) && <option value="">none</option>}
                {(spec.metric[i] ? [...metrics, ...options.filter((id) => !metrics.includes(id))] : options).map((id) => (
                  <option key={id} value={id}>
                    {id.split(".")[0]} · {label(column(id))}
                  </option>
                ))}
              </select>
            </label>
          ))
        )}
      </div>
    </Dialog>
  );
}
