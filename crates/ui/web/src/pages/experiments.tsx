import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useRef, useState } from "react";
import { type ViewType, experiments, runs } from "../api/calls";
import { sql } from "../api/sql";
import type { Experiment } from "../api/types";
import { count, exact, plural, when } from "../lib/format";
import { type Branch, pathTree } from "../lib/tree";
import { Link, navigate, path, setSearch, useLocation } from "../router";
import { remember, remembered } from "../state/session";
import { Icon } from "../ui/icons";
import { Ask, Button, Empty, ErrorNote, Item, Popover, Skeleton, toast } from "../ui/kit";
import { SearchBox, TopBar } from "./shared";

const PYTHON = `import mlflow
mlflow.set_tracking_uri("${location.origin}")
mlflow.set_experiment("my/first/experiment")`;

type Dialog = { kind: "create" } | { kind: "rename" | "delete"; experiment: Experiment } | null;

interface Line {
  branch: Branch<Experiment>;
  depth: number;
  open: boolean;
}

export function ExperimentsPage() {
  const { search } = useLocation();
  const text = search.get("q") ?? "";
  const view: ViewType = search.get("life") === "deleted" ? "DELETED_ONLY" : "ACTIVE_ONLY";
  const client = useQueryClient();
  const [dialog, setDialog] = useState<Dialog>(null);
  const [closed, setClosed] = useState<Set<string>>(() => new Set(remembered<string[]>("closed", [])));
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [at, setAt] = useState(-1);
  const list = useQuery({ queryKey: ["experiments", view], queryFn: ({ signal }) => experiments.list(view, signal) });
  const counts = useQuery({ queryKey: ["experiment-counts"], queryFn: ({ signal }) => activity(signal), retry: false });

  const items = useMemo(() => {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    return (list.data ?? []).filter(({ name, experiment_id }) => words.every((word) => name.toLowerCase().includes(word) || experiment_id === word));
  }, [list.data, text]);
  const lines = useMemo(() => {
    const out: Line[] = [];
    const add = (branch: Branch<Experiment>, depth: number) => {
      const open = text !== "" || !closed.has(branch.path);
      out.push({ branch, depth, open });
      if (open) for (const child of branch.children) add(child, depth + 1);
    };
    for (const branch of pathTree(items, ({ name }) => name)) add(branch, 0);
    return out;
  }, [items, closed, text]);

  const toggle = (branch: Branch<Experiment>) => {
    const next = new Set(closed);
    if (!next.delete(branch.path)) next.add(branch.path);
    setClosed(next);
    remember("closed", [...next]);
  };
  const changed = () => client.invalidateQueries({ queryKey: ["experiments"] });

  const keys = useRef({ lines, at });
  keys.current = { lines, at };
  useEffect(() => {
    const key = (event: KeyboardEvent) => {
      if (event.metaKey || event.ctrlKey || event.altKey || document.querySelector("dialog[open]")) return;
      if ((event.target as HTMLElement).closest("input, textarea, select, button")) return;
      const { lines, at } = keys.current;
      if (event.key === "j" || event.key === "k") {
        const next = Math.max(0, Math.min(lines.length - 1, at + (event.key === "j" ? 1 : -1)));
        setAt(next);
        document.getElementById(`line-${next}`)?.scrollIntoView({ block: "nearest" });
      } else if (event.key === "Enter" || event.key === "o") {
        const item = lines[at]?.branch.item;
        if (item && !(event.target as HTMLElement).closest("a")) navigate(path("experiments", item.experiment_id));
      }
    };
    addEventListener("keydown", key);
    return () => removeEventListener("keydown", key);
  }, []);

  return (
    <>
      <TopBar crumbs={[{ label: "Experiments" }]}>
        {chosen.size > 0 && (
          <Link className="btn" href={path("experiments", [...chosen].join(","))}>
            Open {plural(chosen.size, "experiment")} together
          </Link>
        )}
        <Button kind="primary" icon="plus" onClick={() => setDialog({ kind: "create" })}>
          New experiment
        </Button>
      </TopBar>
      <div className="page">
        <div className="pad">
          <div className="pagehead">
            <div className="grow">
              <h1>Experiments</h1>
              <p>{list.data ? `${plural(items.length, "experiment")}${counts.data ? `, ${plural(total(counts.data, items), "run")}` : ""}` : " "}</p>
            </div>
            <div style={{ width: 300 }}>
              <SearchBox value={text} onChange={(value) => setSearch({ q: value })} placeholder="Search experiments" />
            </div>
            <div className="seg" role="group" aria-label="Which experiments">
              <button type="button" aria-pressed={view === "ACTIVE_ONLY"} onClick={() => setSearch({ life: null })}>
                Active
              </button>
              <button type="button" aria-pressed={view === "DELETED_ONLY"} onClick={() => setSearch({ life: "deleted" })}>
                Deleted
              </button>
            </div>
          </div>
          {list.error ? (
            <ErrorNote error={list.error} retry={() => void list.refetch()} />
          ) : !list.data ? (
            <Skeleton />
          ) : lines.length === 0 ? (
            text ? (
              <Empty title="No experiment has such a name">
                <p>Names are searched by every word. Clear the search to see all.</p>
              </Empty>
            ) : view === "DELETED_ONLY" ? (
              <Empty title="Nothing is deleted">
                <p>Deleted experiments stay here until they are restored.</p>
              </Empty>
            ) : (
              <Empty title="Log the first run" code={PYTHON}>
                <p>Paste this in front of your training script. Names with slashes become folders.</p>
              </Empty>
            )
          ) : (
            <div className="tree">
              <div className="line th">
                <span className="sr">Select</span>
                <span style={{ gridColumn: 2 }}>Name</span>
                <span className="right">Runs</span>
                <span className="right wide">Last activity</span>
                <span className="right wide">Created</span>
              </div>
              {lines.map(({ branch, depth, open }, i) => {
                const item = branch.item;
                const figures = item && counts.data?.get(item.experiment_id);
                return (
                  <div key={branch.path + (item?.experiment_id ?? "/")} id={`line-${i}`} className={`line ${i === at ? "cur" : ""}`}>
                    {item ? (
                      <input
                        type="checkbox"
                        aria-label={`Select ${item.name}`}
                        checked={chosen.has(item.experiment_id)}
                        onChange={() => {
                          const next = new Set(chosen);
                          if (!next.delete(item.experiment_id)) next.add(item.experiment_id);
                          setChosen(next);
                        }}
                      />
                    ) : (
                      <span />
                    )}
                    <div className="name" style={{ paddingLeft: depth * 20 }}>
                      {branch.children.length > 0 ? (
                        <button type="button" className="twist" aria-expanded={open} aria-label={`${open ? "Close" : "Open"} ${branch.name}`} onClick={() => toggle(branch)}>
                          <Icon name={open ? "down" : "chevron"} size={12} />
                        </button>
                      ) : (
                        <span style={{ width: 14, flex: "none" }} />
                      )}
                      <Icon name={item ? "flask" : "folder"} />
                      {item ? (
                        <Link href={path("experiments", item.experiment_id)} className="cut" title={item.name}>
                          {branch.name}
                        </Link>
                      ) : (
                        <span className="soft cut">{branch.name}</span>
                      )}
                      {branch.children.length > 0 && !open && <span className="badge">{branch.size}</span>}
                    </div>
                    <span className="right num soft">{figures ? count(figures.runs) : item && counts.data ? "0" : ""}</span>
                    <span className="right num soft wide" title={item ? exact(figures?.last ?? item.last_update_time) : undefined}>
                      {item ? when(figures?.last ?? item.last_update_time) : ""}
                    </span>
                    <span className="right num faint wide" title={item ? exact(item.creation_time) : undefined}>
                      {item ? when(item.creation_time) : ""}
                    </span>
                    {item ? (
                      <Popover label={`Actions for ${item.name}`} role="menu" trigger={(props) => <Button kind="quiet" small icon="more" title={`Actions for ${item.name}`} {...props} />}>
                        {(close) => (
                          <>
                            {item.lifecycle_stage === "deleted" ? (
                              <Item
                                icon="restore"
                                onClick={() => {
                                  close();
                                  experiments.restore(item.experiment_id).then(
                                    () => {
                                      toast(`${item.name} is back.`);
                                      void changed();
                                    },
                                    (error: unknown) => toast(String(error), "bad"),
                                  );
                                }}
                              >
                                Restore
                              </Item>
                            ) : (
                              <>
                                <Item icon="edit" onClick={() => (close(), setDialog({ kind: "rename", experiment: item }))}>
                                  Rename…
                                </Item>
                                <Item icon="trash" danger onClick={() => (close(), setDialog({ kind: "delete", experiment: item }))}>
                                  Delete…
                                </Item>
                              </>
                            )}
                          </>
                        )}
                      </Popover>
                    ) : (
                      <span />
                    )}
                  </div>
                );
              })}
            </div>
          )}
        </div>
      </div>
      {dialog?.kind === "create" && (
        <Ask
          title="New experiment"
          label="Name"
          verb="Create"
          text="Slashes make folders: vision/classification/resnet."
          onClose={() => setDialog(null)}
          action={async (name) => {
            const { experiment_id } = await experiments.create(name.trim());
            await changed();
            navigate(path("experiments", experiment_id));
          }}
        />
      )}
      {dialog?.kind === "rename" && (
        <Ask
          title="Rename experiment"
          label="Name"
          initial={dialog.experiment.name}
          verb="Rename"
          onClose={() => setDialog(null)}
          action={async (name) => {
            await experiments.rename(dialog.experiment.experiment_id, name.trim());
            await changed();
          }}
        />
      )}
      {dialog?.kind === "delete" && (
        <Ask
          title={`Delete ${dialog.experiment.name}?`}
          text="Its runs go with it. Both can be restored from the list of deleted experiments."
          verb="Delete"
          danger
          onClose={() => setDialog(null)}
          action={async () => {
            await experiments.delete(dialog.experiment.experiment_id);
            await changed();
            toast(`${dialog.experiment.name} was deleted.`);
          }}
        />
      )}
    </>
  );
}

interface Activity {
  runs: number;
  last: number | null;
}

function total(counts: ReadonlyMap<string, Activity>, items: readonly Experiment[]): number {
  return items.reduce((sum, { experiment_id }) => sum + (counts.get(experiment_id)?.runs ?? 0), 0);
}

/** Runs and last activity of each experiment, in one query; where there is no SQL, from the newest runs. */
async function activity(signal: AbortSignal): Promise<Map<string, Activity>> {
  const out = new Map<string, Activity>();
  try {
    const answer = await sql(
      "SELECT experiment_id, count(*) AS runs, max(coalesce(end_time, start_time)) AS last FROM runs WHERE lifecycle_stage = 'active' GROUP BY experiment_id",
      { signal },
    );
    for (const [id, runsOf, last] of answer.rows) out.set(String(id), { runs: Number(runsOf), last: last === null ? null : Date.parse(utc(String(last))) });
    return out;
  } catch {
    const ids = (await experiments.list("ALL", signal)).map(({ experiment_id }) => experiment_id).slice(0, 500);
    let token: string | undefined;
    for (let pages = 0; pages < 3 && ids.length > 0; pages++) {
      const page = await runs.page({ experimentIds: ids, filter: "", orderBy: [], view: "ACTIVE_ONLY" }, 1000, token, signal);
      for (const run of page.runs) {
        const entry = out.get(run.experimentId) ?? { runs: 0, last: null };
        entry.runs++;
        entry.last = Math.max(entry.last ?? 0, run.end ?? run.start ?? 0);
        out.set(run.experimentId, entry);
      }
      if (!page.next) break;
      token = page.next;
    }
    return out;
  }
}

function utc(text: string): string {
  return /[zZ]|[+-]\d\d:?\d\d$/.test(text) ? text : `${text.replace(" ", "T")}Z`;
}
