// The state of the runs page as its query string says it, and saved views of it.

import { DEFAULT_COLUMNS } from "./columns";
import type { Spread, XAxis } from "./series";

export type Layout = "table" | "split" | "charts";
export type CardKind = "scatter" | "parallel" | "bar" | "box" | "contour" | "expression" | "timeline";

/** A chart beside those of single metrics: columns it shows, in the order its kind wants them; or one expression. */
export interface CardSpec {
  kind: CardKind;
  columns: string[];
}

export interface RunsView {
  filter: string;
  life: "active" | "deleted" | "all";
  sort: { id: string; descending: boolean };
  columns: string[];
  pinned: string[];
  groupBy: string[];
  tree: boolean;
  varying: boolean;
  layout: Layout;
  selected: string[];
  /** Runs drawn: the first so many, or those selected; and runs for which that is turned round. */
  draw: number | "selected";
  flipped: string[];
  x: XAxis;
  smoothing: number;
  logX: boolean;
  logY: boolean;
  clip: boolean;
  bands: boolean;
  spread: Spread;
  metrics: string;
  cards: CardSpec[];
  /** Ranges brushed in parallel coordinates. */
  brush: Record<string, [number, number]>;
}

const list = (text: string | null) => (text ? text.split(",").filter(Boolean).map((part) => part.replace(/~c/g, ",").replace(/~s/g, ";").replace(/~t/g, "~")) : []);
export const joined = (ids: readonly string[]) => ids.map((id) => id.replace(/~/g, "~t").replace(/;/g, "~s").replace(/,/g, "~c")).join(",");

export const DEFAULT_DRAWN = 20;

export function readView(search: URLSearchParams): RunsView {
  const sort = search.get("sort") ?? "attributes.start_time:desc";
  const at = sort.lastIndexOf(":");
  const draw = search.get("draw");
  const layout = search.get("view");
  const x = search.get("x");
  const life = search.get("life");
  return {
    filter: search.get("q") ?? "",
    life: life === "deleted" || life === "all" ? life : "active",
    sort: { id: sort.slice(0, at), descending: sort.slice(at + 1) !== "asc" },
    columns: search.has("cols") ? list(search.get("cols")) : DEFAULT_COLUMNS,
    pinned: list(search.get("pin")),
    groupBy: list(search.get("group")),
    tree: search.get("tree") === "1",
    varying: search.get("vary") === "1",
    layout: layout === "table" || layout === "charts" ? layout : "split",
    selected: list(search.get("sel")),
    draw: draw === "selected" ? "selected" : Math.min(1000, Math.max(1, Number(draw) || DEFAULT_DRAWN)),
    flipped: list(search.get("eye")),
    x: x === "wall" || x === "relative" ? x : x?.startsWith("metric:") && x.length > 7 ? (x as XAxis) : "step",
    smoothing: Math.min(0.99, Math.max(0, Number(search.get("smooth")) || 0)),
    logX: search.get("logx") === "1",
    logY: search.get("logy") === "1",
    clip: search.get("clip") === "1",
    bands: search.get("bands") === "1",
    spread: search.get("spread") === "sd" ? "deviation" : "range",
    metrics: search.get("m") ?? "",
    cards: cards(search.get("cards")),
    brush: brush(search.get("brush")),
  };
}

const flag = (on: boolean) => (on ? "1" : null);

/** What to write into the query string for some changed parts of the view; what is as by default is left out. */
export function writeView(patch: Partial<RunsView>): Record<string, string | null> {
  const out: Record<string, string | null> = {};
  const put = <K extends keyof RunsView>(key: K, name: string, text: (value: RunsView[K]) => string | null) => {
    if (key in patch) out[name] = text(patch[key] as RunsView[K]);
  };
  put("filter", "q", (value) => value || null);
  put("life", "life", (value) => (value === "active" ? null : value));
  put("sort", "sort", ({ id, descending }) => (id === "attributes.start_time" && descending ? null : `${id}:${descending ? "desc" : "asc"}`));
  put("columns", "cols", (value) => (joined(value) === joined(DEFAULT_COLUMNS) ? null : joined(value) || ","));
  put("pinned", "pin", (value) => joined(value) || null);
  put("groupBy", "group", (value) => joined(value) || null);
  put("tree", "tree", flag);
  put("varying", "vary", flag);
  put("layout", "view", (value) => (value === "split" ? null : value));
  put("selected", "sel", (value) => joined(value) || null);
  put("draw", "draw", (value) => (value === DEFAULT_DRAWN ? null : String(value)));
  put("flipped", "eye", (value) => joined(value) || null);
  put("x", "x", (value) => (value === "step" ? null : value));
  put("smoothing", "smooth", (value) => (value === 0 ? null : String(Number(value.toFixed(3)))));
  put("logX", "logx", flag);
  put("logY", "logy", flag);
  put("clip", "clip", flag);
  put("bands", "bands", flag);
  put("spread", "spread", (value) => (value === "deviation" ? "sd" : null));
  put("metrics", "m", (value) => value || null);
  put("cards", "cards", (value) => value.map(({ kind, columns }) => `${kind}(${joined(columns)})`).join(";") || null);
  put("brush", "brush", (value) => Object.entries(value).map(([id, [low, high]]) => `${joined([id])}=${low}..${high}`).join(",") || null);
  return out;
}

const KINDS: CardKind[] = ["scatter", "parallel", "bar", "box", "contour", "expression", "timeline"];

function cards(text: string | null): CardSpec[] {
  const out: CardSpec[] = [];
  for (const part of text?.split(";") ?? []) {
    const hit = /^(\w+)\((.*)\)$/.exec(part);
    if (hit && KINDS.includes(hit[1] as CardKind)) out.push({ kind: hit[1] as CardKind, columns: list(hit[2]!) });
  }
  return out;
}

function brush(text: string | null): RunsView["brush"] {
  const out: RunsView["brush"] = {};
  for (const part of text?.split(",") ?? []) {
    const hit = /^(.*)=([-+.\deE]+)\.\.([-+.\deE]+)$/.exec(part);
    if (hit) out[list(hit[1]!)[0] ?? ""] = [Number(hit[2]), Number(hit[3])];
  }
  return out;
}

export interface SavedView {
  name: string;
  search: string;
}

const VIEW_TAG = "runlake.view.";

/** The tag of an experiment that keeps a view; signs that tags may not have in their names are written as numbers. */
export function viewTag(name: string): string {
  return VIEW_TAG + name.replace(/[^A-Za-z0-9 _-]/gu, (sign) => `:${sign.codePointAt(0)!.toString(16)}:`);
}

/** The views among the tags of an experiment, by name. What is not the search part of an address is no view. */
export function sharedViews(tags: readonly { key: string; value: string }[]): SavedView[] {
  const name = (key: string) => key.slice(VIEW_TAG.length).replace(/:([0-9a-f]{1,6}):/g, (all, code: string) => (parseInt(code, 16) <= 0x10ffff ? String.fromCodePoint(parseInt(code, 16)) : all));
  return tags
    .filter(({ key, value }) => key.startsWith(VIEW_TAG) && value.startsWith("?"))
    .map(({ key, value }) => ({ name: name(key), search: value }))
    .sort((a, b) => a.name.localeCompare(b.name));
}
