// Tokens of a login. Each refresh token is good once, so one refresh runs at a time, in all tabs together.

import { onOtherTab, read, write } from "./kept.js";

const EARLY_MS = 30_000; // or a quarter of a token's life, if that is less
const LOCK = "parley.refresh";
const LEASE_MS = 15_000;

/** What is kept of the login: `access`, `refresh` and `until`, the moment from which `access` is not used any more; null when signed out. */
export const kept = () => read("tokens");

/** Whether somebody has signed in here. */
export const isSignedIn = () => kept() !== null;

/** Keep a TokenPair of the API; null signs out. */
export function keep(pair) {
  if (pair === null) return write("tokens", null);
  const life = pair.expires_in * 1_000;
  const until = Date.now() + life - Math.min(EARLY_MS, life / 4);
  return write("tokens", { access: pair.access_token, refresh: pair.refresh_token, until });
}

/** Call `listener` when another tab has signed in or out. */
export function onSignInElsewhere(listener) {
  let before = isSignedIn();
  onOtherTab("tokens", (tokens) => {
    if ((tokens !== null) !== before) listener(tokens !== null);
    before = tokens !== null;
  });
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
    const tokens = kept();
    if (!tokens || tokens.access !== stale) return tokens?.access ?? null;
    const pair = await refresh(tokens.refresh);
    keep(pair);
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
  for (;;) {
    const lease = read("lease");
    if (!lease || lease.until < Date.now()) {
      write("lease", { mine, until: Date.now() + LEASE_MS });
      await pause(60); // whoever wrote last has it
      if (read("lease")?.mine === mine) break;
    }
    await pause(100);
  }
  try {
    return await task();
  } finally {
    write("lease", null);
  }
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
