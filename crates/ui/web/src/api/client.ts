// One way to the server: JSON in, JSON out, errors with what to do.

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
    this.name = "ApiError";
  }

  /** What the person in front of the screen can do about it. */
  get advice(): string {
    if (this.status === 0) return "Check that the server is running and reachable, then try again.";
    if (this.status === 401) return "Check name and password.";
    if (this.status === 403) return "Ask an administrator of this server for a role that allows it.";
    if (this.status === 404) return "It may have been deleted, or the address is wrong.";
    if (this.status === 409) return "Somebody else may have changed it: reload and look again.";
    if (this.status === 429) return "The server is busy. Wait a few seconds and try again.";
    if (this.status === 501) return "This server does not offer it.";
    if (this.status >= 500) return "The server's log names the reason. Try again, and tell its operator if it stays.";
    return "Change the request and try again.";
  }
}

type Query = Record<string, string | number | boolean | readonly string[] | undefined | null>;

export interface CallOptions {
  query?: Query;
  body?: unknown;
  signal?: AbortSignal;
  accept?: string;
  /** Without cookies. */
  anonymous?: boolean;
  authorization?: string;
}

let csrf: string | null = null;
let unauthenticated: () => void = () => {};

export function setCsrf(token: string | null): void {
  csrf = token;
}

export function onUnauthenticated(handler: () => void): void {
  unauthenticated = handler;
}

export function url(path: string, query: Query = {}): string {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value === undefined || value === null) continue;
    if (Array.isArray(value)) for (const one of value) search.append(key, one);
    else search.append(key, String(value));
  }
  const text = search.toString();
  return text ? `${path}?${text}` : path;
}

/** Sends a request; an answer that is an error is thrown. */
export async function send(method: string, path: string, options: CallOptions = {}): Promise<Response> {
  const headers: Record<string, string> = { "X-Requested-With": "runlake-ui" };
  if (options.accept) headers["Accept"] = options.accept;
  if (options.authorization) headers["Authorization"] = options.authorization;
  let body: BodyInit | undefined;
  if (options.body instanceof Blob) body = options.body;
  else if (options.body !== undefined) {
    headers["Content-Type"] = "application/json";
    body = JSON.stringify(options.body);
  }
  if (csrf && method !== "GET") headers["X-CSRF-Token"] = csrf;
  let response: Response;
  try {
    response = await fetch(url(path, options.query), { method, headers, body, signal: options.signal, credentials: options.anonymous ? "omit" : "same-origin" });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError(0, "UNREACHABLE", "The server did not answer.");
  }
  if (response.ok) return response;
  const error = await asError(response);
  if (error.status === 401 && !path.endsWith("/auth/login") && !options.authorization) unauthenticated();
  throw error;
}

async function asError(response: Response): Promise<ApiError> {
  const text = await response.text().catch(() => "");
  try {
    const told = JSON.parse(text) as { error_code?: string; message?: string };
    return new ApiError(response.status, told.error_code ?? "ERROR", told.message ?? `The server answered ${response.status}.`);
  } catch {
    return new ApiError(response.status, "ERROR", text.slice(0, 300) || `The server answered ${response.status}.`);
  }
}

export async function json<T>(method: string, path: string, options: CallOptions = {}): Promise<T> {
  const response = await send(method, path, options);
  const text = await response.text();
  return (text ? JSON.parse(text) : {}) as T;
}

const MLFLOW = "/ajax-api/2.0/mlflow/";
const OWN = "/api/runlake/";

export const mlflow = {
  get: <T>(path: string, query?: Query, signal?: AbortSignal) => json<T>("GET", MLFLOW + path, { query, signal }),
  post: <T>(path: string, body: unknown, signal?: AbortSignal) => json<T>("POST", MLFLOW + path, { body, signal }),
  patch: <T>(path: string, body: unknown) => json<T>("PATCH", MLFLOW + path, { body }),
  delete: <T>(path: string, body: unknown) => json<T>("DELETE", MLFLOW + path, { body }),
};

export const own = {
  get: <T>(path: string, query?: Query, signal?: AbortSignal) => json<T>("GET", OWN + path, { query, signal }),
  post: <T>(path: string, body: unknown, signal?: AbortSignal) => json<T>("POST", OWN + path, { body, signal }),
  put: <T>(path: string, body: unknown) => json<T>("PUT", OWN + path, { body }),
  delete: <T>(path: string, body: unknown) => json<T>("DELETE", OWN + path, { body }),
};
