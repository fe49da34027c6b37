// What the server answers, and the runs as the app keeps them.

export interface KeyValue {
  key: string;
  value: string;
}

export interface Experiment {
  experiment_id: string;
  name: string;
  artifact_location: string;
  lifecycle_stage: "active" | "deleted";
  creation_time: number;
  last_update_time: number;
  tags?: KeyValue[];
}

export type RunStatus = "RUNNING" | "SCHEDULED" | "FINISHED" | "FAILED" | "KILLED";

export interface DatasetInput {
  tags?: KeyValue[];
  dataset: { name: string; digest: string; source_type?: string; source?: string; schema?: string; profile?: string };
}

export interface WireRun {
  info: {
    run_id: string;
    run_name?: string;
    experiment_id: string;
    user_id?: string;
    status: RunStatus;
    start_time?: number;
    end_time?: number;
    artifact_uri?: string;
    lifecycle_stage: "active" | "deleted";
  };
  data?: {
    metrics?: { key: string; value: number | string; timestamp: number; step: number; model_id?: string }[];
    params?: KeyValue[];
    tags?: KeyValue[];
  };
  inputs?: { dataset_inputs?: DatasetInput[]; model_inputs?: { model_id: string }[] };
  outputs?: { model_outputs?: { model_id: string; step?: number }[] };
}

export interface Run {
  id: string;
  name: string;
  experimentId: string;
  user: string;
  status: RunStatus;
  start: number | null;
  end: number | null;
  artifactUri: string;
  deleted: boolean;
  parentId: string | null;
  params: Record<string, string>;
  metrics: Record<string, number>;
  tags: Record<string, string>;
  datasets: DatasetInput[];
  inputModels: string[];
  outputModels: { model_id: string; step?: number }[];
}

/** Points of a run in columns; values that JSON has no number for are texts. */
export interface WireCurve {
  run_id: string;
  /** Points that these stand for. */
  count: number;
  steps: number[];
  timestamps: number[];
  values: (number | string)[];
}

export interface EnvelopeAnswer {
  metric_key: string;
  from_step?: number;
  to_step?: number;
  runs: WireCurve[];
}

export interface FileInfo {
  path: string;
  is_dir: boolean;
  file_size?: number;
}

export interface ModelVersion {
  name: string;
  version: string;
  creation_timestamp: number;
  last_updated_timestamp: number;
  current_stage: string;
  description?: string;
  source?: string;
  run_id?: string;
  model_id?: string;
  status: string;
  status_message?: string;
  user_id?: string;
  tags?: KeyValue[];
  aliases?: string[];
}

export interface RegisteredModel {
  name: string;
  creation_timestamp: number;
  last_updated_timestamp: number;
  description?: string;
  latest_versions?: ModelVersion[];
  tags?: KeyValue[];
  aliases?: { alias: string; version: string }[];
}

export interface LoggedModel {
  info: {
    model_id: string;
    experiment_id: string;
    name: string;
    creation_timestamp_ms: number;
    last_updated_timestamp_ms: number;
    artifact_uri: string;
    status: string;
    model_type?: string;
    source_run_id?: string;
    tags?: KeyValue[];
    registrations?: { name: string; version: string }[];
  };
  data?: { params?: KeyValue[]; metrics?: { key: string; value: number; step: number; dataset_name?: string; dataset_digest?: string }[] };
}

export interface RegistryEvent {
  event_id: string;
  time: number;
  actor?: string;
  action: string;
  name: string;
  version?: string;
  subject?: string;
  old_value?: string;
  new_value?: string;
  comment?: string;
}

export interface Policy {
  required_approvals: number;
  approvers: string[];
  stages: string[];
  aliases: string[];
}

export interface ChangeRequest {
  request_id: string;
  name: string;
  version: string;
  stage?: string;
  archive_existing_versions?: boolean;
  alias?: string;
  delete_alias?: string;
  status: "pending" | "approved" | "rejected" | "withdrawn";
  requested_by: string;
  comment?: string;
  creation_time: number;
  decided_time?: number;
  votes: { user: string; approved: boolean; comment?: string; time: number }[];
}

export interface LineageNode {
  id: string;
  kind: "dataset" | "run" | "logged_model" | "model_version" | "alias";
  known: boolean;
  name?: string;
  experiment?: string;
  experiment_id?: string;
  status?: string;
  stage?: string;
  lifecycle_stage?: string;
  creation_time?: number;
  start_time?: number;
  source?: string;
  source_type?: string;
}

export interface LineageEdge {
  from: string;
  to: string;
  kind: string;
  direction: "up" | "down";
  depth: number;
}

export interface Lineage {
  start: string[];
  direction: string;
  truncated: boolean;
  nodes: LineageNode[];
  edges: LineageEdge[];
}

export interface WhoAmI {
  auth: "required" | "none";
  user_name?: string;
  by?: "password" | "token" | "session";
  roles: { role: string; scope: string; id?: string }[];
  csrf_token?: string;
}

/** The server writes NaN as a string, and infinities as the greatest doubles. */
export function number(value: number | string): number {
  if (typeof value === "string") return Number(value);
  if (value >= Number.MAX_VALUE) return Infinity;
  if (value <= -Number.MAX_VALUE) return -Infinity;
  return value;
}

/** A name, unless it is nothing but blanks: nobody could see it, or click it. */
const visible = (name: string | undefined) => (name && /\S/.test(name) ? name : "");

export function toRun(wire: WireRun): Run {
  const params: Record<string, string> = {};
  const metrics: Record<string, number> = {};
  const tags: Record<string, string> = {};
  for (const { key, value } of wire.data?.params ?? []) params[key] = value;
  for (const { key, value } of wire.data?.metrics ?? []) metrics[key] = number(value);
  for (const { key, value } of wire.data?.tags ?? []) tags[key] = value;
  const { info } = wire;
  return {
    id: info.run_id,
    name: visible(info.run_name) || visible(tags["mlflow.runName"]) || info.run_id.slice(0, 8),
    experimentId: info.experiment_id,
    user: tags["mlflow.user"] || info.user_id || "",
    status: info.status,
    start: info.start_time ?? null,
    end: info.end_time || null,
    artifactUri: info.artifact_uri ?? "",
    deleted: info.lifecycle_stage === "deleted",
    parentId: tags["mlflow.parentRunId"] ?? null,
    params,
    metrics,
    tags,
    datasets: wire.inputs?.dataset_inputs ?? [],
    inputModels: (wire.inputs?.model_inputs ?? []).map((input) => input.model_id),
    outputModels: wire.outputs?.model_outputs ?? [],
  };
}
