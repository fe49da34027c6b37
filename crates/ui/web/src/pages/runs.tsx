import { useQueries, useQuery, useQueryClient } from "@tanstack/react-query";
import { Suspense, useCallback, useEffect, useMemo, useRef, useState } from "react";
import { type RunQuery, type ViewType, experiments, runs as calls } from "../api/calls";
import { ApiError } from "../api/client";
import { sql, sqlMissing } from "../api/sql";
import type { Run } from "../api/types";
import { chooseColor, colorOf } from "../lib/color";
import { type Column, type Stats, areNumbers, cell, column, firstColumns, keysOf, label, orderBy, text as textOf, varying } from "../lib/columns";
import { count, exact, fixed, numeric, plural } from "../lib/format";
import { type Group, group, summarised } from "../lib/group";
import { type CountedGroup, canGroup, groupSql, groupsOf, within } from "../lib/groupsql";
import { nested } from "../lib/tree";
import { type Layout, type RunsView, readView, writeView } from "../lib/views";
import { Link, navigate, path, setSearch, stepSearch, useLocation } from "../router";
import { statsOf, useRuns } from "../state/runs";
import { remember, remembered } from "../state/session";
import { Grid, type GridColumn } from "../ui/Grid";
import { Icon, type IconName } from "../ui/icons";
import { later } from "../ui/later";
import { Ask, Button, Empty, ErrorNote, Item, Popover, Skeleton, Split, Status } from "../ui/kit";
import { Bulk } from "./bulk";
import { ColumnPicker } from "./column-picker";
import { FilterBar, knownOf } from "./filter-bar";
import { ExportMenu } from "./export";
import { SavedViews } from "./saved-views";
import { TopBar, useRecent } from "./shared";

const Charts = later(() => import("./charts"));
if (new URLSearchParams(location.search).get("view") !== "table") void Charts.fetch();

const MOST_IN_ADDRESS = 100;

type Line = { type: "group"; group: Group | CountedGroup; open: boolean } | { type: "run"; run: Run; depth: number; children: number };

const VIEWS: Record<RunsView["life"], ViewType> = { active: "ACTIVE_ONLY", deleted: "DELETED_ONLY", all: "ALL" };
const LAYOUTS: { id: Layout; icon: IconName; label: string }[] = [
  { id: "table", icon: "table", label: "Table" },
  { id: "split", icon: "split", label: "Table and charts" },
  { id: "charts", icon: "chart", label: "Charts" },
];

export default function RunsPage({ ids }: { ids: string[] }) {
  const { search } = useLocation();
  const asked = useMemo(() => readView(search), [search]);
  const patch = useCallback((change: Partial<RunsView>) => {
    const quiet = Object.keys(change).every((key) => key === "selected" || key === "flipped" || key === "smoothing" || key === "metrics");
    (quiet ? setSearch : stepSearch)(writeView(change));
  }, []);
  const client = useQueryClient();
  const single = ids.length === 1 ? ids[0]! : null;

  const infos = useQueries({ queries: ids.map((id) => ({ queryKey: ["experiment", id], queryFn: () => experiments.get(id) })) });
  const names = infos.map(({ data }) => data?.name);
  useRecent(path("experiments", ids.join(",")), single ? names[0] : undefined);

  const query = useMemo<RunQuery>(() => {
    const clause = orderBy(asked.sort.id, asked.sort.descending);
    return { experimentIds: ids, filter: asked.filter, orderBy: clause ? [clause] : [], view: VIEWS[asked.life] };
  }, [ids, asked.filter, asked.sort.id, asked.sort.descending, asked.life]);
  const { loader, state } = useRuns(query);
  const { runs } = state;

  // Until somebody chooses columns, the first runs do; later pages do not change them.
  const chosen = search.has("cols");
  const first = useRef<string[] | null>(null);
  if (!first.current && runs.length > 0) first.current = firstColumns(runs);
  const initial = first.current;
  const view = useMemo<RunsView>(() => (chosen || !initial ? asked : { ...asked, columns: initial }), [asked, chosen, initial]);

  const keys = useMemo(() => keysOf(runs.length > 3000 ? runs.slice(0, 3000) : runs), [runs]);
  const known = useMemo(() => knownOf(keys, runs), [keys, runs]);

  // Charts want as many as are drawn.
  useEffect(() => {
    if (view.layout !== "table" && typeof view.draw === "number") loader.want(view.draw);
  }, [view.layout, view.draw, loader]);

  // Grouping wants more than what is in sight.
  const wantsMore = view.groupBy.length > 0 || Object.keys(view.brush).length > 0 || view.tree;
  useEffect(() => {
    if (wantsMore && !state.done) loader.want(5000);
  }, [wantsMore, state.done, loader]);

  const aggregated = useMemo(() => [...new Set(view.columns.map(column).filter((col) => col.kind === "metrics" && col.aggregate !== "last").map((col) => col.key))], [view.columns]);
  const statIds = useMemo(() => (aggregated.length > 0 ? runs.map((run) => run.id) : []), [aggregated, runs]);
  const stats = useQuery<Stats>({
    queryKey: ["stats", aggregated, statIds],
    enabled: statIds.length > 0,
    queryFn: ({ signal }) => statsOf(statIds, aggregated, signal),
    placeholderData: (previous) => previous,
    retry: false,
  });

  const brushed = useMemo(() => {
    const ranges = Object.entries(view.brush).map(([id, range]) => [column(id), range] as const);
    if (ranges.length === 0) return runs;
    return runs.filter((run) =>
      ranges.every(([col, [low, high]]) => {
        const value = numeric(cell(run, col, stats.data));
        return value !== null && value >= low && value <= high;
      }),
    );
  }, [runs, view.brush, stats.data]);

  const columns = useMemo(() => (view.varying ? varying(view.columns, brushed, stats.data) : view.columns), [view.varying, view.columns, brushed, stats.data]);
  const [opened, setOpened] = useState<ReadonlySet<string>>(new Set());
  const twist = useCallback((id: string) => {
    setOpened((before) => {
      const next = new Set(before);
      if (!next.delete(id)) next.add(id);
      return next;
    });
  }, []);

  // Where there are more runs than were fetched, the server groups all of them.
  const counting = view.groupBy.length > 0 && !state.done && runs.length >= 5000 && Object.keys(view.brush).length === 0 && canGroup(view.groupBy) && !sqlMissing();
  const counted = useQuery<CountedGroup[]>({
    queryKey: ["groups", query, view.groupBy, columns],
    enabled: counting,
    placeholderData: (previous) => previous,
    retry: false,
    queryFn: async ({ signal }) => {
      const plan = groupSql(query, view.groupBy, columns);
      return groupsOf(plan, view.groupBy, (await sql(plan.sql, { signal, row_limit: 5000 })).rows);
    },
  });
  const groups = counting ? counted.data : undefined;
  const openGroups = useMemo(() => (groups ?? []).filter((one) => opened.has(one.id)), [groups, opened]);
  const inside = useQueries({
    queries: openGroups.map((one) => ({
      queryKey: ["group-runs", query, view.groupBy, one.id],
      queryFn: async ({ signal }: { signal: AbortSignal }) => (await calls.page(within(query, view.groupBy, one.values), 500, undefined, signal)).runs,
    })),
    combine: (results) => new Map(results.map(({ data }, i) => [openGroups[i]?.id ?? "", data ?? []])),
  });

  const lines = useMemo<Line[]>(() => {
    if (view.groupBy.length > 0) {
      return (groups ?? group(brushed, view.groupBy)).flatMap((one): Line[] => {
        const open = opened.has(one.id);
        const head: Line = { type: "group", group: one, open };
        const list = groups ? (inside.get(one.id) ?? []) : one.runs;
        return open ? [head, ...list.map((run): Line => ({ type: "run", run, depth: 1, children: 0 }))] : [head];
      });
    }
    if (view.tree) return nested(brushed, (id) => opened.has(id)).map((row) => ({ type: "run", ...row }));
    return brushed.map((run) => ({ type: "run", run, depth: 0, children: 0 }));
  }, [brushed, view.groupBy, view.tree, opened, groups, inside]);

  // Which runs are drawn.
  // A long selection would not fit into an address: it is kept for the page only.
  const [long, setLong] = useState<string[] | null>(null);
  // All that fit the filter, loaded or not.
  const [everything, setEverything] = useState(false);
  useEffect(() => setEverything(false), [query]);
  const chosenIds = long ?? view.selected;
  const selected = useMemo(() => new Set(chosenIds), [chosenIds]);
  const select = useCallback(
    (ids: string[]) => {
      setEverything(false);
      setLong(ids.length > MOST_IN_ADDRESS ? ids : null);
      patch({ selected: ids.length > MOST_IN_ADDRESS ? [] : ids });
    },
    [patch],
  );
  const drawn = useMemo(() => {
    const flipped = new Set(view.flipped);
    const out = new Set<string>();
    brushed.forEach((run, i) => {
      const byDefault = view.draw === "selected" ? selected.has(run.id) : i < view.draw;
      if (byDefault !== flipped.has(run.id)) out.add(run.id);
    });
    return out;
  }, [brushed, view.draw, view.flipped, selected]);
  const [colors, setColors] = useState(0);
  const drawnRuns = useMemo(() => brushed.filter((run) => drawn.has(run.id)), [brushed, drawn]);

  const toggleSelected = useCallback(
    (id: string) => {
      const next = new Set(selected);
      if (!next.delete(id)) next.add(id);
      select([...next]);
    },
    [selected, select],
  );
  const toggleEye = useCallback(
    (id: string) => {
      const next = new Set(view.flipped);
      if (!next.delete(id)) next.add(id);
      patch({ flipped: [...next] });
    },
    [view.flipped, patch],
  );

  // Widths are the browser's matter, not the link's.
  const storage = `widths.${ids.join(",")}`;
  const [widths, setWidths] = useState<Record<string, number>>(() => remembered(storage, {}));
  const resize = useCallback(
    (id: string, width: number) =>
      setWidths((before) => {
        const next = { ...before, [id]: Math.round(width) };
        remember(storage, next);
        return next;
      }),
    [storage],
  );

  const sortBy = useCallback(
    (id: string) => patch({ sort: { id, descending: view.sort.id === id ? !view.sort.descending : column(id).kind === "metrics" || id === "attributes.start_time" } }),
    [patch, view.sort.id, view.sort.descending],
  );

  const gridColumns = useMemo<GridColumn[]>(() => {
    const pinned = view.pinned.filter((id) => columns.includes(id));
    const rest = columns.filter((id) => !pinned.includes(id));
    const all = everything || (brushed.length > 0 && brushed.every((run) => selected.has(run.id)));
    const of = (id: string, isPinned: boolean): GridColumn => {
      const col = column(id);
      const numericColumn = col.kind === "metrics" || (col.kind === "params" && areNumbers(brushed.slice(0, 50).map((run) => run.params[col.key] ?? null))) || id === "attributes.duration";
      const sortable = orderBy(id, true) !== null;
      return {
        id, label: label(col), width: widths[id] ?? (id === "attributes.status" ? 104 : id === "attributes.run_id" ? 270 : col.key.endsWith("_time") ? 148 : Math.min(220, Math.max(110, label(col).length * 7.4 + 58))),
        pinned: isPinned, numeric: numericColumn,
        sort: view.sort.id === id ? (view.sort.descending ? "desc" : "asc") : null,
        onSort: sortable ? () => sortBy(id) : undefined,
        menu: (
          <Popover
            label={`Column ${label(col)}`}
            role="menu"
            trigger={(props) => (
              <button type="button" className="menu" aria-label={`Column ${label(col)}`} {...props}>
                <Icon name="more" size={12} />
              </button>
            )}
          >
            {(close) => {
              const done = (action: () => void) => () => {
                action();
                close();
              };
              const shift = (by: number) => {
                const order = [...view.columns];
                const at = order.indexOf(id);
                order.splice(at, 1);
                order.splice(Math.max(0, at + by), 0, id);
                patch({ columns: order });
              };
              return (
                <>
                  {sortable && <Item icon="up2" onClick={done(() => patch({ sort: { id, descending: false } }))}>Sort ascending</Item>}
                  {sortable && <Item icon="down2" onClick={done(() => patch({ sort: { id, descending: true } }))}>Sort descending</Item>}
                  <Item icon="pin" checked={isPinned} onClick={done(() => patch({ pinned: isPinned ? view.pinned.filter((one) => one !== id) : [...view.pinned, id] }))}>Pin to the left</Item>
                  <Item onClick={done(() => shift(-1))}>Move left</Item>
                  <Item onClick={done(() => shift(1))}>Move right</Item>
                  <Item icon="group" checked={view.groupBy.includes(id)} onClick={done(() => patch({ groupBy: view.groupBy.includes(id) ? view.groupBy.filter((one) => one !== id) : [...view.groupBy, id] }))}>Group by this</Item>
                  <hr />
                  <Item icon="eyeoff" onClick={done(() => patch({ columns: view.columns.filter((one) => one !== id) }))}>Hide</Item>
                </>
              );
            }}
          </Popover>
        ),
      };
    };
    return [
      {
        id: "#", label: "Selected, drawn", width: 62, pinned: true, fixed: true,
        head: (
          <input
            type="checkbox"
            aria-label="Select all loaded runs"
            checked={all}
            ref={(el) => {
              if (el) el.indeterminate = !all && selected.size > 0;
            }}
            onChange={() => select(all || selected.size > 0 ? [] : brushed.map((run) => run.id))}
          />
        ),
      },
      {
        id: "name", label: view.groupBy.length > 0 ? "Group" : "Run", width: widths["name"] ?? 230, pinned: true,
        sort: view.sort.id === "attributes.run_name" ? (view.sort.descending ? "desc" : "asc") : null,
        onSort: () => sortBy("attributes.run_name"),
      },
      ...pinned.map((id) => of(id, true)),
      ...rest.map((id) => of(id, false)),
    ];
  }, [columns, view, widths, brushed, selected, everything, patch, select, sortBy]);

  const parsed = useMemo(() => new Map<string, Column>(columns.map((id) => [id, column(id)])), [columns]);
  const renderCell = useCallback(
    (row: number, col: GridColumn) => {
      const line = lines[row];
      if (!line) return null;
      if (line.type === "group") return <GroupCell line={line} col={col} parsed={parsed} groupBy={view.groupBy} stats={stats.data} twist={twist} />;
      const { run } = line;
      if (col.id === "#") {
        const isDrawn = drawn.has(run.id);
        return (
          <>
            <input type="checkbox" aria-label={`Select ${run.name}`} checked={everything || selected.has(run.id)} onChange={() => toggleSelected(run.id)} />
            <button type="button" className={`eye ${isDrawn ? "on" : ""}`} aria-pressed={isDrawn} aria-label={`Draw ${run.name}`} title={isDrawn ? "Drawn in charts" : "Not drawn"} onClick={() => toggleEye(run.id)}>
              <Icon name={isDrawn ? "eye" : "eyeoff"} />
            </button>
          </>
        );
      }
      if (col.id === "name") {
        return (
          <>
            {line.depth > 0 && <span style={{ width: line.depth * 16 }} />}
            {view.tree && (line.children > 0 ? (
              <button type="button" className="twist" aria-expanded={opened.has(run.id)} aria-label={`Child runs of ${run.name}`} onClick={() => twist(run.id)}>
                <Icon name={opened.has(run.id) ? "down" : "chevron"} size={12} />
              </button>
            ) : <span style={{ width: 14 }} />)}
            <Swatch run={run} onChange={() => setColors((n) => n + 1)} />
            <Link href={path("runs", run.id)} className="cut">
              {run.name}
            </Link>
            {run.status !== "FINISHED" && !columns.includes("attributes.status") && (
              <span className="dot" role="img" aria-label={run.status.toLowerCase()} title={run.status.toLowerCase()} style={{ background: run.status === "RUNNING" || run.status === "SCHEDULED" ? "var(--busy)" : run.status === "FAILED" ? "var(--bad)" : "var(--warn)" }} />
            )}
            {line.children > 0 && <span className="badge">{line.children}</span>}
          </>
        );
      }
      const of = parsed.get(col.id);
      if (!of) return null;
      const value = cell(run, of, stats.data);
      if (value === null) return null;
      if (col.id === "attributes.status") return <Status status={run.status} />;
      if (col.id === "attributes.experiment") return names[ids.indexOf(run.experimentId)] ?? run.experimentId;
      return textOf(value, of);
    },
    // eslint-disable-next-line
    [lines, parsed, drawn, selected, everything, opened, stats.data, view.tree, view.groupBy, columns, toggleSelected, toggleEye, twist, colors, names.join()],
  );

  const hintCell = useCallback(
    (row: number, col: GridColumn) => {
      const line = lines[row];
      const of = parsed.get(col.id);
      if (line?.type !== "run") return null;
      if (col.id === "name") return line.run.name;
      const value = of ? cell(line.run, of, stats.data) : null;
      return of && value !== null ? (of.key.endsWith("_time") && typeof value === "number" ? exact(value) : String(value)) : null;
    },
    [lines, parsed, stats.data],
  );

  const onEnd = useCallback(
    (last: number) => {
      if (view.groupBy.length === 0 && last > runs.length - 150) loader.want(runs.length + 1);
    },
    [loader, runs.length, view.groupBy.length],
  );

  const selectedRuns = useMemo(() => runs.filter((run) => selected.has(run.id)), [runs, selected]);
  const missing = infos.find(({ error }) => error)?.error;
  const [width, setWidth] = useState(() => remembered("split", 0.5));

  const empty = !state.loading && runs.length === 0 && state.error === null && state.done;
  const table = (
    <>
      {state.error !== null && runs.length === 0 ? (
        <div style={{ padding: 16 }}>
          <ErrorNote error={state.error} retry={() => loader.retry()} />
        </div>
      ) : runs.length === 0 && !empty ? (
        <Skeleton rows={14} />
      ) : empty ? (
        <NoRuns view={view} name={names[0]} onClear={() => patch({ filter: "", life: "active" })} />
      ) : (
        <Grid
          label="Runs"
          count={lines.length}
          columns={gridColumns}
          cell={renderCell}
          hint={hintCell}
          rowClass={(row) => {
            const line = lines[row];
            return line?.type === "run" ? `${everything || selected.has(line.run.id) ? "sel" : ""} ${line.run.deleted ? "gone" : ""}` : "";
          }}
          onResize={resize}
          onMove={(id, before) => {
            const order = view.columns.filter((one) => one !== id);
            const to = order.indexOf(before);
            order.splice(to < 0 ? 0 : to, 0, id);
            if (view.columns.includes(id)) patch({ columns: order });
          }}
          onEnd={onEnd}
          onOpen={(row) => {
            const line = lines[row];
            if (line?.type === "run") navigate(path("runs", line.run.id));
            else if (line) twist(line.group.id);
          }}
          onToggle={(row) => {
            const line = lines[row];
            if (line?.type === "run") toggleSelected(line.run.id);
          }}
        />
      )}
      {state.error !== null && runs.length > 0 && (
        <div style={{ padding: "8px 16px" }}>
          <ErrorNote error={state.error} retry={() => loader.retry()} />
        </div>
      )}
      <div className="statusbar">
        <span className="num">
          {state.total !== null ? plural(Math.max(state.total, runs.length), "run") : state.done ? plural(runs.length, "run") : `${count(runs.length)}+ runs`}
          {brushed.length !== runs.length && `, ${count(brushed.length)} in the brushed ranges`}
        </span>
        {view.groupBy.length > 0 && !state.done && !groups && <span>Groups hold the {count(runs.length)} runs loaded so far</span>}
        {state.loading && (
          <span className="row" role="status">
            <Icon name="spin" className="spin" size={12} /> Loading
          </span>
        )}
        {state.stale && (
          <Button small onClick={() => void loader.refresh(true)} icon="refresh">
            There is something new
          </Button>
        )}
        <span className="grow right">{drawn.size > 0 && `${plural(drawn.size, "run")} drawn`}</span>
      </div>
    </>
  );
  const charts = (
    <Suspense fallback={<Skeleton />}>
      <Charts runs={drawnRuns} all={brushed} everything={runs} view={view} patch={patch} stats={stats.data} colors={colors} loading={state.loading && runs.length === 0} />
    </Suspense>
  );

  return (
    <>
      <TopBar crumbs={[{ label: "Experiments", href: "/" }, { label: single ? (names[0] ?? `Experiment ${single}`) : plural(ids.length, "experiment") }]}>
        <SavedViews ids={ids} experiment={single ? infos[0]?.data : undefined} onChanged={() => void client.invalidateQueries({ queryKey: ["experiment", single] })} />
        <ExportMenu query={query} columns={columns} loaded={() => runs} name={names[0] ?? "runs"} />
        {single && infos[0]?.data && <ExperimentInfo experiment={infos[0].data} onChanged={() => void client.invalidateQueries({ queryKey: ["experiment", single] })} />}
      </TopBar>
      {missing ? (
        <div className="pad">
          <ErrorNote error={missing} />
        </div>
      ) : (
        <div className="page fixed">
          <div className="toolbar">
            <FilterBar value={view.filter} onApply={(filter) => patch({ filter })} known={known} />
            <select className="select" aria-label="Which runs" value={view.life} onChange={(event) => patch({ life: event.target.value as RunsView["life"] })}>
              <option value="active">Active</option>
              <option value="deleted">Deleted</option>
              <option value="all">All</option>
            </select>
            <GroupMenu keys={keys} view={view} patch={patch} />
            <ColumnPicker keys={keys} chosen={view.columns} onChange={(ids) => patch({ columns: ids })} />
            <Button icon="tree" title="Child runs below their parents" on={view.tree} onClick={() => patch({ tree: !view.tree })} />
            <Button icon="compare" title="Only columns that differ" on={view.varying} onClick={() => patch({ varying: !view.varying })} />
            <div className="seg" role="group" aria-label="Layout">
              {LAYOUTS.map(({ id, icon, label }) => (
                <button key={id} type="button" aria-pressed={view.layout === id} title={label} aria-label={label} onClick={() => patch({ layout: id })}>
                  <Icon name={icon} />
                </button>
              ))}
            </div>
          </div>
          {(Object.keys(view.brush).length > 0 || view.groupBy.length > 0) && (
            <div className="chips">
              {view.groupBy.map((id) => (
                <Chip key={id} onRemove={() => patch({ groupBy: view.groupBy.filter((one) => one !== id) })}>
                  Grouped by {label(column(id))}
                </Chip>
              ))}
              {Object.entries(view.brush).map(([id, [low, high]]) => (
                <Chip
                  key={id}
                  onRemove={() => {
                    const { [id]: _, ...rest } = view.brush;
                    patch({ brush: rest });
                  }}
                >
                  {label(column(id))} from {fixed(low)} to {fixed(high)}
                </Chip>
              ))}
            </div>
          )}
          {stats.error !== null && aggregated.length > 0 && (
            <div className="problem" role="alert">
              {stats.error instanceof ApiError && stats.error.status === 501 ? "Columns of min, max and mean need SQL, which this server does not answer." : `Columns of min, max and mean: ${String(stats.error.message)}`}
            </div>
          )}
          {(selected.size > 0 || everything) && (
            <Bulk
              runs={selectedRuns}
              ids={chosenIds}
              query={query}
              beyond={state.done || Object.keys(view.brush).length > 0 ? null : { total: state.total }}
              everything={everything}
              onEverything={() => setEverything(true)}
              onClear={() => select([])}
              onDone={() => void loader.refresh(true)}
            />
          )}
          {view.layout === "table" ? (
            table
          ) : view.layout === "charts" ? (
            charts
          ) : (
            <Split
              left={table}
              right={charts}
              width={width}
              onWidth={(value) => {
                setWidth(value);
                remember("split", value);
              }}
            />
          )}
        </div>
      )}
    </>
  );
}

function Chip({ children, onRemove }: { children: React.ReactNode; onRemove: () => void }) {
  return (
    <span className="badge accent">
      <span>{children}</span>
      <button type="button" aria-label="Remove" onClick={onRemove}>
        <Icon name="close" size={11} />
      </button>
    </span>
  );
}

export function Swatch({ run, onChange }: { run: { id: string; name: string }; onChange: () => void }) {
  // The field is made when it is needed: one in each row of a table costs more than all the rest of the row.
  const pick = (event: React.MouseEvent<HTMLButtonElement>) => {
    const field = document.createElement("input");
    field.type = "color";
    field.value = colorOf(run.id);
    field.tabIndex = -1;
    field.ariaHidden = "true";
    const done = () => field.remove();
    field.addEventListener("input", () => {
      chooseColor(run.id, field.value);
      onChange();
    });
    field.addEventListener("change", done);
    field.addEventListener("blur", done);
    event.currentTarget.after(field);
    field.className = "swatch-field";
    field.click();
  };
  return <button type="button" className="swatch" style={{ background: colorOf(run.id) }} tabIndex={-1} title="Colour in charts" aria-label={`Colour of ${run.name}`} onClick={pick} />;
}

function GroupCell({ line, col, parsed, groupBy, stats, twist }: { line: Extract<Line, { type: "group" }>; col: GridColumn; parsed: Map<string, Column>; groupBy: string[]; stats?: Stats; twist: (id: string) => void }) {
  const { group: of, open } = line;
  if (col.id === "#") return null;
  if (col.id === "name") {
    return (
      <>
        <button type="button" className="twist" aria-expanded={open} aria-label={`Runs of the group ${of.values.join(", ")}`} onClick={() => twist(of.id)}>
          <Icon name={open ? "down" : "chevron"} size={12} />
        </button>
        <span className="cut" style={{ fontWeight: 560 }}>
          {of.values.map((value) => value ?? "none").join(" · ")}
        </span>
        <span className="badge">{count("count" in of ? of.count : of.runs.length)}</span>
      </>
    );
  }
  const at = groupBy.indexOf(col.id);
  if (at >= 0) return <span className="cut">{of.values[at] ?? "none"}</span>;
  const by = parsed.get(col.id);
  if (!by) return null;
  if ("cells" in of) {
    const known = of.cells.get(col.id);
    if (!known) return <span className="faint">–</span>;
    if (known.distinct === undefined) return known.value === null || known.value === undefined ? <span className="faint">–</span> : <span className="cut">{textOf(known.value, by)}</span>;
    return known.distinct === 0 ? <span className="faint">–</span> : known.distinct === 1 ? <span className="cut">{known.one}</span> : <span className="faint">{known.distinct} values</span>;
  }
  const values = of.runs.map((run) => cell(run, by, stats));
  if (by.kind === "metrics" || col.id === "attributes.duration") {
    const figure = summarised(values.map((value) => numeric(value) ?? NaN), by.aggregate === "last" ? "mean" : by.aggregate);
    if (figure === null) return <span className="faint">–</span>;
    return (
      <span className="cut" title={`${by.aggregate === "last" ? "Mean of the last values" : `${by.aggregate} of ${by.aggregate}`} of ${of.runs.length} runs`}>
        {textOf(figure, by)}
      </span>
    );
  }
  const different = new Set(values.filter((value) => value !== null));
  if (different.size === 0) return <span className="faint">–</span>;
  if (different.size === 1) return <span className="cut">{textOf([...different][0]!, by)}</span>;
  return <span className="faint">{different.size} values</span>;
}

function GroupMenu({ keys, view, patch }: { keys: { params: string[]; tags: string[] }; view: RunsView; patch: (change: Partial<RunsView>) => void }) {
  const options = ["attributes.user", "attributes.status", "attributes.dataset", "attributes.experiment", ...keys.params.map((key) => `params.${key}`), ...keys.tags.map((key) => `tags.${key}`)];
  return (
    <Popover label="Group by" role="menu" trigger={(props) => <Button icon="group" on={view.groupBy.length > 0 || undefined} {...props}>Group</Button>}>
      {() => (
        <>
          <h3>Group by</h3>
          {options.map((id) => (
            <Item key={id} checked={view.groupBy.includes(id)} onClick={() => patch({ groupBy: view.groupBy.includes(id) ? view.groupBy.filter((one) => one !== id) : [...view.groupBy, id] })}>
              <span className="faint">{id.split(".")[0]} </span>
              {label(column(id))}
            </Item>
          ))}
        </>
      )}
    </Popover>
  );
}

function NoRuns({ view, name, onClear }: { view: RunsView; name?: string; onClear: () => void }) {
  if (view.filter || view.life !== "active") {
    return (
      <Empty title={view.filter ? "No run fits the filter" : "No deleted runs"}>
        <p>{view.filter ? "Metrics that a run did not log fit no comparison. Ask with IS NULL for those." : "Deleted runs stay here until they are restored."}</p>
        <p style={{ marginTop: 12 }}>
          <Button onClick={onClear}>Show all active runs</Button>
        </p>
      </Empty>
    );
  }
  const python = `import mlflow
mlflow.set_tracking_uri("${location.origin}"); mlflow.set_experiment(${JSON.stringify(name ?? "my experiment")})
with mlflow.start_run(): mlflow.log_metric("loss", 0.1)`;
  return (
    <Empty title="No runs yet" code={python}>
      <p>Paste this into your environment, or put the first two lines in front of your training script.</p>
    </Empty>
  );
}

function ExperimentInfo({ experiment, onChanged }: { experiment: { experiment_id: string; name: string; artifact_location: string; creation_time: number; tags?: { key: string; value: string }[] }; onChanged: () => void }) {
  const [naming, setNaming] = useState(false);
  const note = experiment.tags?.find(({ key }) => key === "mlflow.note.content")?.value;
  return (
    <>
      <Popover label="About this experiment" trigger={(props) => <Button icon="info" title="About this experiment" {...props} />}>
        {(close) => (
          <div className="stack" style={{ width: 380, padding: 8 }}>
            <dl className="facts">
              <dt>Id</dt>
              <dd className="mono">{experiment.experiment_id}</dd>
              <dt>Artifacts</dt>
              <dd className="mono">{experiment.artifact_location}</dd>
              <dt>Created</dt>
              <dd>{exact(experiment.creation_time)}</dd>
              {experiment.tags?.filter(({ key }) => !/^(mlflow|runlake)\./.test(key)).map(({ key, value }) => (
                <FactRow key={key} name={key} value={value} />
              ))}
            </dl>
            {note && <p className="soft">{note}</p>}
            <Button small icon="edit" onClick={() => (close(), setNaming(true))}>
              Rename…
            </Button>
          </div>
        )}
      </Popover>
      {naming && (
        <Ask
          title="Rename experiment"
          label="Name"
          initial={experiment.name}
          verb="Rename"
          onClose={() => setNaming(false)}
          action={async (name) => {
            await experiments.rename(experiment.experiment_id, name.trim());
            onChanged();
          }}
        />
      )}
    </>
  );
}

function FactRow({ name, value }: { name: string; value: string }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </>
  );
}
