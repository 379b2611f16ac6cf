// Tokens of a login. Each refresh token is good once, so one refresh runs at a time, in all tabs together.

import { onOtherTab, read, write } from "./kept.js";
import * as vault from "./vault.js";

const EARLY_MS = 30_000; // or a quarter of a token's life, if that is less
const LOCK = "parley.refresh";
const LEASE_MS = 15_000;

/** What is kept of the login, null when signed out: `access`, `refresh`, and `until`, from when on `access` is not used. */
export const kept = () => read("tokens");

/** Whether somebody has signed in here. */
export const isSignedIn = () => kept() !== null;

/** Keep a TokenPair of the API; null signs out. */
export async function keep(pair) {
  const tokens = pair && kindOf(pair);
  await vault.put("tokens", tokens); // first: who is told by the other already finds it
  write("tokens", tokens);
}

function kindOf(pair) {
  const life = pair.expires_in * 1_000;
  const until = Date.now() + life - Math.min(EARLY_MS, life / 4);
  return { access: pair.access_token, refresh: pair.refresh_token, until };
}

/** Call `listener(isSignedIn)` when another tab has signed in or out, or has renewed the tokens. */
export function onSignInElsewhere(listener) {
  onOtherTab("tokens", (tokens) => listener(tokens !== null));
}

/** The access token to send now, made anew by `refresh(token)` when it is about to end; null when signed out. */
export async function current(refresh) {
  const tokens = kept();
  if (!tokens) return null;
  if (tokens.until > Date.now()) return tokens.access;
  return renew(tokens.access, refresh);
}

/** The access token after `stale`: another tab's, or one that `refresh(token)` gets. */
export function renew(stale, refresh) {
  return alone(async () => {
    const shared = await vault.look("tokens");
    const tokens = shared === undefined ? kept() : shared;
    if (tokens && tokens.access !== stale) write("tokens", tokens);
    if (!tokens || tokens.access !== stale) return tokens?.access ?? null;
    const pair = await refresh(tokens.refresh);
    await keep(pair);
    return pair?.access_token ?? null;
  });
}

let queue = Promise.resolve();

function alone(task) {
  if (navigator.locks) return navigator.locks.request(LOCK, task);
  const run = queue.then(() => leased(task)); // plain http from another machine: no locks there
  queue = run.catch(() => {});
  return run;
}

async function leased(task) {
  const mine = Math.random();
  while (!(await vault.lease(mine, Date.now() + LEASE_MS))) await new Promise((resolve) => setTimeout(resolve, 100));
  try {
    return await task();
  } finally {
    await vault.put("lease", null);
  }
}
