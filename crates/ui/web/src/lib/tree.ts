// Path-like names as a tree, and runs under their parents.

import type { Run } from "../api/types";

export interface Branch<T> {
  name: string;
  path: string;
  item: T | null;
  children: Branch<T>[];
  /** How many items are at and below this branch. */
  size: number;
}

/** A folder with a single child and no item of its own is drawn together with it: `a/b/c`. */
export function pathTree<T>(items: readonly T[], nameOf: (item: T) => string): Branch<T>[] {
  const root: Branch<T> = { name: "", path: "", item: null, children: [], size: 0 };
  for (const item of items) {
    const parts = nameOf(item).split("/").filter(Boolean);
    let at = root;
    parts.forEach((part, i) => {
      const last = i === parts.length - 1;
      let next = at.children.find((child) => child.name === part && (!last || child.item === null));
      if (!next) {
        next = { name: part, path: at.path ? `${at.path}/${part}` : part, item: null, children: [], size: 0 };
        at.children.push(next);
      }
      at = next;
    });
    at.item = item;
  }
  const settle = (branch: Branch<T>): Branch<T> => {
    let out = branch;
    while (out.item === null && out.children.length === 1) {
      const child = out.children[0]!;
      out = { ...child, name: out.name ? `${out.name}/${child.name}` : child.name };
    }
    out.children = out.children.map(settle).sort((a, b) => a.name.localeCompare(b.name));
    out.size = (out.item ? 1 : 0) + out.children.reduce((sum, child) => sum + child.size, 0);
    return out;
  };
  return root.children.map(settle).sort((a, b) => a.name.localeCompare(b.name));
}

export interface TreeRow {
  run: Run;
  depth: number;
  children: number;
}

/** Runs with their children below them, where `open` says so. Children whose parent is not here stand alone. */
export function nested(runs: readonly Run[], open: (id: string) => boolean): TreeRow[] {
  const here = new Set(runs.map((run) => run.id));
  const below = new Map<string, Run[]>();
  const top: Run[] = [];
  for (const run of runs) {
    if (run.parentId && run.parentId !== run.id && here.has(run.parentId)) {
      const list = below.get(run.parentId);
      if (list) list.push(run);
      else below.set(run.parentId, [run]);
    } else top.push(run);
  }
  const out: TreeRow[] = [];
  const seen = new Set<string>();
  const add = (run: Run, depth: number) => {
    if (seen.has(run.id)) return;
    seen.add(run.id);
    const children = below.get(run.id) ?? [];
    out.push({ run, depth, children: children.length });
    if (open(run.id)) for (const child of children) add(child, depth + 1);
  };
  for (const run of top) add(run, 0);
  return out;
}
