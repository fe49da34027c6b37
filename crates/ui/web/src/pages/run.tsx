import { useQueries, useQuery, useQueryClient } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { experiments, loggedModels, models, runs } from "../api/calls";
import type { Run } from "../api/types";
import { Lazy, MetricCard } from "../charts/MetricCard";
import { duration, exact, fixed, numeric, plural, when } from "../lib/format";
import { sections } from "../lib/series";
import { readView, writeView } from "../lib/views";
import { Link, navigate, path, setSearch, useLocation } from "../router";
import { Ask, Badge, Button, CopyButton, Empty, Item, Popover, Status, failed, toast } from "../ui/kit";
import { Artifacts } from "./artifacts";
import { Controls } from "./charts";
import { Card, Head, Pairs, PythonCard, TagsCard, TextCard, TwoColumns, Waiting } from "./parts";
import { Swatch } from "./runs";
import { TopBar, useRecent } from "./shared";

const isSystem = (key: string) => key.startsWith("system/");

export default function RunPage({ id, tab }: { id: string; tab: string }) {
  const client = useQueryClient();
  const run = useQuery({ queryKey: ["run", id], queryFn: ({ signal }) => runs.get(id, signal) });
  const experiment = useQuery({ queryKey: ["experiment", run.data?.experimentId], enabled: run.data !== undefined, queryFn: () => experiments.get(run.data!.experimentId) });
  const children = useQuery({
    queryKey: ["children", id],
    enabled: run.data !== undefined,
    queryFn: async ({ signal }) => (await runs.page({ experimentIds: [run.data!.experimentId], filter: `tags.\`mlflow.parentRunId\` = '${id}'`, orderBy: ["attributes.start_time ASC"], view: "ACTIVE_ONLY" }, 200, undefined, signal)).runs,
  });
  const versions = useQuery({ queryKey: ["versions-of", id], enabled: run.data !== undefined, queryFn: () => models.versionsOfRun(id) });
  const [dialog, setDialog] = useState<"rename" | "delete" | "note" | null>(null);
  const [, recolour] = useState(0);
  useRecent(path("runs", id), run.data?.name);

  const changed = () => client.invalidateQueries({ queryKey: ["run", id] });
  if (run.error || !run.data) {
    return (
      <>
        <TopBar crumbs={[{ label: "Experiments", href: "/" }, { label: "Run" }]} />
        <Waiting query={run} />
      </>
    );
  }
  const of = run.data;
  const keys = Object.keys(of.metrics).sort((a, b) => a.localeCompare(b));
  const own = keys.filter((key) => !isSystem(key));
  const system = keys.filter(isSystem);
  const tabs = [
    { id: "overview", label: "Overview", href: path("runs", id) },
    { id: "metrics", label: "Model metrics", href: path("runs", id, "metrics"), n: own.length },
    { id: "system", label: "System metrics", href: path("runs", id, "system"), n: system.length },
    { id: "artifacts", label: "Artifacts", href: path("runs", id, "artifacts") },
    ...((children.data?.length ?? 0) > 0 ? [{ id: "children", label: "Child runs", href: path("runs", id, "children"), n: children.data!.length }] : []),
  ];
  return (
    <>
      <TopBar crumbs={[{ label: "Experiments", href: "/" }, { label: experiment.data?.name ?? `Experiment ${of.experimentId}`, href: path("experiments", of.experimentId) }, { label: of.name }]}>
        {of.parentId && (
          <Link className="btn" href={path("runs", of.parentId)}>
            Parent run
          </Link>
        )}
        <Link className="btn" href={`/lineage?of=${encodeURIComponent(`run:${id}`)}`}>
          Lineage
        </Link>
        <Popover label="Actions" role="menu" trigger={(props) => <Button icon="more" title="Actions" {...props} />}>
          {(close) => (
            <>
              <Item icon="edit" onClick={() => (close(), setDialog("rename"))}>
                Rename…
              </Item>
              <Item icon="compare" onClick={() => navigate(`/compare?runs=${id}`)}>
                Compare with others
              </Item>
              {of.deleted ? (
                <Item icon="restore" onClick={() => (close(), runs.restore(id).then(() => (toast("The run is back."), void changed()), failed))}>
                  Restore
                </Item>
              ) : (
                <Item icon="trash" danger onClick={() => (close(), setDialog("delete"))}>
                  Delete…
                </Item>
              )}
            </>
          )}
        </Popover>
      </TopBar>
      <Head title={of.name} lead={<Swatch run={of} onChange={() => recolour((n) => n + 1)} />} label="Parts of the run" current={tab} items={tabs}>
        <Status status={of.status} />
        {of.deleted && <Badge kind="bad">Deleted</Badge>}
        <span className="faint">
          {of.user && `${of.user}, `}
          {of.start !== null && <span title={exact(of.start)}>{when(of.start)}</span>}
          {of.start !== null && of.end !== null && `, ${duration(of.end - of.start)}`}
        </span>
      </Head>
      {tab === "metrics" ? (
        <MetricTab run={of} keys={own} empty={`mlflow.log_metric("train/loss", 0.1, step=1)`} />
      ) : tab === "system" ? (
        <MetricTab run={of} keys={system} empty={`mlflow.enable_system_metrics_logging()  # before the run starts`} />
      ) : tab === "artifacts" ? (
        <div className="page fixed">
          <Artifacts root={{ kind: "run", id }} empty={`mlflow.log_artifact("model.pkl")`} />
        </div>
      ) : tab === "children" ? (
        <div className="page">
          <div className="pad">
            <Children runs={children.data ?? []} />
          </div>
        </div>
      ) : (
        <div className="page">
          <div className="pad">
            <TwoColumns
              wide={
                <>
                  <TextCard title="Notes" text={of.tags["mlflow.note.content"]} none="No notes. Markdown is welcome." onEdit={() => setDialog("note")} />
                  <Pairs title="Metrics" values={of.metrics} href={path("runs", id, "metrics")} />
                  <Pairs title="Params" values={of.params} />
                </>
              }
              narrow={
                <>
                  <Card title="About">
                    <About run={of} />
                  </Card>
                  <TagsCard tags={of.tags} set={(key, value) => runs.setTag(id, key, value)} remove={(key) => runs.deleteTag(id, key)} changed={changed} />
                  {of.datasets.length > 0 && <Datasets run={of} />}
                  {(of.outputModels.length > 0 || of.inputModels.length > 0 || (versions.data?.length ?? 0) > 0) && <ModelsOfRun run={of} versions={versions.data ?? []} />}
                  {(children.data?.length ?? 0) > 0 && (
                    <Card title="Child runs">
                      <div className="stack" style={{ gap: 6 }}>
                        {children.data!.slice(0, 8).map((child) => (
                          <div className="row" key={child.id}>
                            <Swatch run={child} onChange={() => recolour((n) => n + 1)} />
                            <Link href={path("runs", child.id)} className="cut grow">
                              {child.name}
                            </Link>
                            <Status status={child.status} />
                          </div>
                        ))}
                        {children.data!.length > 8 && <Link href={path("runs", id, "children")}>All {children.data!.length}</Link>}
                      </div>
                    </Card>
                  )}
                  <PythonCard code={`run = mlflow.get_run("${id}")`} />
                </>
              }
            />
          </div>
        </div>
      )}
      {dialog === "rename" && <Ask title="Rename run" label="Name" initial={of.name} verb="Rename" onClose={() => setDialog(null)} action={async (name) => (await runs.rename(id, name.trim()), await changed())} />}
      {dialog === "note" && (
        <Ask title="Notes" label="Markdown" multiline optional initial={of.tags["mlflow.note.content"] ?? ""} verb="Save" onClose={() => setDialog(null)} action={async (text) => (await runs.setTag(id, "mlflow.note.content", text), await changed())} />
      )}
      {dialog === "delete" && (
        <Ask title={`Delete ${of.name}?`} text="It can be restored from the list of deleted runs of its experiment." verb="Delete" danger onClose={() => setDialog(null)} action={async () => (await runs.delete(id), await changed())} />
      )}
    </>
  );
}

function About({ run }: { run: Run }) {
  const { tags } = run;
  const source = tags["mlflow.source.name"];
  return (
    <dl className="facts">
      <dt>Run id</dt>
      <dd className="row">
        <span className="mono cut">{run.id}</span>
        <CopyButton text={run.id} what="run id" />
      </dd>
      <dt>Started</dt>
      <dd>{run.start !== null ? exact(run.start) : "not yet"}</dd>
      <dt>Ended</dt>
      <dd>{run.end !== null ? exact(run.end) : "not yet"}</dd>
      <dt>User</dt>
      <dd>{run.user || "unknown"}</dd>
      {source && (
        <>
          <dt>Source</dt>
          <dd className="mono">{source}</dd>
        </>
      )}
      {tags["mlflow.source.git.commit"] && (
        <>
          <dt>Commit</dt>
          <dd className="mono">{tags["mlflow.source.git.commit"].slice(0, 10)}</dd>
        </>
      )}
      <dt>Artifacts</dt>
      <dd className="mono">{run.artifactUri}</dd>
    </dl>
  );
}

function MetricTab({ run, keys, empty }: { run: Run; keys: string[]; empty: string }) {
  const { search } = useLocation();
  const view = useMemo(() => readView(search), [search]);
  const only = useMemo(() => [run], [run]);
  const wanted = keys.filter((key) => key.toLowerCase().includes(view.metrics.toLowerCase()));
  const settings = useMemo(() => ({ x: view.x, smoothing: view.smoothing, logX: view.logX, logY: view.logY, clip: view.clip, bands: false, spread: view.spread, groupBy: [] }), [view]);
  if (keys.length === 0) return <Empty title="None were logged" code={empty} />;
  return (
    <div className="page fixed">
      <Controls view={view} patch={(change) => setSearch(writeView(change))} metrics={Object.keys(run.metrics)} />
      <div className="charts" tabIndex={0} role="region" aria-label="Charts">
        {sections(wanted).map(({ name, keys: list }) => (
          <section key={name} aria-label={name}>
            <h2>
              {name} <span className="badge">{list.length}</span>
            </h2>
            <div className="cards">
              {list.map((key) => (
                <Lazy key={key} height={272}>
                  <MetricCard metric={key} title={name === "metrics" ? key : key.slice(name.length + 1)} runs={only} settings={settings} sync={`run-${view.x}`} />
                </Lazy>
              ))}
            </div>
          </section>
        ))}
      </div>
    </div>
  );
}

function Datasets({ run }: { run: Run }) {
  return (
    <Card title="Datasets">
      <div className="stack">
        {run.datasets.map(({ dataset, tags }) => {
          const context = tags?.find(({ key }) => key === "mlflow.data.context")?.value;
          const profile = parsed(dataset.profile);
          const columns = columnsOf(dataset.schema);
          return (
            <div key={dataset.digest + context} className="stack" style={{ gap: 4 }}>
              <div className="row">
                <b className="cut">{dataset.name}</b>
                <Badge>{dataset.digest}</Badge>
                {context && <Badge kind="accent">{context}</Badge>}
                <span className="grow" />
                <Link href={`/lineage?of=${encodeURIComponent(`dataset:${dataset.digest}`)}`}>Who used it</Link>
              </div>
              <div className="faint">
                {Object.entries(profile ?? {}).map(([key, value]) => `${key} ${String(value)}`).join(", ")}
                {columns.length > 0 && `${profile ? "; " : ""}${plural(columns.length, "column")}: ${columns.slice(0, 8).join(", ")}`}
              </div>
            </div>
          );
        })}
      </div>
    </Card>
  );
}

function parsed(text: string | undefined): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text ?? "null");
    return typeof value === "object" ? (value as Record<string, unknown> | null) : null;
  } catch {
    return null;
  }
}

function columnsOf(schema: string | undefined): string[] {
  const list = parsed(schema)?.["mlflow_colspec"];
  return Array.isArray(list) ? list.map((entry: { name?: string; type?: string }) => `${entry.name ?? "?"} ${entry.type ?? ""}`.trim()) : [];
}

function ModelsOfRun({ run, versions }: { run: Run; versions: { name: string; version: string; current_stage: string }[] }) {
  const logged = useQueries({ queries: run.outputModels.map(({ model_id }) => ({ queryKey: ["logged-model", model_id], queryFn: () => loggedModels.get(model_id) })) });
  return (
    <Card title="Models">
      <div className="stack" style={{ gap: 8 }}>
        {run.outputModels.map(({ model_id, step }, i) => (
          <div className="row" key={model_id}>
            <Link href={path("logged-models", model_id)} className="cut">
              {logged[i]?.data?.info.name ?? model_id}
            </Link>
            <span className="faint">logged{step !== undefined && step !== 0 ? ` at step ${step}` : ""}</span>
          </div>
        ))}
        {run.inputModels.map((id) => (
          <div className="row" key={id}>
            <Link href={path("logged-models", id)} className="cut">
              {id}
            </Link>
            <span className="faint">used by this run</span>
          </div>
        ))}
        {versions.map(({ name, version }) => (
          <div className="row" key={`${name}${version}`}>
            <Link href={path("models", name, version)} className="cut">
              {name} version {version}
            </Link>
            <span className="faint">registered</span>
          </div>
        ))}
      </div>
    </Card>
  );
}

function Children({ runs: list }: { runs: Run[] }) {
  const metrics = [...new Set(list.flatMap((run) => Object.keys(run.metrics)))].filter((key) => !isSystem(key)).sort().slice(0, 4);
  const params = [...new Set(list.flatMap((run) => Object.keys(run.params)))].filter((key) => new Set(list.map((run) => run.params[key])).size > 1).sort().slice(0, 4);
  const best = new Map(metrics.map((key) => [key, Math.max(...list.map((run) => run.metrics[key] ?? -Infinity))]));
  return (
    <div className="stack">
      <div className="row">
        <span className="grow soft">{plural(list.length, "child run")}</span>
        <Link className="btn" href={`/compare?runs=${list.slice(0, 50).map((run) => run.id).join(",")}`}>
          Compare them
        </Link>
      </div>
      <div className="card" style={{ overflow: "auto" }}>
        <table className="plain">
          <thead>
            <tr>
              <th>Run</th>
              <th>Status</th>
              <th>Duration</th>
              {params.map((key) => (
                <th key={key}>{key}</th>
              ))}
              {metrics.map((key) => (
                <th key={key} className="num">
                  {key}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {list.map((run) => (
              <tr key={run.id}>
                <td>
                  <Link href={path("runs", run.id)}>{run.name}</Link>
                </td>
                <td>
                  <Status status={run.status} />
                </td>
                <td className="num">{run.start !== null && run.end !== null ? duration(run.end - run.start) : ""}</td>
                {params.map((key) => (
                  <td key={key} className={numeric(run.params[key]) !== null ? "num" : ""}>
                    {run.params[key]}
                  </td>
                ))}
                {metrics.map((key) => (
                  <td key={key} className="num" style={run.metrics[key] === best.get(key) ? { fontWeight: 620 } : undefined}>
                    {run.metrics[key] !== undefined ? fixed(run.metrics[key]) : ""}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}
