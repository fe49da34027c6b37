// Paths and query strings as the app's state. Small on purpose: a table of patterns, and one store over `history`.

import { type AnchorHTMLAttributes, type MouseEvent, useMemo, useSyncExternalStore } from "react";

const listeners = new Set<() => void>();
let snapshot = location.pathname + location.search;

function changed(): void {
  snapshot = location.pathname + location.search;
  for (const listener of listeners) listener();
}

addEventListener("popstate", changed);

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function navigate(to: string, options: { replace?: boolean } = {}): void {
  if (to === snapshot) return;
  if (options.replace) history.replaceState(null, "", to);
  else history.pushState(null, "", to);
  changed();
}

export function useLocation(): { path: string; search: URLSearchParams } {
  const href = useSyncExternalStore(subscribe, () => snapshot);
  return useMemo(() => {
    const at = href.indexOf("?");
    return at < 0
      ? { path: href, search: new URLSearchParams() }
      : { path: href.slice(0, at), search: new URLSearchParams(href.slice(at)) };
  }, [href]);
}

export type Patch = Record<string, string | null | undefined>;

/** Sets and (with null or "") removes parameters of the current page's query string. */
export function setSearch(patch: Patch, options: { push?: boolean } = {}): void {
  const search = new URLSearchParams(location.search);
  for (const [key, value] of Object.entries(patch)) {
    if (value === null || value === undefined || value === "") search.delete(key);
    else search.set(key, value);
  }
  const text = readable(search);
  navigate(location.pathname + (text ? `?${text}` : ""), { replace: !options.push });
}

/** Changes of the same parameters within this time are one step back. */
const ONE_STEP = 1000;
let stepped = { what: "", at: 0 };

/** A change that the browser's back button undoes. */
export function stepSearch(patch: Patch): void {
  const what = `${location.pathname} ${Object.keys(patch).sort().join()}`;
  const again = what === stepped.what && Date.now() - stepped.at < ONE_STEP;
  stepped = { what, at: Date.now() };
  setSearch(patch, { push: !again });
}

/** A query string that people can read: what need not be escaped is not. */
export function readable(search: URLSearchParams): string {
  return search.toString().replace(/%2F/g, "/").replace(/%2C/g, ",").replace(/%3A/g, ":").replace(/%40/g, "@");
}

/** The named parts of `path` if it has the form of `pattern`, such as `/runs/:id`. */
export function match(pattern: string, path: string): Record<string, string> | null {
  const wanted = pattern.split("/").filter(Boolean);
  const given = path.split("/").filter(Boolean);
  const params: Record<string, string> = {};
  for (let i = 0; i < wanted.length; i++) {
    const want = wanted[i]!;
    const got = given[i];
    if (want.endsWith("?") && got === undefined) return params;
    if (got === undefined) return null;
    if (want.startsWith(":")) {
      try {
        params[want.replace(/^:|\?$/g, "")] = decodeURIComponent(got);
      } catch {
        return null;
      }
    } else if (want !== got) return null;
  }
  return given.length > wanted.length ? null : params;
}

/** `["models", "a/b"]` -> `/models/a%2Fb` */
export function path(...parts: (string | number)[]): string {
  return `/${parts.map((part) => encodeURIComponent(part)).join("/")}`;
}

export function Link({ href, onClick, replace, ...rest }: AnchorHTMLAttributes<HTMLAnchorElement> & { href: string; replace?: boolean }) {
  const follow = (event: MouseEvent<HTMLAnchorElement>) => {
    onClick?.(event);
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    navigate(href, { replace });
    if (!replace) scrollTo(0, 0);
  };
  return <a href={href} onClick={follow} {...rest} />;
}

/** Where the links that MLflow's clients print (`/#/experiments/1/runs/…`) lead here. */
export function fromHash(hash: string): string | null {
  const route = hash.replace(/^#/, "").replace(/\?.*$/, "");
  const run = match("/experiments/:experiment/runs/:run", route) ?? match("/runs/:run", route);
  if (run) return path("runs", run["run"]!);
  const experiment = match("/experiments/:experiment", route) ?? match("/experiments/:experiment/:rest?", route);
  if (experiment) return path("experiments", experiment["experiment"]!);
  const version = match("/models/:name/versions/:version", route);
  if (version) return path("models", version["name"]!, version["version"]!);
  const model = match("/models/:name", route);
  if (model) return path("models", model["name"]!);
  if (route === "/models") return "/models";
  return route.startsWith("/") ? "/" : null;
}
