import { useQuery } from "@tanstack/react-query";
import { type Field, RecordBatchReader, Table as ArrowTable, type RecordBatch } from "apache-arrow";
import { Suspense, lazy, useCallback, useEffect, useMemo, useRef, useState } from "react";
import { ApiError } from "../api/client";
import { ARROW, sql, sqlAs, sqlFile } from "../api/sql";
import { shown } from "../lib/arrow";
import { count, numeric } from "../lib/format";
import { EXAMPLES, FUNCTIONS, type Table, identifier, isExplain, tables, withoutExplain } from "../lib/sqltext";
import { setSearch, useLocation } from "../router";
import { remember, remembered } from "../state/session";
import { Icon } from "../ui/icons";
import { Ask, Button, Empty, ErrorNote, Item, Popover, failed, toast } from "../ui/kit";
import { type EditorHandle, type Schema, SqlEditor } from "../ui/SqlEditor";
import { Sheet } from "./artifacts";
import { TopBar, save } from "./shared";

const EChart = lazy(() => import("../charts/EChart").then(({ EChart }) => ({ default: EChart })));

const MOST_ROWS = 1_000_000;

interface Result {
  text: string;
  fields: Field[];
  batches: RecordBatch[];
  rows: number;
  ms: number;
  done: boolean;
}

export default function SqlPage() {
  const { search } = useLocation();
  const asOf = search.get("as_of") ?? "";
  const shownAs = search.get("show") ?? "table";
  const [text, setText] = useState(search.get("q") ?? remembered("sql", EXAMPLES[0]!.sql));
  const mine = useRef(text);
  mine.current = text;
  const editor = useRef<EditorHandle>(null);
  const [result, setResult] = useState<Result | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [running, setRunning] = useState<AbortController | null>(null);
  const [naming, setNaming] = useState(false);
  const [saved, setSaved] = useState<{ name: string; sql: string }[]>(() => remembered("queries", []));
  const [past, setPast] = useState<string[]>(() => remembered("sql-past", []));

  const columns = useQuery({
    queryKey: ["schema"],
    staleTime: 60_000,
    retry: false,
    meta: { live: false },
    queryFn: async ({ signal }) => {
      const answer = await sql("SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns ORDER BY table_schema, table_name, ordinal_position", { signal, row_limit: 20_000 });
      return tables(answer.rows.map(([schema, table, name, type]) => ({ schema: String(schema), table: String(table), name: String(name), type: String(type) })));
    },
  });
  const schema = useMemo<Schema>(() => Object.fromEntries([...(columns.data ?? []).map(({ id, columns }) => [id, columns.map(({ name }) => name)] as const), ...FUNCTIONS.map(({ name }) => [name, []] as const)]), [columns.data]);

  // The address follows the text, a little later.
  useEffect(() => {
    const id = setTimeout(() => {
      remember("sql", text);
      if (new URLSearchParams(location.search).get("q") !== text) setSearch({ q: text });
    }, 400);
    return () => clearTimeout(id);
  }, [text]);
  const q = search.get("q");
  useEffect(() => {
    // Somebody came here by a link while the page was open.
    if (q !== null && q !== mine.current && document.activeElement === document.body) setText(q);
  }, [q]);

  const run = useCallback(
    async (what?: string) => {
      const statement = (what ?? editor.current?.text() ?? mine.current).trim().replace(/;\s*$/, "");
      if (!statement) return;
      const stop = new AbortController();
      setRunning((before) => {
        before?.abort();
        return stop;
      });
      setError(null);
      const start = performance.now();
      const next: Result = { text: statement, fields: [], batches: [], rows: 0, ms: 0, done: false };
      try {
        const response = await sqlAs(statement, ARROW, { as_of: asOf ? new Date(asOf).toISOString() : undefined, row_limit: MOST_ROWS, signal: stop.signal });
        const reader = await RecordBatchReader.from(response);
        await reader.open();
        next.fields = reader.schema.fields;
        let drawn = 0;
        for await (const batch of reader as AsyncIterable<RecordBatch>) {
          next.batches.push(batch);
          next.rows += batch.numRows;
          if (performance.now() - drawn > 250) {
            drawn = performance.now();
            setResult({ ...next, batches: [...next.batches], ms: drawn - start });
          }
        }
        setResult({ ...next, ms: performance.now() - start, done: true });
        setPast((before) => {
          const list = [statement, ...before.filter((one) => one !== statement)].slice(0, 30);
          remember("sql-past", list);
          return list;
        });
      } catch (failure) {
        if (stop.signal.aborted) {
          if (next.rows > 0) setResult({ ...next, ms: performance.now() - start, done: false });
        } else {
          setError(failure);
          setResult(null);
        }
      } finally {
        setRunning((now) => (now === stop ? null : now));
      }
    },
    [asOf],
  );
  useEffect(() => () => running?.abort(), [running]);
  const first = useRef(search.get("run") === "1");
  useEffect(() => {
    if (first.current) {
      first.current = false;
      void run(text);
    }
    // Once, for links that ask for it.
    // eslint-disable-next-line
  }, []);

  const download = (type: "csv" | "parquet" | "arrow") => {
    const statement = result?.text ?? editor.current?.text() ?? "";
    toast("The download is being made.");
    sqlFile(statement, type, { as_of: asOf ? new Date(asOf).toISOString() : undefined }).then((blob) => save(`query.${type}`, blob), failed);
  };
  const put = (list: { name: string; sql: string }[]) => {
    setSaved(list);
    remember("queries", list);
  };

  return (
    <>
      <TopBar crumbs={[{ label: "SQL" }]}>
        <Popover label="Queries" role="menu" trigger={(props) => <Button icon="bookmark" {...props}>Queries</Button>}>
          {(close) => (
            <div style={{ width: 380 }}>
              {saved.length > 0 && <h3>Saved</h3>}
              {saved.map(({ name, sql: statement }) => (
                <div className="row" key={name}>
                  <Item onClick={() => (setText(statement), close())}>{name}</Item>
                  <Button small kind="quiet" icon="trash" title={`Remove ${name}`} onClick={() => put(saved.filter((one) => one.name !== name))} />
                </div>
              ))}
              <h3>Examples</h3>
              {EXAMPLES.map(({ title, sql: statement }) => (
                <Item key={title} onClick={() => (setText(statement), close())}>
                  {title}
                </Item>
              ))}
              {past.length > 0 && <h3>Run before</h3>}
              {past.slice(0, 12).map((statement) => (
                <Item key={statement} icon="clock" onClick={() => (setText(statement), close())}>
                  <span className="cut mono" style={{ display: "block", maxWidth: 310 }}>
                    {statement.replace(/\s+/g, " ")}
                  </span>
                </Item>
              ))}
            </div>
          )}
        </Popover>
        <Button icon="save" onClick={() => setNaming(true)}>
          Save
        </Button>
        <Button
          icon="link"
          onClick={() => {
            const link = new URL(location.href);
            link.searchParams.set("q", text);
            link.searchParams.set("run", "1");
            navigator.clipboard.writeText(link.href).then(() => toast("The link was copied. Who opens it runs the query."), () => toast("The browser did not allow copying; the address bar has the link.", "bad"));
          }}
        >
          Share
        </Button>
      </TopBar>
      <div className="sql">
        <aside aria-label="Tables">
          <Tree tables={columns.data ?? []} error={columns.error} onInsert={(name) => editor.current?.insert(name)} onExample={setText} />
        </aside>
        <div className="work">
          <div className="editor">
            <SqlEditor value={text} onChange={setText} onRun={() => void run()} schema={schema} handle={editor} />
          </div>
          <div className="controls">
            {running ? (
              <Button kind="danger" icon="stop" onClick={() => running.abort()}>
                Cancel
              </Button>
            ) : (
              <Button kind="primary" icon="play" onClick={() => void run()}>
                Run
              </Button>
            )}
            <Button onClick={() => void run(`EXPLAIN ${withoutExplain(editor.current?.text() ?? "")}`)}>Explain</Button>
            <Button onClick={() => void run(`EXPLAIN ANALYZE ${withoutExplain(editor.current?.text() ?? "")}`)} title="Runs the query, and tells what each step took">
              Analyze
            </Button>
            <label>
              As of
              <input type="datetime-local" className="input" style={{ width: 178 }} value={asOf} onChange={(event) => setSearch({ as_of: event.target.value })} />
            </label>
            {asOf && <Button small kind="quiet" icon="close" title="Back to now" onClick={() => setSearch({ as_of: null })} />}
            <span className="grow" />
            <div className="seg" role="group" aria-label="Show the result as">
              {(["table", "chart"] as const).map((id) => (
                <button key={id} type="button" aria-pressed={shownAs === id} onClick={() => setSearch({ show: id === "table" ? null : id })}>
                  <Icon name={id} /> {id === "table" ? "Table" : "Chart"}
                </button>
              ))}
            </div>
            <Popover label="Download" role="menu" trigger={(props) => <Button icon="download" {...props}>Download</Button>}>
              {(close) => (
                <>
                  {(["csv", "parquet", "arrow"] as const).map((type) => (
                    <Item key={type} onClick={() => (close(), download(type))}>
                      {{ csv: "CSV", parquet: "Parquet", arrow: "Arrow IPC stream" }[type]}
                    </Item>
                  ))}
                </>
              )}
            </Popover>
          </div>
          <div className="result">
            {error !== null ? (
              <div style={{ padding: 16 }}>
                <ErrorNote error={error} />
                {error instanceof ApiError && error.status === 400 && <p className="faint" style={{ marginTop: 8 }}>Names with slashes or points stand in double quotes, texts in single ones. SQL here only reads.</p>}
              </div>
            ) : !result ? (
              running ? (
                <Empty title="Running">
                  <p className="row" style={{ justifyContent: "center" }}>
                    <Icon name="spin" className="spin" /> Cancel stops it on the server as well.
                  </p>
                </Empty>
              ) : (
                <Empty title="Ask the lake">
                  <p>Every experiment, run, metric and model is a table. Run the query above with Ctrl Enter.</p>
                </Empty>
              )
            ) : isExplain(result.text) ? (
              <Plan result={result} />
            ) : shownAs === "chart" ? (
              <ChartCell result={result} />
            ) : (
              <ResultGrid result={result} running={running !== null} />
            )}
          </div>
        </div>
      </div>
      {naming && (
        <Ask
          title="Save the query"
          label="Name"
          verb="Save"
          text="It is kept in this browser. To share it, copy its link."
          onClose={() => setNaming(false)}
          action={async (name) => put([...saved.filter((one) => one.name !== name.trim()), { name: name.trim(), sql: text }])}
        />
      )}
    </>
  );
}

function Tree({ tables: list, error, onInsert, onExample }: { tables: Table[]; error: unknown; onInsert: (text: string) => void; onExample: (text: string) => void }) {
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set(["runs"]));
  const [text, setText] = useState("");
  const words = text.toLowerCase();
  const shownTables = list.filter(({ id, columns }) => id.includes(words) || columns.some(({ name }) => name.includes(words)));
  return (
    <>
      <input className="input" type="search" placeholder="Search tables" aria-label="Search tables" value={text} onChange={(event) => setText(event.target.value)} data-search />
      {error instanceof ApiError && <p className="faint" style={{ padding: 8 }}>{error.status === 501 || error.status === 404 ? "This server does not answer SQL." : error.message}</p>}
      {shownTables.length > 0 && <h2>Tables</h2>}
      {shownTables.map(({ id, columns }) => {
        const isOpen = open.has(id) || (words !== "" && !id.includes(words));
        return (
          <div key={id}>
            <button
              type="button"
              className="t"
              aria-expanded={isOpen}
              onClick={() => {
                const next = new Set(open);
                if (!next.delete(id)) next.add(id);
                setOpen(next);
              }}
              onDoubleClick={() => onInsert(id)}
            >
              <Icon name={isOpen ? "down" : "chevron"} size={11} />
              <Icon name="table" size={13} />
              <span className="cut">{id}</span>
            </button>
            {isOpen &&
              columns.map(({ name, type }) => (
                <button type="button" key={name} className="col" title={`Insert ${name}`} onClick={() => onInsert(identifier(name))}>
                  <b className="cut" style={{ fontWeight: 400 }}>
                    {name}
                  </b>
                  <span className="cut">{type}</span>
                </button>
              ))}
          </div>
        );
      })}
      <h2>Table functions</h2>
      {FUNCTIONS.map(({ name, what, example }) => (
        <button type="button" key={name} className="t" title={`${what}: ${example}`} onClick={() => onExample(example)}>
          <span style={{ width: 11 }} />
          <Icon name="graph" size={13} />
          <span className="cut">{name}</span>
        </button>
      ))}
    </>
  );
}

function useVectors(result: Result) {
  return useMemo(() => {
    if (result.batches.length === 0) return [];
    const table = new ArrowTable(result.batches);
    return result.fields.map((_, i) => table.getChildAt(i));
  }, [result]);
}

function ResultGrid({ result, running }: { result: Result; running: boolean }) {
  const vectors = useVectors(result);
  const head = useMemo(() => result.fields.map(({ name, type }) => ({ name, numeric: /^(U?Int|Float|Decimal)/.test(String(type)) })), [result.fields]);
  const get = useCallback((row: number, col: number) => shown(vectors[col]?.get(row), result.fields[col]?.type), [vectors, result.fields]);
  if (result.fields.length === 0) return <Empty title="The query answered nothing" />;
  return (
    <Sheet
      head={head}
      count={result.rows}
      get={get}
      note={`${Math.round(result.ms)} ms${running ? ", still coming" : result.done ? "" : ", cancelled: there may be more"}${result.rows >= MOST_ROWS ? `; only the first ${count(MOST_ROWS)} rows are fetched` : ""}`}
    />
  );
}

function Plan({ result }: { result: Result }) {
  const vectors = useVectors(result);
  const rows = Array.from({ length: result.rows }, (_, i) => vectors.map((vector) => String(vector?.get(i) ?? "")));
  return (
    <div className="plan" tabIndex={0} role="region" aria-label="Plan">
      {rows.map((row, i) => (
        <section key={i} style={{ marginBottom: 18 }}>
          <h2 style={{ marginBottom: 6 }}>{row.length > 1 ? row[0]!.replaceAll("_", " ") : "Plan"}</h2>
          <pre>{row.at(-1)}</pre>
        </section>
      ))}
      <p className="faint">{Math.round(result.ms)} ms</p>
    </div>
  );
}

const MOST_POINTS = 5000;

function ChartCell({ result }: { result: Result }) {
  const { search } = useLocation();
  const vectors = useVectors(result);
  const names = result.fields.map(({ name }) => name);
  const isNumber = result.fields.map(({ type }) => /^(U?Int|Float|Decimal)/.test(String(type)));
  const isTime = result.fields.map(({ type }) => /^(Timestamp|Date)/.test(String(type)));
  const x = names.includes(search.get("cx") ?? "") ? search.get("cx")! : (names[isNumber.findIndex((one) => !one)] ?? names[0] ?? "");
  const y = names.includes(search.get("cy") ?? "") ? search.get("cy")! : (names.find((name, i) => isNumber[i] && name !== x) ?? "");
  const by = names.includes(search.get("cb") ?? "") ? search.get("cb")! : "";
  const kind = search.get("ck") ?? (isNumber[names.indexOf(x)] ? "scatter" : isTime[names.indexOf(x)] ? "line" : "bar");
  const option = useCallback(
    (colors: { ink: string; faint: string; line: string; panel: string }) => {
      const [xi, yi, bi] = [names.indexOf(x), names.indexOf(y), names.indexOf(by)];
      const rows = Math.min(result.rows, MOST_POINTS);
      const series = new Map<string, [string | number, number][]>();
      for (let i = 0; i < rows; i++) {
        const at = vectors[xi]?.get(i) as unknown;
        const plain = isTime[xi] ? Number(at) : isNumber[xi] ? Number(at) : String(shown(at, result.fields[xi]?.type) ?? "null");
        const value = numeric(String(shown(vectors[yi]?.get(i), result.fields[yi]?.type) ?? ""));
        if (value === null) continue;
        const name = bi >= 0 ? String(shown(vectors[bi]?.get(i), result.fields[bi]?.type) ?? "null") : y;
        const list = series.get(name) ?? [];
        list.push([plain, value]);
        series.set(name, list);
      }
      const axis = { axisLabel: { color: colors.faint, hideOverlap: true }, axisLine: { lineStyle: { color: colors.line } }, splitLine: { lineStyle: { color: colors.line } }, nameTextStyle: { color: colors.faint } };
      const category = !isNumber[xi] && !isTime[xi];
      return {
        animation: false,
        color: ["#3b82d6", "#e0693e", "#2f9e6e", "#b658c4", "#d1a012", "#d6476b", "#1f9fb5", "#7a68e0", "#6f9c2c", "#8f7a25"],
        textStyle: { fontFamily: "Inter, sans-serif", fontSize: 11 },
        grid: { left: 64, right: 24, top: 20, bottom: 48 },
        tooltip: { trigger: "item", renderMode: "richText", backgroundColor: colors.panel, borderColor: colors.line, textStyle: { color: colors.ink } },
        xAxis: { ...axis, type: category ? "category" : isTime[xi] ? "time" : "value", scale: true, name: x, nameLocation: "middle", nameGap: 28, data: category ? [...new Set([...series.values()].flat().map(([at]) => at))] : undefined },
        yAxis: { ...axis, type: "value", scale: kind !== "bar", name: y },
        series: [...series.entries()].slice(0, 50).map(([name, data]) => ({ name, type: kind, data: kind === "line" && !category ? data.sort((a, b) => Number(a[0]) - Number(b[0])) : data, symbolSize: kind === "line" ? 3 : 7, showSymbol: kind !== "line" || data.length < 60, barMaxWidth: 40, lineStyle: { width: 1.6 } })),
      };
    },
    // eslint-disable-next-line
    [vectors, x, y, by, kind],
  );
  const pick = (label: string, key: string, value: string, options: string[], none = false) => (
    <label>
      {label}
      <select className="select" value={value} onChange={(event) => setSearch({ [key]: event.target.value })}>
        {none && <option value="">none</option>}
        {options.map((name) => (
          <option key={name}>{name}</option>
        ))}
      </select>
    </label>
  );
  if (result.rows === 0 || !y) return <Empty title="There is nothing to draw"><p>A chart needs rows, and a column of numbers among them.</p></Empty>;
  return (
    <>
      <div className="controls" style={{ borderBottom: 0 }}>
        {pick("Kind", "ck", kind, ["line", "bar", "scatter"])}
        {pick("X", "cx", x, names)}
        {pick("Y", "cy", y, names.filter((_, i) => isNumber[i]))}
        {pick("By", "cb", by, names.filter((name) => name !== y), true)}
        {result.rows > MOST_POINTS && <span className="faint">of the first {count(MOST_POINTS)} rows</span>}
      </div>
      <div style={{ flex: 1, minHeight: 240, padding: "0 12px 12px" }}>
        <Suspense fallback={null}>
          <EChart option={option} label={`${y} by ${x}`} />
        </Suspense>
      </div>
    </>
  );
}
