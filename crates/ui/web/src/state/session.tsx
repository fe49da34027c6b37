// Who is there, the theme, and when the lake has moved on.

import { useSyncExternalStore } from "react";
import { ApiError, json, onUnauthenticated, setCsrf } from "../api/client";
import type { WhoAmI } from "../api/types";
import { paced } from "../lib/paced";

class Store<T> {
  private readonly watchers = new Set<() => void>();

  constructor(private value: T) {}

  get = (): T => this.value;

  set(value: T): void {
    this.value = value;
    for (const watch of this.watchers) watch();
  }

  subscribe = (watch: () => void): (() => void) => {
    this.watchers.add(watch);
    return () => this.watchers.delete(watch);
  };
}

function useStore<T>(store: Store<T>): T {
  return useSyncExternalStore(store.subscribe, store.get);
}

// Session

export type Session = { state: "asking" } | { state: "login" } | { state: "in"; who: WhoAmI };

const session = new Store<Session>({ state: "asking" });

export const useSession = () => useStore(session);

const UNTIL = "session-until";
let expiry: ReturnType<typeof setTimeout> | undefined;

function leave(): void {
  clearTimeout(expiry);
  remember(UNTIL, 0);
  disconnect();
  setCsrf(null);
  session.set({ state: "login" });
}

/**
 * Asks who is there. A browser that gets a challenge in answer to a request with cookies opens its own window for
 * passwords; so cookies go along only while there should be a session, and none is awaited beyond its end.
 */
export async function ask(): Promise<void> {
  onUnauthenticated(leave);
  const until = remembered(UNTIL, 0);
  const mayBeIn = until > Date.now();
  try {
    const who = await json<WhoAmI>("GET", "/api/runlake/auth/whoami", { anonymous: !mayBeIn });
    setCsrf(who.csrf_token ?? null);
    session.set({ state: "in", who });
    clearTimeout(expiry);
    if (mayBeIn && who.auth === "required") expiry = setTimeout(leave, Math.min(until - Date.now(), 2 ** 31 - 1));
  } catch {
    // Without an answer the pages say themselves what is wrong; 401 has led to the log-in.
    if (session.get().state === "asking") session.set({ state: "in", who: { auth: "none", roles: [] } });
  }
}

export async function logIn(name: string, password: string): Promise<void> {
  // Whether the password is right is asked without cookies, again for the sake of the browser's own window.
  const basic = btoa(String.fromCharCode(...new TextEncoder().encode(`${name}:${password}`)));
  try {
    await json("GET", "/api/runlake/auth/whoami", { anonymous: true, authorization: `Basic ${basic}` });
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) throw new ApiError(401, error.code, "The name or the password is not right.");
    throw error;
  }
  const answer = await json<{ csrf_token: string; expires_in_seconds: number }>("POST", "/api/runlake/auth/login", { body: { name, password } });
  setCsrf(answer.csrf_token);
  remember(UNTIL, Date.now() + answer.expires_in_seconds * 1000);
  await ask();
}

export async function logOut(): Promise<void> {
  await json("POST", "/api/runlake/auth/logout", { body: {} });
  leave();
}

// Theme

export type Theme = "system" | "light" | "dark";

function stored(): Theme {
  const value = document.documentElement.dataset["theme"];
  return value === "light" || value === "dark" ? value : "system";
}

const theme = new Store<{ chosen: Theme; dark: boolean }>({ chosen: stored(), dark: isDark(stored()) });

function isDark(chosen: Theme): boolean {
  return chosen === "dark" || (chosen === "system" && matchMedia("(prefers-color-scheme: dark)").matches);
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  const { chosen } = theme.get();
  theme.set({ chosen, dark: isDark(chosen) });
});

export function setTheme(chosen: Theme): void {
  if (chosen === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = chosen;
  try {
    if (chosen === "system") localStorage.removeItem("runlake.theme");
    else localStorage.setItem("runlake.theme", chosen);
  } catch {
    // For this page only, then.
  }
  theme.set({ chosen, dark: isDark(chosen) });
}

export const useTheme = () => useStore(theme);

/** What a colour of the style sheet is now, for canvases. */
export function color(name: string): string {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

// Live

/** `lost`: it was connected, and is not. */
const live = new Store<{ position: number; connected: boolean; lost: boolean }>({ position: 0, connected: false, lost: false });
let source: EventSource | null = null;
let reopening: ReturnType<typeof setTimeout> | undefined;
let reopen = () => {};

export const useLive = () => useStore(live);

/** Calls back whenever the lake has moved on. Where the server does not offer it, never. */
export function onChange(handler: () => void): () => void {
  let seen = live.get().position;
  return live.subscribe(() => {
    const { position } = live.get();
    if (position !== seen) {
      seen = position;
      handler();
    }
  });
}

/**
 * Does `work` when the lake has moved on: within `pause`, however often it moves, never twice at once, and for a page that
 * nobody sees not before it is seen.
 */
export function refreshing(work: () => unknown, pause: number): () => void {
  let missed = false;
  const { call, stop } = paced(work, pause);
  const off = onChange(() => {
    if (document.hidden) missed = true;
    else call();
  });
  const seen = () => {
    if (document.hidden || !missed) return;
    missed = false;
    call();
  };
  document.addEventListener("visibilitychange", seen);
  return () => {
    document.removeEventListener("visibilitychange", seen);
    off();
    stop();
  };
}

export function connect(): void {
  if (source || reopening !== undefined || typeof EventSource === "undefined") return;
  let failures = 0;
  let ever = false;
  const open = () => {
    clearTimeout(reopening);
    reopening = undefined;
    const mine = (source = new EventSource("/api/runlake/changes"));
    mine.addEventListener("open", () => {
      failures = 0;
      ever = true;
      live.set({ ...live.get(), connected: true, lost: false });
    });
    mine.addEventListener("change", (event) => {
      try {
        const { position } = JSON.parse((event as MessageEvent<string>).data) as { position: number };
        live.set({ position, connected: true, lost: false });
      } catch {
        // A message that is not ours.
      }
    });
    mine.addEventListener("error", () => {
      mine.close();
      if (source !== mine) return;
      source = null;
      live.set({ ...live.get(), connected: false, lost: ever });
      failures += 1;
      // A server without the route answers at once each time: give up soon. One that had it comes back some day.
      if (ever || failures < 6) reopening = setTimeout(open, Math.min(ever ? 15_000 : 60_000, 2000 * 3 ** (failures - 1)));
    });
  };
  reopen = () => {
    if (reopening !== undefined) open();
  };
  open();
}

function disconnect(): void {
  clearTimeout(reopening);
  reopening = undefined;
  source?.close();
  source = null;
  live.set({ ...live.get(), connected: false, lost: false });
}

// The computer is awake, or its network back: no need to wait for the clock.
addEventListener("online", () => reopen());
addEventListener("visibilitychange", () => document.hidden || reopen());

// Small things that a browser remembers

export function remembered<T>(key: string, otherwise: T): T {
  try {
    const text = localStorage.getItem(`runlake.${key}`);
    return text === null ? otherwise : (JSON.parse(text) as T);
  } catch {
    return otherwise;
  }
}

export function remember(key: string, value: unknown): void {
  try {
    localStorage.setItem(`runlake.${key}`, JSON.stringify(value));
  } catch {
    // Full or forbidden: it is only comfort.
  }
}
