// Approvals: the policy of a model, and the changes that wait for it.

import { useState } from "react";
import { registry } from "../api/calls";
import type { ChangeRequest, Policy } from "../api/types";
import { exact, when } from "../lib/format";
import { STAGES, asked } from "../lib/registry";
import { useSession } from "../state/session";
import { Icon } from "../ui/icons";
import { Ask, Badge, Button, Dialog, ErrorNote, failed } from "../ui/kit";
import { Card } from "./parts";

const REQUEST: Record<ChangeRequest["status"], { kind: "good" | "bad" | "warn" | undefined; text: string }> = {
  pending: { kind: "warn", text: "Waiting" },
  approved: { kind: "good", text: "Approved" },
  rejected: { kind: "bad", text: "Rejected" },
  withdrawn: { kind: undefined, text: "Withdrawn" },
};

export function Request({ request, policy, changed }: { request: ChangeRequest; policy: Policy | null; changed: () => Promise<void> }) {
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

export function Approvals({ name, policy, requests, error, changed }: { name: string; policy: Policy | null; requests: ChangeRequest[]; error: unknown; changed: () => Promise<void> }) {
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
      <Card
        title="Policy"
        actions={
          <>
            <Button small icon="edit" disabled={anonymous} onClick={() => setEditing(true)}>
              {policy ? "Change…" : "Set up…"}
            </Button>
            {policy && (
              <Button small kind="danger" onClick={() => registry.clearPolicy(name).then(changed, failed)}>
                Remove
              </Button>
            )}
          </>
        }
      >
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
      </Card>
      <Card title="Requests" bare>
        {sorted.length === 0 ? (
          <div className="body faint">None yet. They are made where a policy keeps a stage or alias from being changed at once.</div>
        ) : (
          sorted.map((request) => <Request key={request.request_id} request={request} policy={policy} changed={changed} />)
        )}
      </Card>
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
