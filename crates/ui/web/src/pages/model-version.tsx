// Versions of a registered model: their list, the page of one, and changes of stage and alias.

import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { models, registry, runs } from "../api/calls";
import type { ChangeRequest, ModelVersion, Policy, RegisteredModel } from "../api/types";
import { exact, plural, when } from "../lib/format";
import { STAGES, aliasesOf, guarded } from "../lib/registry";
import { Link, navigate, path, useLocation } from "../router";
import { Icon } from "../ui/icons";
import { Ask, Badge, Button, CopyButton, Dialog, ErrorNote, Item, Popover, Stage, toast } from "../ui/kit";
import { LineageView } from "./lineage";
import { SchemaCard } from "./logged-model";
import { Request } from "./model-approvals";
import { Card, Head, Pairs, PythonCard, TagsCard, TextCard, TwoColumns } from "./parts";
import { record } from "./shared";

export function Versions({ model, versions, policy, changed }: { model: RegisteredModel; versions: ModelVersion[]; policy: Policy | null; changed: () => Promise<void> }) {
  return (
    <div className="card" style={{ overflow: "auto" }}>
      <table className="plain">
        <thead>
          <tr>
            <th>Version</th>
            <th>Aliases</th>
            <th>Stage</th>
            <th>Tags</th>
            <th className="num">Registered</th>
            <th>
              <span className="sr">Actions</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {versions.map((version) => (
            <tr key={version.version}>
              <td style={{ minWidth: 150 }}>
                <Link href={path("models", model.name, version.version)} style={{ fontWeight: 540 }}>
                  Version {version.version}
                </Link>
                {version.status !== "READY" && <Badge kind="warn">{version.status}</Badge>}
                {version.description && <div className="faint">{version.description.slice(0, 80)}</div>}
              </td>
              <td>
                <div className="row wrap" style={{ gap: 5 }}>
                  {aliasesOf(model, version).map((alias) => (
                    <Badge key={alias} kind="violet">
                      {alias}
                    </Badge>
                  ))}
                </div>
              </td>
              <td>
                <Stage stage={version.current_stage} />
              </td>
              <td>
                <div className="row wrap" style={{ gap: 5 }}>
                  {(version.tags ?? []).slice(0, 3).map(({ key, value }) => (
                    <Badge key={key}>
                      {key} {value}
                    </Badge>
                  ))}
                </div>
              </td>
              <td className="num faint" title={exact(version.creation_timestamp)} style={{ whiteSpace: "nowrap" }}>
                {when(version.creation_timestamp)}
              </td>
              <td>
                <Change model={model} version={version} policy={policy} changed={changed} small />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

type Wish = { stage: string } | { alias: string } | { delete_alias: string };

/** Stages and aliases of a version: changed at once, or asked for where a policy wants approval. */
function Change({ model, version, policy, changed, small }: { model: RegisteredModel; version: ModelVersion; policy: Policy | null; changed: () => Promise<void>; small?: boolean }) {
  const [wish, setWish] = useState<Wish | null>(null);
  const [naming, setNaming] = useState(false);
  const own = aliasesOf(model, version);
  const others = (model.aliases ?? []).map(({ alias }) => alias).filter((alias) => !own.includes(alias));
  return (
    <>
      <Popover
        label={`Change version ${version.version}`}
        role="menu"
        trigger={(props) => (small ? <Button kind="quiet" small icon="more" title={`Change version ${version.version}`} {...props} /> : <Button kind="primary" {...props}>Promote</Button>)}
      >
        {(close) => {
          const pick = (next: Wish) => () => {
            close();
            setWish(next);
          };
          return (
            <>
              <h3>Stage</h3>
              {STAGES.map((stage) => (
                <Item key={stage} checked={stage === version.current_stage} disabled={stage === version.current_stage} onClick={pick({ stage })}>
                  {stage}
                </Item>
              ))}
              <hr />
              <h3>Aliases</h3>
              {own.map((alias) => (
                <Item key={alias} icon="close" onClick={pick({ delete_alias: alias })}>
                  Take away {alias}
                </Item>
              ))}
              {others.map((alias) => (
                <Item key={alias} icon="tag" onClick={pick({ alias })}>
                  Move {alias} here
                </Item>
              ))}
              <Item icon="plus" onClick={() => (close(), setNaming(true))}>
                New alias…
              </Item>
            </>
          );
        }}
      </Popover>
      {naming && (
        <Ask
          title={`New alias for version ${version.version}`}
          label="Alias"
          verb="Next"
          onClose={() => setNaming(false)}
          action={async (alias) => setWish({ alias: alias.trim() })}
        />
      )}
      {wish && <ChangeDialog model={model} version={version} wish={wish} policy={policy} changed={changed} onClose={() => setWish(null)} />}
    </>
  );
}

function ChangeDialog({ model, version, wish, policy, changed, onClose }: { model: RegisteredModel; version: ModelVersion; wish: Wish; policy: Policy | null; changed: () => Promise<void>; onClose: () => void }) {
  const [archive, setArchive] = useState(false);
  const [comment, setComment] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const needed = guarded(policy, "stage" in wish ? { stage: wish.stage } : { alias: "alias" in wish ? wish.alias : wish.delete_alias });
  const what = "stage" in wish ? `Move version ${version.version} to ${wish.stage}` : "alias" in wish ? `Give ${wish.alias} to version ${version.version}` : `Take ${wish.delete_alias} from version ${version.version}`;
  const canArchive = "stage" in wish && (wish.stage === "Production" || wish.stage === "Staging");
  const run = async () => {
    setBusy(true);
    setError(null);
    try {
      if (needed) {
        await registry.ask(model.name, version.version, { ...wish, ...(canArchive ? { archive_existing_versions: archive } : {}) }, comment);
        toast("The request was made. Others can approve it now.");
      } else if ("stage" in wish) await models.transition(model.name, version.version, wish.stage, canArchive && archive);
      else if ("alias" in wish) await models.setAlias(model.name, wish.alias, version.version);
      else await models.deleteAlias(model.name, wish.delete_alias);
      await changed();
      onClose();
    } catch (failure) {
      setError(failure);
      setBusy(false);
    }
  };
  return (
    <Dialog
      title={what}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" disabled={busy} onClick={run}>
            {needed ? "Ask for approval" : "Do it"}
          </Button>
        </>
      }
    >
      <div className="body">
        {needed && (
          <div className="note warn">
            <Icon name="info" />
            <p>
              The policy of this model wants {plural(policy!.required_approvals, "approval")}
              {policy!.approvers.length > 0 ? ` from ${policy!.approvers.join(", ")}` : ""}. The change is made as soon as the last one is given.
            </p>
          </div>
        )}
        {canArchive && (
          <label className="check">
            <input type="checkbox" checked={archive} onChange={(event) => setArchive(event.target.checked)} />
            Archive the versions that are in {wish.stage} now
          </label>
        )}
        {needed && (
          <label className="field">
            Comment
            <textarea className="input" rows={3} value={comment} onChange={(event) => setComment(event.target.value)} placeholder="Why now? What was checked?" />
          </label>
        )}
        {!needed && !canArchive && <p className="soft">The history of the model keeps who did it and when.</p>}
        {error !== null && <ErrorNote error={error} />}
      </div>
    </Dialog>
  );
}

export function VersionPage({ model, version, policy, requests, changed }: { model: RegisteredModel; version: ModelVersion; policy: Policy | null; requests: ChangeRequest[]; changed: () => Promise<void> }) {
  const [dialog, setDialog] = useState<"describe" | "delete" | null>(null);
  const { search } = useLocation();
  const tab = search.get("tab") ?? "overview";
  const here = path("models", model.name, version.version);
  const run = useQuery({ queryKey: ["run", version.run_id], enabled: Boolean(version.run_id), queryFn: () => runs.get(version.run_id!), retry: false });
  const pending = requests.filter((request) => request.version === version.version && request.status === "pending");
  return (
    <>
      <Head
        title={`${model.name} version ${version.version}`}
        label="Parts of the version"
        current={tab}
        items={[
          { id: "overview", label: "Overview", href: here },
          { id: "lineage", label: "Lineage", href: `${here}?tab=lineage` },
        ]}
      >
        <Stage stage={version.current_stage} />
        {aliasesOf(model, version).map((alias) => (
          <Badge key={alias} kind="violet">
            {alias}
          </Badge>
        ))}
        <span className="grow" />
        <Change model={model} version={version} policy={policy} changed={changed} />
        <Button kind="danger" icon="trash" title="Delete this version" onClick={() => setDialog("delete")} />
      </Head>
      <div className="page">
        {tab === "lineage" ? (
          <div className="pad" style={{ maxWidth: "none" }}>
            <LineageView of={`models:/${model.name}/${version.version}`} onFocus={(id) => navigate(`/lineage?of=${encodeURIComponent(id)}`)} />
          </div>
        ) : (
          <div className="pad">
            <TwoColumns
              wide={
                <>
                  {pending.length > 0 && (
                    <Card title="Waiting for approval" bare>
                      {pending.map((request) => (
                        <Request key={request.request_id} request={request} policy={policy} changed={changed} />
                      ))}
                    </Card>
                  )}
                  <TextCard title="Description" text={version.description} none="None. Markdown is welcome." onEdit={() => setDialog("describe")} />
                  {version.model_id ? (
                    <SchemaCard root={{ kind: "logged_model", id: version.model_id }} file="MLmodel" />
                  ) : version.run_id ? (
                    <SchemaCard root={{ kind: "run", id: version.run_id }} file={`${(version.source ?? "").split("/artifacts/")[1] ?? "model"}/MLmodel`} />
                  ) : null}
                  {run.data && <Pairs title="Metrics of its run" values={Object.fromEntries(Object.entries(run.data.metrics).filter(([key]) => !key.startsWith("system/")))} href={path("runs", run.data.id, "metrics")} />}
                </>
              }
              narrow={
                <>
                  <Card title="About">
                    <dl className="facts">
                      <dt>Registered</dt>
                      <dd>{exact(version.creation_timestamp)}</dd>
                      <dt>Changed</dt>
                      <dd>{exact(version.last_updated_timestamp)}</dd>
                      {version.user_id && (
                        <>
                          <dt>By</dt>
                          <dd>{version.user_id}</dd>
                        </>
                      )}
                      <dt>Source</dt>
                      <dd className="row">
                        <span className="mono cut" title={version.source}>
                          {version.source}
                        </span>
                        <CopyButton text={version.source ?? ""} what="source" />
                      </dd>
                      {version.run_id && (
                        <>
                          <dt>Run</dt>
                          <dd>
                            <Link href={path("runs", version.run_id)}>{run.data?.name ?? version.run_id}</Link>
                          </dd>
                        </>
                      )}
                      {version.model_id && (
                        <>
                          <dt>Logged model</dt>
                          <dd>
                            <Link href={path("logged-models", version.model_id)}>{version.model_id}</Link>
                          </dd>
                        </>
                      )}
                    </dl>
                  </Card>
                  <TagsCard
                    tags={record(version.tags)}
                    set={(key, value) => models.setVersionTag(model.name, version.version, key, value)}
                    remove={(key) => models.deleteVersionTag(model.name, version.version, key)}
                    changed={changed}
                  />
                  <PythonCard code={`model = mlflow.pyfunc.load_model("models:/${model.name}/${version.version}")`} />
                </>
              }
            />
          </div>
        )}
      </div>
      {dialog === "describe" && (
        <Ask title="Description" label="Markdown" multiline optional initial={version.description ?? ""} verb="Save" onClose={() => setDialog(null)} action={async (text) => (await models.updateVersion(model.name, version.version, text), await changed())} />
      )}
      {dialog === "delete" && (
        <Ask
          title={`Delete version ${version.version}?`}
          text="Its aliases go with it, for good. The files it was registered from stay."
          verb="Delete"
          danger
          onClose={() => setDialog(null)}
          action={async () => (await models.deleteVersion(model.name, version.version), await changed(), navigate(path("models", model.name)))}
        />
      )}
    </>
  );
}
