import { useQueries, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { loggedModels, models, registry, runs } from "../api/calls";
import type { ChangeRequest, ModelVersion, Policy, RegisteredModel } from "../api/types";
import { exact, fixed, plural, when } from "../lib/format";
import { asked, guarded, told } from "../lib/registry";
import { Link, navigate, path, setSearch, useLocation } from "../router";
import { useSession } from "../state/session";
import { Icon, type IconName } from "../ui/icons";
import { Ask, Badge, Button, CopyButton, Dialog, Empty, ErrorNote, Item, Popover, Skeleton, Snippet, Stage, Tabs, failed, toast } from "../ui/kit";
import { Markdown } from "../ui/markdown";
import { LineageView } from "./lineage";
import { SchemaCard } from "./logged-model";
import { Tags, TopBar, record, useRecent } from "./shared";

const STAGES = ["None", "Staging", "Production", "Archived"];

export default function ModelPage({ name, part }: { name: string; part: string }) {
  const model = useQuery({ queryKey: ["model", name], queryFn: () => models.get(name) });
  const versions = useQuery({ queryKey: ["versions", name], queryFn: () => models.versions(name), enabled: model.data !== undefined });
  const policy = useQuery({ queryKey: ["policy", name], queryFn: () => registry.policy(name), enabled: model.data !== undefined, retry: false });
  const requests = useQuery({ queryKey: ["requests", name], queryFn: () => registry.requests(name), enabled: model.data !== undefined, retry: false });
  const client = useQueryClient();
  const changed = async () => {
    await Promise.all(["model", "versions", "policy", "requests", "history", "lineage"].map((key) => client.invalidateQueries({ queryKey: [key, name] })));
    void client.invalidateQueries({ queryKey: ["models"] });
    void client.invalidateQueries({ queryKey: ["lineage"] });
  };
  useRecent(path("models", name), model.data?.name);
  const [dialog, setDialog] = useState<"rename" | "delete" | "describe" | null>(null);

  const isVersion = /^\d+$/.test(part);
  const crumbs = [{ label: "Models", href: "/models" }, ...(isVersion ? [{ label: name, href: path("models", name) }, { label: `Version ${part}` }] : [{ label: name }])];
  if (model.error || !model.data) {
    return (
      <>
        <TopBar crumbs={crumbs} />
        {model.error ? (
          <div className="pad">
            <ErrorNote error={model.error} retry={() => void model.refetch()} />
          </div>
        ) : (
          <Skeleton />
        )}
      </>
    );
  }
  const of = model.data;
  if (isVersion) {
    const version = versions.data?.find((one) => one.version === part);
    return (
      <>
        <TopBar crumbs={crumbs} />
        {versions.error ? (
          <div className="pad">
            <ErrorNote error={versions.error} />
          </div>
        ) : !versions.data ? (
          <Skeleton />
        ) : version ? (
          <VersionPage model={of} version={version} policy={policy.data ?? null} requests={requests.data ?? []} changed={changed} />
        ) : (
          <Empty title={`There is no version ${part}`}>
            <Link href={path("models", name)}>All versions of {name}</Link>
          </Empty>
        )}
      </>
    );
  }
  const open = (requests.data ?? []).filter(({ status }) => status === "pending").length;
  const aliases = of.aliases ?? [];
  const focus = aliases[0] ? `models:/${name}@${aliases[0].alias}` : `models:/${name}`;
  return (
    <>
      <TopBar crumbs={crumbs}>
        <Popover label="Actions" role="menu" trigger={(props) => <Button icon="more" title="Actions" {...props} />}>
          {(close) => (
            <>
              <Item icon="edit" onClick={() => (close(), setDialog("describe"))}>
                Describe…
              </Item>
              <Item icon="edit" onClick={() => (close(), setDialog("rename"))}>
                Rename…
              </Item>
              <Item icon="trash" danger onClick={() => (close(), setDialog("delete"))}>
                Delete…
              </Item>
            </>
          )}
        </Popover>
      </TopBar>
      <div className="runhead">
        <h1 className="cut">{of.name}</h1>
        {policy.data && <Badge kind="warn">Needs approval</Badge>}
        <span className="faint" title={exact(of.last_updated_timestamp)}>
          changed {when(of.last_updated_timestamp)}
        </span>
      </div>
      <Tabs
        label="Parts of the model"
        current={part}
        items={[
          { id: "versions", label: "Versions", href: path("models", name), n: versions.data?.length },
          { id: "compare", label: "Compare", href: path("models", name, "compare") },
          { id: "approvals", label: "Approvals", href: path("models", name, "approvals"), n: open || undefined },
          { id: "history", label: "History", href: path("models", name, "history") },
          { id: "lineage", label: "Lineage", href: path("models", name, "lineage") },
        ]}
      />
      <div className="page">
        <div className="pad" style={part === "lineage" ? { maxWidth: "none" } : undefined}>
          {part === "approvals" ? (
            <Approvals name={name} policy={policy.data ?? null} error={requests.error ?? policy.error} requests={requests.data ?? []} changed={changed} />
          ) : part === "history" ? (
            <History name={name} />
          ) : part === "lineage" ? (
            <LineageView of={focus} onFocus={(id) => navigate(`/lineage?of=${encodeURIComponent(id)}`)} />
          ) : part === "compare" ? (
            <CompareVersions model={of} versions={versions.data ?? []} />
          ) : (
            <div className="two">
              <div className="stack" style={{ gap: 16 }}>
                {versions.data?.length === 0 ? (
                  <Empty title="No versions yet" code={`import mlflow\nmlflow.set_tracking_uri("${location.origin}")\nmlflow.register_model("runs:/<run id>/model", ${JSON.stringify(name)})`} />
                ) : (
                  <Versions model={of} versions={versions.data ?? []} policy={policy.data ?? null} changed={changed} />
                )}
              </div>
              <div className="stack" style={{ gap: 16 }}>
                <section className="card">
                  <header>
                    <h2 className="grow">Description</h2>
                    <Button small kind="quiet" icon="edit" onClick={() => setDialog("describe")}>
                      Edit
                    </Button>
                  </header>
                  <div className="body">{of.description ? <Markdown text={of.description} /> : <span className="faint">None. Markdown is welcome.</span>}</div>
                </section>
                <section className="card">
                  <header>
                    <h2>Tags</h2>
                  </header>
                  <div className="body">
                    <Tags tags={record(of.tags)} onSet={async (key, value) => (await models.setTag(name, key, value), await changed())} onDelete={async (key) => (await models.deleteTag(name, key), await changed())} />
                  </div>
                </section>
                {aliases[0] && (
                  <section className="card">
                    <header>
                      <h2>Use it in Python</h2>
                    </header>
                    <div className="body">
                      <Snippet code={`import mlflow\nmlflow.set_tracking_uri("${location.origin}")\nmodel = mlflow.pyfunc.load_model("models:/${name}@${aliases[0].alias}")`} />
                    </div>
                  </section>
                )}
              </div>
            </div>
          )}
        </div>
      </div>
      {dialog === "describe" && <Ask title="Description" label="Markdown" multiline optional initial={of.description ?? ""} verb="Save" onClose={() => setDialog(null)} action={async (text) => (await models.update(name, text), await changed())} />}
      {dialog === "rename" && (
        <Ask title="Rename model" label="Name" initial={name} verb="Rename" onClose={() => setDialog(null)} action={async (next) => (await models.rename(name, next.trim()), await changed(), navigate(path("models", next.trim())))} />
      )}
      {dialog === "delete" && (
        <Ask
          title={`Delete ${name}?`}
          text="All its versions, aliases and tags go with it, for good. Its history stays."
          verb="Delete"
          danger
          onClose={() => setDialog(null)}
          action={async () => {
            await models.delete(name);
            void client.invalidateQueries({ queryKey: ["models"] });
            navigate("/models");
          }}
        />
      )}
    </>
  );
}

function Versions({ model, versions, policy, changed }: { model: RegisteredModel; versions: ModelVersion[]; policy: Policy | null; changed: () => Promise<void> }) {
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

function aliasesOf(model: RegisteredModel, version: ModelVersion): string[] {
  return (model.aliases ?? []).filter((one) => one.version === version.version).map(({ alias }) => alias);
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

function VersionPage({ model, version, policy, requests, changed }: { model: RegisteredModel; version: ModelVersion; policy: Policy | null; requests: ChangeRequest[]; changed: () => Promise<void> }) {
  const [dialog, setDialog] = useState<"describe" | "delete" | null>(null);
  const { search } = useLocation();
  const tab = search.get("tab") ?? "overview";
  const here = path("models", model.name, version.version);
  const run = useQuery({ queryKey: ["run", version.run_id], enabled: Boolean(version.run_id), queryFn: () => runs.get(version.run_id!), retry: false });
  const pending = requests.filter((request) => request.version === version.version && request.status === "pending");
  return (
    <>
      <div className="runhead">
        <h1 className="cut">
          {model.name} version {version.version}
        </h1>
        <Stage stage={version.current_stage} />
        {aliasesOf(model, version).map((alias) => (
          <Badge key={alias} kind="violet">
            {alias}
          </Badge>
        ))}
        <span className="grow" />
        <Change model={model} version={version} policy={policy} changed={changed} />
        <Button kind="danger" icon="trash" title="Delete this version" onClick={() => setDialog("delete")} />
      </div>
      <Tabs
        label="Parts of the version"
        current={tab}
        items={[
          { id: "overview", label: "Overview", href: here },
          { id: "lineage", label: "Lineage", href: `${here}?tab=lineage` },
        ]}
      />
      <div className="page">
        {tab === "lineage" ? (
          <div className="pad" style={{ maxWidth: "none" }}>
            <LineageView of={`models:/${model.name}/${version.version}`} onFocus={(id) => navigate(`/lineage?of=${encodeURIComponent(id)}`)} />
          </div>
        ) : (
          <div className="pad">
            <div className="two">
              <div className="stack" style={{ gap: 16 }}>
                {pending.length > 0 && (
                  <section className="card">
                    <header>
                      <h2>Waiting for approval</h2>
                    </header>
                    {pending.map((request) => (
                      <Request key={request.request_id} request={request} policy={policy} changed={changed} />
                    ))}
                  </section>
                )}
                <section className="card">
                  <header>
                    <h2 className="grow">Description</h2>
                    <Button small kind="quiet" icon="edit" onClick={() => setDialog("describe")}>
                      Edit
                    </Button>
                  </header>
                  <div className="body">{version.description ? <Markdown text={version.description} /> : <span className="faint">None. Markdown is welcome.</span>}</div>
                </section>
                {version.model_id ? (
                  <SchemaCard root={{ kind: "logged_model", id: version.model_id }} file="MLmodel" />
                ) : version.run_id ? (
                  <SchemaCard root={{ kind: "run", id: version.run_id }} file={`${(version.source ?? "").split("/artifacts/")[1] ?? "model"}/MLmodel`} />
                ) : null}
                {run.data && (
                  <section className="card">
                    <header>
                      <h2 className="grow">Metrics of its run</h2>
                      <Link className="btn small" href={path("runs", run.data.id)}>
                        {run.data.name}
                      </Link>
                    </header>
                    <table className="kv">
                      <tbody>
                        {Object.entries(run.data.metrics).filter(([key]) => !key.startsWith("system/")).sort().map(([key, value]) => (
                          <tr key={key}>
                            <th scope="row">{key}</th>
                            <td>{fixed(value)}</td>
                          </tr>
                        ))}
                      </tbody>
                    </table>
                  </section>
                )}
              </div>
              <div className="stack" style={{ gap: 16 }}>
                <section className="card">
                  <header>
                    <h2>About</h2>
                  </header>
                  <div className="body stack">
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
                  </div>
                </section>
                <section className="card">
                  <header>
                    <h2>Tags</h2>
                  </header>
                  <div className="body">
                    <Tags
                      tags={record(version.tags)}
                      onSet={async (key, value) => (await models.setVersionTag(model.name, version.version, key, value), await changed())}
                      onDelete={async (key) => (await models.deleteVersionTag(model.name, version.version, key), await changed())}
                    />
                  </div>
                </section>
                <section className="card">
                  <header>
                    <h2>Use it in Python</h2>
                  </header>
                  <div className="body">
                    <Snippet code={`import mlflow\nmlflow.set_tracking_uri("${location.origin}")\nmodel = mlflow.pyfunc.load_model("models:/${model.name}/${version.version}")`} />
                  </div>
                </section>
              </div>
            </div>
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

const REQUEST: Record<ChangeRequest["status"], { kind: "good" | "bad" | "warn" | undefined; text: string }> = {
  pending: { kind: "warn", text: "Waiting" },
  approved: { kind: "good", text: "Approved" },
  rejected: { kind: "bad", text: "Rejected" },
  withdrawn: { kind: undefined, text: "Withdrawn" },
};

function Request({ request, policy, changed }: { request: ChangeRequest; policy: Policy | null; changed: () => Promise<void> }) {
  const session = useSession();
  const [verb, setVerb] = useState<"approve" | "reject" | "withdraw" | null>(null);
  const me = session.state === "in" ? session.who.user_name : undefined;
  const mine = me !== undefined && me === request.requested_by;
  const voted = request.votes.some(({ user }) => user === me);
  const approvals = request.votes.filter(({ approved }) => approved).length;
  const { kind, text } = REQUEST[request.status];
  return (
    <div className="request">
      <div className="row wrap">
        <Badge kind={kind}>{text}</Badge>
        <span className="grow">
          <b>{request.requested_by || "Somebody"}</b> asked to {asked(request)}
        </span>
        <span className="faint" title={exact(request.creation_time)}>
          {when(request.creation_time)}
        </span>
      </div>
      {request.comment && <p className="soft">“{request.comment}”</p>}
      {request.votes.map((vote) => (
        <p key={vote.user} className="row soft">
          <Icon name={vote.approved ? "check" : "close"} />
          <span>
            <b>{vote.user}</b> {vote.approved ? "approved" : "rejected"} it{vote.comment ? `: “${vote.comment}”` : ""}
          </span>
          <span className="faint">{when(vote.time)}</span>
        </p>
      ))}
      {request.status === "pending" && (
        <div className="row wrap">
          <span className="faint grow">
            {approvals} of {policy?.required_approvals ?? 1} approvals
            {mine ? "; you asked for it, so others decide" : voted ? "; you have voted" : ""}
          </span>
          {mine ? (
            <Button small onClick={() => setVerb("withdraw")}>
              Withdraw…
            </Button>
          ) : (
            <>
              <Button small kind="danger" icon="close" disabled={voted} onClick={() => setVerb("reject")}>
                Reject…
              </Button>
              <Button small kind="primary" icon="check" disabled={voted} onClick={() => setVerb("approve")}>
                Approve…
              </Button>
            </>
          )}
        </div>
      )}
      {verb && (
        <Ask
          title={{ approve: "Approve the change", reject: "Reject the change", withdraw: "Withdraw the request" }[verb]}
          label="Comment"
          multiline
          optional
          danger={verb === "reject"}
          verb={{ approve: "Approve", reject: "Reject", withdraw: "Withdraw" }[verb]}
          onClose={() => setVerb(null)}
          action={async (comment) => (await registry.decide(request.name, request.request_id, verb, comment), await changed())}
        />
      )}
    </div>
  );
}

function Approvals({ name, policy, requests, error, changed }: { name: string; policy: Policy | null; requests: ChangeRequest[]; error: unknown; changed: () => Promise<void> }) {
  const [editing, setEditing] = useState(false);
  const session = useSession();
  const anonymous = session.state === "in" && session.who.auth === "none";
  const sorted = [...requests].sort((a, b) => Number(b.status === "pending") - Number(a.status === "pending") || b.creation_time - a.creation_time);
  return (
    <div className="stack" style={{ gap: 16, maxWidth: 860 }}>
      {anonymous && (
        <div className="note info">
          <Icon name="info" />
          <p>Approvals need users: start the server with --auth required. Until then anybody changes stages and aliases at once.</p>
        </div>
      )}
      {error ? <ErrorNote error={error} /> : null}
      <section className="card">
        <header>
          <h2 className="grow">Policy</h2>
          <Button small icon="edit" disabled={anonymous} onClick={() => setEditing(true)}>
            {policy ? "Change…" : "Set up…"}
          </Button>
          {policy && (
            <Button small kind="danger" onClick={() => registry.clearPolicy(name).then(changed, failed)}>
              Remove
            </Button>
          )}
        </header>
        <div className="body">
          {policy ? (
            <dl className="facts">
              <dt>Approvals needed</dt>
              <dd>{policy.required_approvals}</dd>
              <dt>From</dt>
              <dd>{policy.approvers.join(", ") || "whoever has the role approver"}</dd>
              <dt>For stages</dt>
              <dd>{policy.stages.join(", ") || "every stage"}</dd>
              <dt>For aliases</dt>
              <dd>{policy.aliases.join(", ") || "every alias"}</dd>
            </dl>
          ) : (
            <span className="faint">No policy: whoever may edit the model changes its stages and aliases at once.</span>
          )}
        </div>
      </section>
      <section className="card">
        <header>
          <h2>Requests</h2>
        </header>
        {sorted.length === 0 ? (
          <div className="body faint">None yet. They are made where a policy keeps a stage or alias from being changed at once.</div>
        ) : (
          sorted.map((request) => <Request key={request.request_id} request={request} policy={policy} changed={changed} />)
        )}
      </section>
      {editing && <PolicyDialog name={name} policy={policy} changed={changed} onClose={() => setEditing(false)} />}
    </div>
  );
}

function PolicyDialog({ name, policy, changed, onClose }: { name: string; policy: Policy | null; changed: () => Promise<void>; onClose: () => void }) {
  const [required, setRequired] = useState(String(policy?.required_approvals ?? 1));
  const [approvers, setApprovers] = useState(policy?.approvers.join(", ") ?? "");
  const [stages, setStages] = useState<string[]>(policy?.stages ?? ["Production"]);
  const [aliases, setAliases] = useState(policy?.aliases.join(", ") ?? "champion");
  const [error, setError] = useState<unknown>(null);
  const names = (text: string) => text.split(",").map((one) => one.trim()).filter(Boolean);
  return (
    <Dialog
      title="Approval policy"
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button
            kind="primary"
            onClick={() =>
              registry.setPolicy(name, { required_approvals: Number(required) || 1, approvers: names(approvers), stages, aliases: names(aliases) }).then(async () => {
                await changed();
                onClose();
              }, setError)
            }
          >
            Save
          </Button>
        </>
      }
    >
      <div className="body">
        <label className="field">
          Approvals needed
          <input className="input" type="number" min={1} value={required} onChange={(event) => setRequired(event.target.value)} />
        </label>
        <label className="field">
          Approvers, by name; none: whoever has the role approver
          <input className="input" value={approvers} onChange={(event) => setApprovers(event.target.value)} />
        </label>
        <fieldset style={{ border: 0, padding: 0, margin: 0 }} className="stack">
          <legend className="soft" style={{ fontSize: 12, fontWeight: 500 }}>
            Stages; none: every stage
          </legend>
          <div className="row wrap">
            {STAGES.map((stage) => (
              <label className="check" key={stage}>
                <input type="checkbox" checked={stages.includes(stage)} onChange={() => setStages(stages.includes(stage) ? stages.filter((one) => one !== stage) : [...stages, stage])} /> {stage}
              </label>
            ))}
          </div>
        </fieldset>
        <label className="field">
          Aliases, by name; none: every alias
          <input className="input" value={aliases} onChange={(event) => setAliases(event.target.value)} />
        </label>
        {error !== null && <ErrorNote error={error} />}
      </div>
    </Dialog>
  );
}

const EVENT_ICONS: [RegExp, IconName][] = [
  [/created/, "plus"], [/stage/, "sort"], [/alias|tag/, "tag"], [/approved/, "check"], [/rejected|deleted/, "close"], [/policy/, "settings"], [/requested/, "help"], [/./, "edit"],
];

function History({ name }: { name: string }) {
  const { search } = useLocation();
  const only = search.get("version") ?? "";
  const events = useQuery({ queryKey: ["history", name], queryFn: () => registry.history(name) });
  if (events.error) return <ErrorNote error={events.error} retry={() => void events.refetch()} />;
  if (!events.data) return <Skeleton />;
  const versions = [...new Set(events.data.map(({ version }) => version).filter((version) => version !== undefined))].sort((a, b) => Number(b) - Number(a));
  const shown = [...events.data].reverse().filter(({ version }) => !only || version === only);
  return (
    <div className="stack" style={{ maxWidth: 860 }}>
      <div className="row">
        <span className="soft grow">{plural(shown.length, "event")}, newest first. Nothing is ever taken out of it.</span>
        <label className="row soft">
          Version
          <select className="select" value={only} onChange={(event) => setSearch({ version: event.target.value })}>
            <option value="">all</option>
            {versions.map((version) => (
              <option key={version}>{version}</option>
            ))}
          </select>
        </label>
      </div>
      <ol className="card timeline">
        {shown.map((event) => (
          <li key={event.event_id}>
            <Icon name={EVENT_ICONS.find(([pattern]) => pattern.test(event.action))![1]} />
            <span>
              <b>{event.actor ?? "Somebody"}</b> {told(event)}
              {event.comment && <span className="soft"> “{event.comment}”</span>}
            </span>
            <time className="faint num" dateTime={new Date(event.time).toISOString()} title={exact(event.time)}>
              {when(event.time)}
            </time>
          </li>
        ))}
      </ol>
    </div>
  );
}

function CompareVersions({ model, versions }: { model: RegisteredModel; versions: ModelVersion[] }) {
  const { search } = useLocation();
  const newest = versions.slice(0, 2).map(({ version }) => version);
  const chosen = (search.get("of")?.split(",") ?? newest).filter((version) => versions.some((one) => one.version === version));
  const [only, setOnly] = useState(true);
  const of = chosen.map((version) => versions.find((one) => one.version === version)!);
  const runsOf = useQueries({ queries: of.map(({ run_id }) => ({ queryKey: ["run", run_id], enabled: Boolean(run_id), queryFn: () => runs.get(run_id!), retry: false })) });
  const logged = useQueries({ queries: of.map(({ model_id }) => ({ queryKey: ["logged-model", model_id], enabled: Boolean(model_id), queryFn: () => loggedModels.get(model_id!), retry: false })) });
  const rows: { part: string; key: string; values: string[] }[] = [];
  const add = (part: string, key: string, values: (string | undefined)[]) => rows.push({ part, key, values: values.map((value) => value ?? "") });
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
  const differs = (values: string[]) => values.some((value) => value !== values[0]);
  const shown = rows.filter(({ values }) => !only || differs(values));
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
        <table>
          <thead>
            <tr>
              <th scope="col">
                <span className="sr">Field</span>
              </th>
              {of.map(({ version }) => (
                <th key={version} scope="col">
                  <Link href={path("models", model.name, version)}>Version {version}</Link>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {shown.map(({ part, key, values }, i) => (
              <FragmentRow key={part + key} part={shown[i - 1]?.part === part ? null : part} name={key} values={values} differs={differs(values)} />
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}

function FragmentRow({ part, name, values, differs }: { part: string | null; name: string; values: string[]; differs: boolean }) {
  return (
    <>
      {part && (
        <tr className="part">
          <th scope="rowgroup">{part}</th>
          <td colSpan={values.length} />
        </tr>
      )}
      <tr className={differs ? "differs" : ""}>
        <th scope="row">{name}</th>
        {values.map((value, i) => (
          <td key={i}>{value || <span className="faint">–</span>}</td>
        ))}
      </tr>
    </>
  );
}
