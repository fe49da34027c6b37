// Versions of a model side by side, with the params and metrics of their runs.

import { useQueries } from "@tanstack/react-query";
import { useState } from "react";
import { loggedModels, runs } from "../api/calls";
import type { ModelVersion, RegisteredModel } from "../api/types";
import { exact, fixed } from "../lib/format";
import { aliasesOf } from "../lib/registry";
import { Link, path, setSearch, useLocation } from "../router";
import { Empty } from "../ui/kit";
import { type DiffPart, DiffTable } from "./parts";
import { record } from "./shared";

export function CompareVersions({ model, versions }: { model: RegisteredModel; versions: ModelVersion[] }) {
  const { search } = useLocation();
  const newest = versions.slice(0, 2).map(({ version }) => version);
  const chosen = (search.get("of")?.split(",") ?? newest).filter((version) => versions.some((one) => one.version === version));
  const of = chosen.map((version) => versions.find((one) => one.version === version)!);
  const runsOf = useQueries({ queries: of.map(({ run_id }) => ({ queryKey: ["run", run_id], enabled: Boolean(run_id), queryFn: () => runs.get(run_id!), retry: false })) });
  const logged = useQueries({ queries: of.map(({ model_id }) => ({ queryKey: ["logged-model", model_id], enabled: Boolean(model_id), queryFn: () => loggedModels.get(model_id!), retry: false })) });
  const [only, setOnly] = useState(true);
  const parts: DiffPart[] = [];
  const add = (part: string, key: string, values: (string | undefined)[]) => {
    const told = values.map((value) => value || null);
    const differs = told.some((value) => value !== told[0]);
    if (only && !differs) return;
    if (parts.at(-1)?.name !== part) parts.push({ name: part, rows: [] });
    parts.at(-1)!.rows.push({ key, values: told, differs });
  };
  add("Version", "stage", of.map(({ current_stage }) => current_stage));
  add("Version", "aliases", of.map((version) => aliasesOf(model, version).join(", ")));
  add("Version", "description", of.map(({ description }) => description));
  add("Version", "registered", of.map(({ creation_timestamp }) => exact(creation_timestamp)));
  add("Version", "run", runsOf.map(({ data }) => data?.name));
  add("Version", "model type", logged.map(({ data }) => data?.info.model_type));
  const keys = (get: (i: number) => Record<string, unknown>) => [...new Set(of.flatMap((_, i) => Object.keys(get(i))))].sort();
  const tags = (i: number) => record(of[i]!.tags);
  for (const key of keys(tags)) add("Tags", key, of.map((_, i) => tags(i)[key]));
  const params = (i: number) => runsOf[i]?.data?.params ?? {};
  for (const key of keys(params)) add("Params of the run", key, of.map((_, i) => params(i)[key]));
  const metrics = (i: number) => Object.fromEntries(Object.entries(runsOf[i]?.data?.metrics ?? {}).filter(([key]) => !key.startsWith("system/")));
  for (const key of keys(metrics)) add("Metrics of the run", key, of.map((_, i) => (metrics(i)[key] === undefined ? undefined : fixed(metrics(i)[key]!))));
  if (versions.length < 2) return <Empty title="There is nothing to compare yet"><p>Comparing needs two versions.</p></Empty>;
  return (
    <div className="stack">
      <div className="row wrap">
        {versions.slice(0, 30).map(({ version }) => (
          <label className="check" key={version}>
            <input
              type="checkbox"
              checked={chosen.includes(version)}
              onChange={() => setSearch({ of: (chosen.includes(version) ? chosen.filter((one) => one !== version) : [...chosen, version]).join(",") || newest.join(",") })}
            />
            Version {version}
          </label>
        ))}
        <span className="grow" />
        <label className="check">
          <input type="checkbox" checked={only} onChange={(event) => setOnly(event.target.checked)} /> Only what differs
        </label>
      </div>
      <div className="card compare">
        <DiffTable parts={parts} heads={of.map(({ version }) => ({ id: version, head: <Link href={path("models", model.name, version)}>Version {version}</Link> }))} />
      </div>
    </div>
  );
}
