// The requests the pages make.

import { mlflow, own, send, url } from "./client";
import {
  type ChangeRequest, type EnvelopeAnswer, type Experiment, type FileInfo, type Lineage, type LoggedModel, type ModelVersion,
  type Policy, type RegisteredModel, type RegistryEvent, type Run, type WireRun, toRun,
} from "./types";

export type ViewType = "ACTIVE_ONLY" | "DELETED_ONLY" | "ALL";

/** All pages of a list. */
async function all<T, K extends string>(
  page: (token?: string) => Promise<{ next_page_token?: string } & Partial<Record<K, T[]>>>,
  field: K,
  most = 20_000,
): Promise<T[]> {
  const out: T[] = [];
  let token: string | undefined;
  do {
    const answer = await page(token);
    out.push(...((answer[field] as T[] | undefined) ?? []));
    token = answer.next_page_token || undefined;
  } while (token && out.length < most);
  return out;
}

export const experiments = {
  list: (view: ViewType, signal?: AbortSignal) =>
    all<Experiment, "experiments">(
      (token) => mlflow.post("experiments/search", { max_results: 2000, view_type: view, page_token: token }, signal),
      "experiments",
    ),
  get: async (id: string) => (await mlflow.get<{ experiment: Experiment }>("experiments/get", { experiment_id: id })).experiment,
  create: (name: string) => mlflow.post<{ experiment_id: string }>("experiments/create", { name }),
  rename: (id: string, name: string) => mlflow.post("experiments/update", { experiment_id: id, new_name: name }),
  delete: (id: string) => mlflow.post("experiments/delete", { experiment_id: id }),
  restore: (id: string) => mlflow.post("experiments/restore", { experiment_id: id }),
  setTag: (id: string, key: string, value: string) => mlflow.post("experiments/set-experiment-tag", { experiment_id: id, key, value }),
  deleteTag: (id: string, key: string) => mlflow.post("experiments/delete-experiment-tag", { experiment_id: id, key }),
};

export interface RunQuery {
  experimentIds: string[];
  filter: string;
  orderBy: string[];
  view: ViewType;
}

export const runs = {
  async page(query: RunQuery, count: number, token?: string, signal?: AbortSignal): Promise<{ runs: Run[]; next: string | null }> {
    const answer = await mlflow.post<{ runs?: WireRun[]; next_page_token?: string }>(
      "runs/search",
      {
        experiment_ids: query.experimentIds,
        filter: query.filter || undefined,
        order_by: query.orderBy,
        run_view_type: query.view,
        max_results: count,
        page_token: token,
      },
      signal,
    );
    return { runs: (answer.runs ?? []).map(toRun), next: answer.next_page_token || null };
  },
  get: async (id: string, signal?: AbortSignal) => toRun((await mlflow.get<{ run: WireRun }>("runs/get", { run_id: id }, signal)).run),
  delete: (id: string) => mlflow.post("runs/delete", { run_id: id }),
  restore: (id: string) => mlflow.post("runs/restore", { run_id: id }),
  rename: (id: string, name: string) => mlflow.post("runs/update", { run_id: id, run_name: name }),
  setTag: (id: string, key: string, value: string) => mlflow.post("runs/set-tag", { run_id: id, key, value }),
  deleteTag: (id: string, key: string) => mlflow.post("runs/delete-tag", { run_id: id, key }),
};

export function envelope(
  runIds: readonly string[],
  key: string,
  buckets: number,
  range: readonly [number, number] | null,
  signal?: AbortSignal,
): Promise<EnvelopeAnswer> {
  return own.get("metrics/envelope", { run_ids: runIds, metric_key: key, buckets, from_step: range?.[0], to_step: range?.[1], format: "curves" }, signal);
}

/** Where files of a run, a logged model or a model version come from. */
export type ArtifactRoot =
  | { kind: "run"; id: string }
  | { kind: "logged_model"; id: string };

export const artifacts = {
  async list(root: ArtifactRoot, path: string): Promise<FileInfo[]> {
    const answer =
      root.kind === "run"
        ? await mlflow.get<{ files?: FileInfo[] }>("artifacts/list", { run_id: root.id, path: path || undefined })
        : await mlflow.get<{ files?: FileInfo[] }>(`logged-models/${encodeURIComponent(root.id)}/artifacts/directories`, {
            artifact_directory_path: path || undefined,
          });
    return answer.files ?? [];
  },
  url(root: ArtifactRoot, path: string): string {
    return root.kind === "run"
      ? url("/get-artifact", { run_id: root.id, path })
      : url(`/ajax-api/2.0/mlflow/logged-models/${encodeURIComponent(root.id)}/artifacts/files`, { artifact_file_path: path });
  },
  read: (root: ArtifactRoot, path: string, signal?: AbortSignal) => send("GET", artifacts.url(root, path), { signal }),
};

export const loggedModels = {
  get: async (id: string) => (await mlflow.get<{ model: LoggedModel }>(`logged-models/${encodeURIComponent(id)}`)).model,
  setTag: (id: string, key: string, value: string) => mlflow.patch(`logged-models/${encodeURIComponent(id)}/tags`, { tags: [{ key, value }] }),
  deleteTag: (id: string, key: string) => mlflow.delete(`logged-models/${encodeURIComponent(id)}/tags/${encodeURIComponent(key)}`, {}),
};

export const models = {
  list: () =>
    all<RegisteredModel, "registered_models">(
      (token) => mlflow.get("registered-models/search", { max_results: 1000, page_token: token }),
      "registered_models",
    ),
  get: async (name: string) =>
    (await mlflow.get<{ registered_model: RegisteredModel }>("registered-models/get", { name })).registered_model,
  create: (name: string, description: string) => mlflow.post("registered-models/create", { name, description }),
  update: (name: string, description: string) => mlflow.patch("registered-models/update", { name, description }),
  rename: (name: string, newName: string) => mlflow.post("registered-models/rename", { name, new_name: newName }),
  delete: (name: string) => mlflow.delete("registered-models/delete", { name }),
  setTag: (name: string, key: string, value: string) => mlflow.post("registered-models/set-tag", { name, key, value }),
  deleteTag: (name: string, key: string) => mlflow.delete("registered-models/delete-tag", { name, key }),
  setAlias: (name: string, alias: string, version: string) => mlflow.post("registered-models/alias", { name, alias, version }),
  deleteAlias: (name: string, alias: string) => mlflow.delete("registered-models/alias", { name, alias }),
  versions: (name: string) =>
    all<ModelVersion, "model_versions">(
      (token) =>
        mlflow.get("model-versions/search", {
          filter: `name = '${name.replace(/'/g, "''")}'`,
          max_results: 2000,
          order_by: ["version_number DESC"],
          page_token: token,
        }),
      "model_versions",
    ),
  versionsOfRun: async (runId: string) =>
    (await mlflow.get<{ model_versions?: ModelVersion[] }>("model-versions/search", { filter: `run_id = '${runId}'`, max_results: 100 }))
      .model_versions ?? [],
  createVersion: (body: { name: string; source: string; run_id?: string; model_id?: string; description?: string }) =>
    mlflow.post<{ model_version: ModelVersion }>("model-versions/create", body),
  updateVersion: (name: string, version: string, description: string) => mlflow.patch("model-versions/update", { name, version, description }),
  deleteVersion: (name: string, version: string) => mlflow.delete("model-versions/delete", { name, version }),
  transition: (name: string, version: string, stage: string, archive: boolean) =>
    mlflow.post("model-versions/transition-stage", { name, version, stage, archive_existing_versions: archive }),
  setVersionTag: (name: string, version: string, key: string, value: string) =>
    mlflow.post("model-versions/set-tag", { name, version, key, value }),
  deleteVersionTag: (name: string, version: string, key: string) => mlflow.delete("model-versions/delete-tag", { name, version, key }),
};

export interface ChangeAsked {
  stage?: string;
  archive_existing_versions?: boolean;
  alias?: string;
  delete_alias?: string;
}

export const registry = {
  history: async (name: string) => (await own.get<{ events: RegistryEvent[] }>("registry/history", { name })).events,
  policy: async (name: string) => (await own.get<{ policy?: Policy }>("registry/policy", { name })).policy ?? null,
  setPolicy: (name: string, policy: Policy) => own.put("registry/policy", { name, ...policy }),
  clearPolicy: (name: string) => own.delete("registry/policy", { name }),
  requests: async (name: string) => (await own.get<{ requests: ChangeRequest[] }>("registry/requests", { name })).requests,
  ask: (name: string, version: string, change: ChangeAsked, comment: string) =>
    own.post<{ request: ChangeRequest }>("registry/requests", { name, version, ...change, comment: comment || undefined }),
  decide: (name: string, id: string, verb: "approve" | "reject" | "withdraw", comment: string) =>
    own.post<{ request: ChangeRequest }>(`registry/requests/${encodeURIComponent(id)}/${verb}`, { name, comment: comment || undefined }),
};

export const lineage = (of: string, direction: "up" | "down" | "both") => own.get<Lineage>("lineage", { of, direction });
