import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { artifacts, loggedModels, models } from "../api/calls";
import { exact } from "../lib/format";
import { type Signature, signatureOf } from "../lib/signature";
import { Link, navigate, path, useLocation } from "../router";
import { Ask, Badge, Button, CopyButton } from "../ui/kit";
import { Artifacts } from "./artifacts";
import { LineageView } from "./lineage";
import { Card, Head, Pairs, PythonCard, TagsCard, TwoColumns, Waiting } from "./parts";
import { TopBar, record } from "./shared";

const STATUS: Record<string, string> = { LOGGED_MODEL_READY: "Ready", LOGGED_MODEL_PENDING: "Being logged", LOGGED_MODEL_UPLOAD_FAILED: "Upload failed" };

export default function LoggedModelPage({ id }: { id: string }) {
  const { search } = useLocation();
  const tab = search.get("tab") ?? (search.has("path") ? "artifacts" : "overview");
  const model = useQuery({ queryKey: ["logged-model", id], queryFn: () => loggedModels.get(id) });
  const [registering, setRegistering] = useState(false);
  const here = path("logged-models", id);
  const crumbs = [{ label: "Models", href: "/models" }, { label: model.data ? `${model.data.info.name} (logged)` : "Logged model" }];
  if (model.error || !model.data) {
    return (
      <>
        <TopBar crumbs={crumbs} />
        <Waiting query={model} />
      </>
    );
  }
  const { info, data } = model.data;
  const status = STATUS[info.status] ?? info.status;
  return (
    <>
      <TopBar crumbs={crumbs}>
        {info.source_run_id && (
          <Link className="btn" href={path("runs", info.source_run_id)}>
            The run that made it
          </Link>
        )}
        <Button kind="primary" onClick={() => setRegistering(true)}>
          Register…
        </Button>
      </TopBar>
      <Head
        title={info.name}
        label="Parts of the logged model"
        current={tab}
        items={[
          { id: "overview", label: "Overview", href: here },
          { id: "artifacts", label: "Artifacts", href: `${here}?tab=artifacts` },
          { id: "lineage", label: "Lineage", href: `${here}?tab=lineage` },
        ]}
      >
        <Badge kind={status === "Ready" ? "good" : status === "Being logged" ? "busy" : "bad"}>{status}</Badge>
        {info.model_type && <Badge>{info.model_type}</Badge>}
      </Head>
      {tab === "artifacts" ? (
        <div className="page fixed">
          <Artifacts root={{ kind: "logged_model", id }} empty={`mlflow.sklearn.log_model(model, name="model")`} />
        </div>
      ) : tab === "lineage" ? (
        <div className="page">
          <div className="pad" style={{ maxWidth: "none" }}>
            <LineageView of={`models:/${id}`} onFocus={(of) => navigate(`/lineage?of=${encodeURIComponent(of)}`)} />
          </div>
        </div>
      ) : (
        <div className="page">
          <div className="pad">
            <TwoColumns
              wide={
                <>
                  <SchemaCard root={{ kind: "logged_model", id }} file="MLmodel" />
                  <Pairs title="Metrics" values={(data?.metrics ?? []).map(({ key, value, dataset_name }) => ({ name: key, value: Number(value), badge: dataset_name }))} none="None were logged for this model." />
                  <Pairs title="Params" values={(data?.params ?? []).map(({ key, value }) => ({ name: key, value }))} none="None were logged for this model." />
                </>
              }
              narrow={
                <>
                  <Card title="About">
                    <dl className="facts">
                      <dt>Id</dt>
                      <dd className="row">
                        <span className="mono cut">{info.model_id}</span>
                        <CopyButton text={info.model_id} what="id" />
                      </dd>
                      <dt>Logged</dt>
                      <dd>{exact(info.creation_timestamp_ms)}</dd>
                      <dt>Artifacts</dt>
                      <dd className="mono">{info.artifact_uri}</dd>
                    </dl>
                  </Card>
                  <TagsCard tags={record(info.tags)} set={(key, value) => loggedModels.setTag(id, key, value)} remove={(key) => loggedModels.deleteTag(id, key)} changed={() => model.refetch()} />
                  <PythonCard code={`model = mlflow.pyfunc.load_model("models:/${info.model_id}")`} />
                </>
              }
            />
          </div>
        </div>
      )}
      {registering && (
        <Ask
          title="Register this model"
          label="Registered model"
          text="It becomes the next version of this model, which is made if there is none of that name."
          verb="Register"
          onClose={() => setRegistering(false)}
          action={async (name) => {
            const { model_version } = await register(name.trim(), id, info.source_run_id);
            navigate(path("models", model_version.name, model_version.version));
          }}
        />
      )}
    </>
  );
}

async function register(name: string, modelId: string, runId: string | undefined) {
  await models.get(name).catch(() => models.create(name, ""));
  return models.createVersion({ name, source: `models:/${modelId}`, run_id: runId, model_id: modelId });
}

/** Inputs, outputs and params of a model, read from its MLmodel file. */
export function SchemaCard({ root, file }: { root: Parameters<typeof artifacts.read>[0]; file: string }) {
  const signature = useQuery<Signature | null>({
    queryKey: ["signature", root.kind, root.id, file],
    staleTime: Infinity,
    retry: false,
    meta: { live: false },
    queryFn: async ({ signal }) => signatureOf(await (await artifacts.read(root, file, signal)).text()),
  });
  const groups = signature.data ? ([["Inputs", signature.data.inputs], ["Outputs", signature.data.outputs], ["Params", signature.data.params]] as const).filter(([, fields]) => fields.length > 0) : [];
  return (
    <Card title="Schema" bare>
      {groups.length === 0 ? (
        <div className="body faint">{signature.isPending ? "…" : "This model was logged without a signature: give log_model an input_example, and it infers one."}</div>
      ) : (
        <table className="plain">
          <thead>
            <tr>
              <th>Field</th>
              <th>Type</th>
              <th>Needed</th>
            </tr>
          </thead>
          {groups.map(([title, fields]) => (
            <tbody key={title}>
              <tr>
                <th colSpan={3} scope="rowgroup">
                  {title}
                </th>
              </tr>
              {fields.map(({ name, type, required, byDefault }) => (
                <tr key={name}>
                  <td>{name}</td>
                  <td className="mono">{type}</td>
                  <td className="faint">{byDefault !== undefined ? `${byDefault} if not given` : required ? "yes" : "no"}</td>
                </tr>
              ))}
            </tbody>
          ))}
        </table>
      )}
    </Card>
  );
}
