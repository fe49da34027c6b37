// The registry in words.

import type { ChangeRequest, Lineage, LineageNode, ModelVersion, Policy, RegisteredModel, RegistryEvent } from "../api/types";

export const STAGES = ["None", "Staging", "Production", "Archived"];

export function aliasesOf(model: RegisteredModel, version: ModelVersion): string[] {
  return (model.aliases ?? []).filter((one) => one.version === version.version).map(({ alias }) => alias);
}

/** What an event of the history says, without who and when. */
export function told(event: RegistryEvent): string {
  const version = event.version ? `version ${event.version}` : event.name;
  const { subject, old_value: before, new_value: after } = event;
  switch (event.action) {
    case "model_created":
      return `created ${event.name}`;
    case "model_updated":
      return "changed the description";
    case "model_renamed":
      return `renamed ${before ?? ""} to ${after ?? ""}`;
    case "model_deleted":
      return `deleted ${event.name}`;
    case "version_created":
      return `registered ${version}`;
    case "version_updated":
      return `changed the description of ${version}`;
    case "version_deleted":
      return `deleted ${version}`;
    case "stage_changed":
      return `moved ${version} from ${before ?? "None"} to ${after ?? "None"}`;
    case "alias_set":
      return before && before !== event.version ? `moved alias ${subject} from version ${before} to version ${event.version ?? after}` : `gave alias ${subject} to version ${event.version ?? after}`;
    case "alias_deleted":
      return `removed alias ${subject}${event.version ?? before ? ` from version ${event.version ?? before}` : ""}`;
    case "model_tag_set":
    case "version_tag_set":
      return `set tag ${subject} of ${version} to ${after ?? ""}`;
    case "model_tag_deleted":
    case "version_tag_deleted":
      return `removed tag ${subject} of ${version}`;
    case "policy_set":
      return "set the approval policy";
    case "policy_cleared":
      return "removed the approval policy";
    case "change_requested":
      return `asked for a change of ${version}${after ? `: ${after}` : ""}`;
    case "change_approved":
      return `approved a change of ${version}`;
    case "change_rejected":
      return `rejected a change of ${version}`;
    case "change_withdrawn":
      return `withdrew a request about ${version}`;
    default:
      return `${event.action.replaceAll("_", " ")} ${version}`;
  }
}

export function asked(request: ChangeRequest): string {
  if (request.stage !== undefined) return `move version ${request.version} to ${request.stage}${request.archive_existing_versions ? " and archive what is there" : ""}`;
  if (request.alias !== undefined) return `give alias ${request.alias} to version ${request.version}`;
  return `remove alias ${request.delete_alias ?? ""} from version ${request.version}`;
}

/** Whether a policy wants others to approve this change. An empty list in it means everything. */
export function guarded(policy: Policy | null | undefined, change: { stage?: string; alias?: string }): boolean {
  if (!policy) return false;
  if (change.stage !== undefined) return policy.stages.length === 0 || policy.stages.includes(change.stage);
  return policy.aliases.length === 0 || policy.aliases.includes(change.alias ?? "");
}

export function nameOf(node: LineageNode): string {
  if (node.kind === "alias") return node.id.replace(/^models:\//, "");
  if (node.kind === "model_version") return node.id.replace(/^models:\//, "").replace(/\/([^/]*)$/, " version $1");
  if (node.kind === "dataset") return node.id.replace(/^dataset:/, "").replace(/@[^@]*$/, "");
  return node.name ?? node.id.replace(/^(run:|models:\/)/, "");
}

const list = (names: string[]): string => {
  const shown = names.slice(0, 4);
  const rest = names.length - shown.length;
  if (rest > 0) return `${shown.join(", ")} and ${rest} more`;
  return shown.length > 1 ? `${shown.slice(0, -1).join(", ")} and ${shown.at(-1)}` : (shown[0] ?? "");
};

/** The answers that people look for in the picture, as sentences. */
export function inWords(lineage: Lineage): string[] {
  const byId = new Map(lineage.nodes.map((node) => [node.id, node]));
  const up = new Set(lineage.edges.filter(({ direction }) => direction === "up").map(({ from }) => from));
  const down = new Set(lineage.edges.filter(({ direction }) => direction === "down").map(({ to }) => to));
  const named = (ids: Set<string>, kind: LineageNode["kind"]) => [...ids].flatMap((id) => (byId.get(id)?.kind === kind ? [nameOf(byId.get(id)!)] : []));
  const start = byId.get(lineage.start[0] ?? "");
  if (!start) return [];
  const what = lineage.start.length > 1 ? "These" : start.kind === "dataset" ? `Dataset ${nameOf(start)}` : start.kind === "run" ? `Run ${nameOf(start)}` : nameOf(start);
  const out: string[] = [];
  const data = named(up, "dataset");
  const madeBy = named(up, "run");
  const madeFrom = named(up, "logged_model");
  if (start.kind === "run") {
    if (data.length > 0) out.push(`${what} read ${list(data)}.`);
    if (madeFrom.length > 0) out.push(`It started from ${list(madeFrom)}.`);
  } else {
    if (madeBy.length > 0) out.push(`${what} was made by ${madeBy.length === 1 ? "run" : "the runs"} ${list(madeBy)}.`);
    if (data.length > 0) out.push(`It was trained on ${list(data)}.`);
  }
  const used = named(down, "run");
  const models = named(down, "logged_model");
  const versions = named(down, "model_version");
  const aliases = named(down, "alias");
  if (used.length > 0) out.push(`${used.length} ${used.length === 1 ? "run" : "runs"} used it: ${list(used)}.`);
  if (models.length > 0) out.push(`${models.length} logged ${models.length === 1 ? "model" : "models"} came of it.`);
  if (versions.length > 0) out.push(`It is in ${list(versions)}.`);
  if (aliases.length > 0) out.push(`${aliases.length === 1 ? "Alias" : "Aliases"} ${list(aliases)} ${aliases.length === 1 ? "means" : "mean"} something made of it.`);
  const bad = lineage.nodes.filter(({ lifecycle_stage, known }) => lifecycle_stage === "deleted" || !known);
  if (bad.length > 0) out.push(`${bad.length} of what is shown ${bad.length === 1 ? "is" : "are"} deleted or known by name only.`);
  if (out.length === 0) out.push(`${what} is connected with nothing that was logged.`);
  return out;
}

/** Stands for nodes that hang on the same things and lead nowhere. */
export interface Bundle {
  id: string;
  kind: LineageNode["kind"];
  count: number;
}

const BUNDLE_FROM = 6;
const KEPT = 3;

/** Takes long rows of alike nodes together, so that what matters stays in sight. `open` names bundles to show in full. */
export function bundled(lineage: Lineage, open: ReadonlySet<string>): { lineage: Lineage; bundles: Map<string, Bundle> } {
  const around = new Map<string, string[]>(lineage.nodes.map(({ id }) => [id, []]));
  for (const { from, to } of lineage.edges) {
    around.get(from)?.push(`>${to}`);
    around.get(to)?.push(`<${from}`);
  }
  const alike = new Map<string, LineageNode[]>();
  for (const node of lineage.nodes) {
    const own = around.get(node.id)!;
    // Only what stands at an end, and is not what was asked for.
    if (lineage.start.includes(node.id) || own.length === 0 || (own.some((one) => one[0] === ">") && own.some((one) => one[0] === "<"))) continue;
    const key = `${node.kind} ${[...own].sort().join(" ")}`;
    const list = alike.get(key);
    if (list) list.push(node);
    else alike.set(key, [node]);
  }
  const bundles = new Map<string, Bundle>();
  const hidden = new Map<string, string>();
  for (const [key, nodes] of alike) {
    const id = `more ${key}`;
    if (nodes.length < BUNDLE_FROM || open.has(id)) continue;
    bundles.set(id, { id, kind: nodes[0]!.kind, count: nodes.length - KEPT });
    for (const node of nodes.slice(KEPT)) hidden.set(node.id, id);
  }
  const nodes = lineage.nodes.filter(({ id }) => !hidden.has(id));
  for (const { id, kind } of bundles.values()) nodes.push({ id, kind, known: true, name: "" });
  const seen = new Set<string>();
  const edges = lineage.edges.flatMap((edge) => {
    const next = { ...edge, from: hidden.get(edge.from) ?? edge.from, to: hidden.get(edge.to) ?? edge.to };
    const key = `${next.from}>${next.to}`;
    if (seen.has(key)) return [];
    seen.add(key);
    return [next];
  });
  return { lineage: { ...lineage, nodes, edges }, bundles };
}

export interface Placed {
  node: LineageNode;
  x: number;
  y: number;
}

export interface Picture {
  nodes: Placed[];
  edges: { from: Placed; to: Placed; kind: string }[];
  width: number;
  height: number;
}

const [WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN] = [188, 52, 46, 18, 20];

/** Columns by the longest way to a node, rows by the mean of what it hangs on. */
export function layout(lineage: Lineage): Picture {
  const ids = new Set(lineage.nodes.map(({ id }) => id));
  const edges = lineage.edges.filter(({ from, to }) => ids.has(from) && ids.has(to));
  const column = new Map<string, number>(lineage.nodes.map(({ id }) => [id, 0]));
  for (let round = 0; round < lineage.nodes.length; round++) {
    let moved = false;
    for (const { from, to } of edges) {
      const want = column.get(from)! + 1;
      if (column.get(to)! < want && want < lineage.nodes.length) {
        column.set(to, want);
        moved = true;
      }
    }
    if (!moved) break;
  }
  // What has no parent stands right before its nearest child.
  for (const { id } of lineage.nodes) {
    if (edges.some(({ to }) => to === id)) continue;
    const children = edges.filter(({ from }) => from === id).map(({ to }) => column.get(to)!);
    if (children.length > 0) column.set(id, Math.min(...children) - 1);
  }
  const columns: LineageNode[][] = [];
  for (const node of lineage.nodes) (columns[column.get(node.id)!] ??= []).push(node);
  const row = new Map<string, number>();
  for (let i = 0; i < columns.length; i++) {
    const nodes = columns[i] ?? [];
    const weight = (node: LineageNode) => {
      const parents = edges.filter(({ to }) => to === node.id).map(({ from }) => row.get(from) ?? 0);
      return parents.length > 0 ? parents.reduce((a, b) => a + b, 0) / parents.length : 0;
    };
    nodes.sort((a, b) => weight(a) - weight(b) || nameOf(a).localeCompare(nameOf(b)));
    nodes.forEach((node, at) => row.set(node.id, at));
  }
  const tallest = Math.max(1, ...columns.map((nodes) => nodes?.length ?? 0));
  const height = MARGIN * 2 + tallest * (HEIGHT + GAP_Y) - GAP_Y;
  const placed = new Map<string, Placed>();
  columns.forEach((nodes, i) => {
    const own = (nodes.length * (HEIGHT + GAP_Y) - GAP_Y);
    const top = (height - own) / 2;
    nodes.forEach((node, at) => placed.set(node.id, { node, x: MARGIN + i * (WIDTH + GAP_X), y: top + at * (HEIGHT + GAP_Y) }));
  });
  return {
    nodes: [...placed.values()],
    edges: edges.map(({ from, to, kind }) => ({ from: placed.get(from)!, to: placed.get(to)!, kind })),
    width: MARGIN * 2 + columns.length * (WIDTH + GAP_X) - GAP_X,
    height,
  };
}

export const NODE_WIDTH = WIDTH;
export const NODE_HEIGHT = HEIGHT;
