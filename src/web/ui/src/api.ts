// The client of the API: one place that sends requests, and one shape of what can go wrong.

import { t } from "./texts";
import type { Session } from "./types";

/** What the daemon says when it refuses (RFC 9457), or what happened instead of an answer. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly kind: string,
    readonly title: string,
    readonly hint: string | undefined,
    readonly requestId: string | undefined,
  ) {
    super(title);
  }
}

let session: Session | undefined;

/** Who we are; asked once. */
export async function whoami(): Promise<Session> {
  session ??= await get<Session>("/api/session");
  return session;
}

/** Which pages are switched on; before anybody has asked who is there, none. */
export const pages = () => session?.pages ?? { dashboard: false, workspace: false, docs: false };

/** Whether an address is one of a page that is switched on. */
export const isOn = (address: string) => (address.startsWith("/workspace") ? pages().workspace : pages().dashboard);

export const role = () => session?.role ?? "viewer";
const RANK = { viewer: 0, operator: 1, admin: 2 };
export const may = (least: keyof typeof RANK) => RANK[role()] >= RANK[least];

export const get = <T>(path: string, signal?: AbortSignal) => request<T>("GET", path, undefined, signal);
export const post = <T>(path: string, body?: unknown) => request<T>("POST", path, body);
export const remove = <T>(path: string) => request<T>("DELETE", path);

/** A query string of what is set. */
export function query(parameters: Record<string, string | number | undefined>): string {
  const set = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== "");
  return set.length ? "?" + new URLSearchParams(set.map(([name, value]) => [name, String(value)])) : "";
}

export async function request<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const response = await send(method, path, { body, signal });
  return (response.status === 204 ? undefined : await response.json()) as T;
}

interface Sent {
  body?: unknown;
  signal?: AbortSignal | undefined;
  headers?: Record<string, string>;
}

/** The answer itself, for what is no JSON or has headers that matter. */
export async function send(method: string, path: string, { body, signal, headers: more }: Sent = {}): Promise<Response> {
  const headers: Record<string, string> = { Accept: "application/json, */*;q=0.5", ...more };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method !== "GET" && session?.csrf_token) headers["X-CSRF-Token"] = session.csrf_token;
  // A press of a button is done once, however often the network tries.
  if (method === "POST" && path !== "/api/login") headers["Idempotency-Key"] = token();
  const init: RequestInit = { method, headers, credentials: "same-origin", cache: "no-store" };
  if (signal) init.signal = signal;
  if (body !== undefined) init.body = JSON.stringify(body);
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch (err) {
    if (signal?.aborted) throw err;
    throw new ApiError(0, "unreachable", t.error.unreachable, t.error.unreachableHint, undefined);
  }
  if (!response.ok) {
    const error = await problem(response);
    // The session has ended: the page itself is now the login page.
    if (error.status === 401 && session) location.reload();
    throw error;
  }
  return response;
}

async function problem(response: Response): Promise<ApiError> {
  const id = response.headers.get("X-Request-Id") ?? undefined;
  try {
    const { kind, title, hint, request_id } = await response.json();
    return new ApiError(response.status, kind, title, hint, request_id ?? id);
  } catch {
    return new ApiError(response.status, "unknown", t.error.status(response.status), undefined, id);
  }
}

/** Random, and good without HTTPS, where `crypto.randomUUID` is absent. */
function token(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** What has to be sent with every change. */
export const csrf = () => session?.csrf_token;
