import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { models, registry } from "../api/calls";
import { exact, when } from "../lib/format";
import { Link, navigate, path } from "../router";
import { Ask, Badge, Button, Empty, Item, Popover } from "../ui/kit";
import { LineageView } from "./lineage";
import { Approvals } from "./model-approvals";
import { CompareVersions } from "./model-compare";
import { History } from "./model-history";
import { VersionPage, Versions } from "./model-version";
import { Head, PythonCard, TagsCard, TextCard, TwoColumns, Waiting, python } from "./parts";
import { TopBar, record, useRecent } from "./shared";

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
        <Waiting query={model} />
      </>
    );
  }
  const of = model.data;
  if (isVersion) {
    const version = versions.data?.find((one) => one.version === part);
    return (
      <>
        <TopBar crumbs={crumbs} />
        {!versions.data ? (
          <Waiting query={versions} />
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
      <Head
        title={of.name}
        label="Parts of the model"
        current={part}
        items={[
          { id: "versions", label: "Versions", href: path("models", name), n: versions.data?.length },
          { id: "compare", label: "Compare", href: path("models", name, "compare") },
          { id: "approvals", label: "Approvals", href: path("models", name, "approvals"), n: open || undefined },
          { id: "history", label: "History", href: path("models", name, "history") },
          { id: "lineage", label: "Lineage", href: path("models", name, "lineage") },
        ]}
      >
        {policy.data && <Badge kind="warn">Needs approval</Badge>}
        <span className="faint" title={exact(of.last_updated_timestamp)}>
          changed {when(of.last_updated_timestamp)}
        </span>
      </Head>
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
            <TwoColumns
              wide={
                versions.data?.length === 0 ? (
                  <Empty title="No versions yet" code={python(`mlflow.register_model("runs:/<run id>/model", ${JSON.stringify(name)})`)} />
                ) : (
                  <Versions model={of} versions={versions.data ?? []} policy={policy.data ?? null} changed={changed} />
                )
              }
              narrow={
                <>
                  <TextCard title="Description" text={of.description} none="None. Markdown is welcome." onEdit={() => setDialog("describe")} />
                  <TagsCard tags={record(of.tags)} set={(key, value) => models.setTag(name, key, value)} remove={(key) => models.deleteTag(name, key)} changed={changed} />
                  {aliases[0] && <PythonCard code={`model = mlflow.pyfunc.load_model("models:/${name}@${aliases[0].alias}")`} />}
                </>
              }
            />
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
