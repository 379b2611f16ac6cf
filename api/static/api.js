// The public API: one function for every request. Errors are `Problem` (an answer) or `Unreachable` (none).

import { Signals } from "./signals.js";
import * as tokens from "./tokens.js";

const PREFIX = "/api/v1";

/** "online" and "offline", as requests succeed and fail; "signed-out" when the login is over. */
export const connection = new Signals();

/** A refusal by the API: problem+json. */
export class Problem extends Error {
  constructor(status, body, retryAfter) {
    super(body.detail ?? `HTTP ${status}`);
    this.status = status;
    this.code = body.code ?? "error";
    this.detail = body.detail ?? "";
    this.fields = body.errors ?? [];
    this.requestId = body.request_id ?? null;
    this.retryAfter = retryAfter;
  }
}

/** No answer came. */
export class Unreachable extends Error {}

/**
 * Send a request and return the Response, whose status is good (304 too).
 *
 * `json` or `form` is the body, `key` the Idempotency-Key, `open` sends no token.
 */
export async function send(method, path, { json, form, headers = {}, key, signal, open = false } = {}) {
  const all = { ...headers };
  if (json !== undefined) all["Content-Type"] = "application/json";
  if (key) all["Idempotency-Key"] = key;
  const body = json === undefined ? form : JSON.stringify(json);
  const go = (token) => {
    if (token) all.Authorization = `Bearer ${token}`;
    return exchange(path, { method, headers: all, body, signal });
  };
  const known = !open && tokens.isSignedIn();
  const token = known ? await tokens.current(refresh) : null;
  if (known && !token) throw signedOut();
  let response = await go(token);
  let problem = await problemOf(response);
  if (isOver(problem) && !open) {
    const next = token && (await tokens.renew(token, refresh));
    if (next) {
      response = await go(next);
      problem = await problemOf(response);
    }
    if (isOver(problem)) signedOut();
  }
  if (problem) throw problem;
  return response;
}

/** Whether the login is; a password that is wrong ends none. */
const isOver = (problem) => problem?.code === "unauthorized";

function signedOut() {
  connection.emit("signed-out");
  return new Problem(401, { code: "unauthorized" }, null);
}

async function exchange(path, options) {
  try {
    const response = await fetch(path.startsWith("/") ? path : `${PREFIX}/${path}`, options);
    connection.emit("online");
    return response;
  } catch (error) {
    if (options.signal?.aborted) throw error;
    connection.emit("offline");
    throw new Unreachable(error.message);
  }
}

async function problemOf(response) {
  if (response.ok || response.status === 304) return null;
  const body = await response.json().catch(() => ({}));
  const seconds = Number(response.headers.get("Retry-After"));
  return new Problem(response.status, body, seconds || null);
}

async function refresh(token) {
  try {
    return await post("auth/refresh", { refresh_token: token }, { open: true });
  } catch (error) {
    if (error instanceof Problem && error.status < 500 && error.status !== 429) return null;
    throw error;
  }
}

async function bodyOf(response) {
  return response.status === 204 ? null : response.json();
}

export const get = async (path, options) => bodyOf(await send("GET", path, options));
export const post = async (path, json, options) => bodyOf(await send("POST", path, { ...options, json }));
export const patch = async (path, json, options) => bodyOf(await send("PATCH", path, { ...options, json }));
export const remove = async (path, options) => bodyOf(await send("DELETE", path, options));

/** A page of a list; `query` may hold its filters. */
export function list(path, query = {}, options) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined);
  return get(`${path}?${new URLSearchParams(given)}`, options);
}

/** All items of a list, page by page, `most` at the most. */
export async function listAll(path, query = {}, most = 1_000) {
  const items = [];
  let cursor = null;
  do {
    const page = await list(path, { limit: 100, ...query, cursor });
    items.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor && items.length < most);
  return items;
}

/** A word that no other request has, for `key`. `crypto.randomUUID` is there over https only. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
