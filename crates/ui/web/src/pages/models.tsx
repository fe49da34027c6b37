import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { models } from "../api/calls";
import { exact, plural, when } from "../lib/format";
import { Link, navigate, path, setSearch, useLocation } from "../router";
import { Ask, Badge, Button, Empty, ErrorNote, Skeleton, Stage } from "../ui/kit";
import { SearchBox, TopBar } from "./shared";

export default function ModelsPage() {
  const { search } = useLocation();
  const text = search.get("q") ?? "";
  const client = useQueryClient();
  const [creating, setCreating] = useState(false);
  const list = useQuery({ queryKey: ["models"], queryFn: models.list });
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = (list.data ?? []).filter(({ name, description, tags }) =>
    words.every((word) => `${name} ${description ?? ""} ${(tags ?? []).map(({ key, value }) => `${key} ${value}`).join(" ")}`.toLowerCase().includes(word)),
  );
  return (
    <>
      <TopBar crumbs={[{ label: "Models" }]}>
        <Button kind="primary" icon="plus" onClick={() => setCreating(true)}>
          New model
        </Button>
      </TopBar>
      <div className="page">
        <div className="pad">
          <div className="pagehead">
            <div className="grow">
              <h1>Models</h1>
              <p>{list.data ? plural(shown.length, "registered model") : " "}</p>
            </div>
            <div style={{ width: 300 }}>
              <SearchBox value={text} onChange={(value) => setSearch({ q: value })} placeholder="Search models" />
            </div>
          </div>
          {list.error ? (
            <ErrorNote error={list.error} retry={() => void list.refetch()} />
          ) : !list.data ? (
            <Skeleton />
          ) : shown.length === 0 ? (
            text ? (
              <Empty title="No model fits the search" />
            ) : (
              <Empty title="Register the first model" code={`import mlflow\nmlflow.set_tracking_uri("${location.origin}")\nmlflow.register_model("runs:/<run id>/model", "my-model")`}>
                <p>A registered model keeps versions, aliases and stages under one name.</p>
              </Empty>
            )
          ) : (
            <div className="card" style={{ overflow: "auto" }}>
              <table className="plain">
                <thead>
                  <tr>
                    <th>Name</th>
                    <th>Latest</th>
                    <th>Aliases</th>
                    <th>Stages</th>
                    <th>Tags</th>
                    <th className="num">Last change</th>
                  </tr>
                </thead>
                <tbody>
                  {shown.map((model) => {
                    const latest = model.latest_versions ?? [];
                    const newest = latest.reduce((most, { version }) => Math.max(most, Number(version)), 0);
                    return (
                      <tr key={model.name}>
                        <td style={{ minWidth: 200 }}>
                          <Link href={path("models", model.name)} style={{ fontWeight: 540 }}>
                            {model.name}
                          </Link>
                          {model.description && <div className="faint">{model.description.replace(/[*_`#]/g, "").slice(0, 90)}</div>}
                        </td>
                        <td>{newest > 0 ? <Link href={path("models", model.name, newest)}>Version {newest}</Link> : <span className="faint">none</span>}</td>
                        <td>
                          <div className="row wrap" style={{ gap: 5 }}>
                            {(model.aliases ?? []).map(({ alias, version }) => (
                              <Badge key={alias} kind="violet">
                                {alias} → {version}
                              </Badge>
                            ))}
                          </div>
                        </td>
                        <td>
                          <div className="row wrap" style={{ gap: 5 }}>
                            {latest
                              .filter(({ current_stage }) => current_stage !== "None")
                              .map(({ version, current_stage }) => (
                                <span key={version} className="row" style={{ gap: 4 }}>
                                  <Stage stage={current_stage} /> <span className="faint num">{version}</span>
                                </span>
                              ))}
                          </div>
                        </td>
                        <td>
                          <div className="row wrap" style={{ gap: 5 }}>
                            {(model.tags ?? []).slice(0, 3).map(({ key, value }) => (
                              <Badge key={key}>
                                {key} {value}
                              </Badge>
                            ))}
                          </div>
                        </td>
                        <td className="num faint" title={exact(model.last_updated_timestamp)} style={{ whiteSpace: "nowrap" }}>
                          {when(model.last_updated_timestamp)}
                        </td>
                      </tr>
                    );
                  })}
                </tbody>
              </table>
            </div>
          )}
        </div>
      </div>
      {creating && (
        <Ask
          title="New registered model"
          label="Name"
          verb="Create"
          onClose={() => setCreating(false)}
          action={async (name) => {
            await models.create(name.trim(), "");
            await client.invalidateQueries({ queryKey: ["models"] });
            navigate(path("models", name.trim()));
          }}
        />
      )}
    </>
  );
}
