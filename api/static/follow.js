// Following a job to its end: its events while they flow, polls while they don't, whatever restarts in between.

import { Problem, send } from "./api.js";
import { eventsOf } from "./events.js";

const FIRST_WAIT_MS = 300;
const LONGEST_WAIT_MS = 8_000;
const TRIES = 2; // of events that break off without a word, before it is polled
const POLLS = 10; // before events are tried again

export const ENDED = new Set(["succeeded", "failed", "cancelled", "expired"]);

/**
 * Follow a job. `told(event, data)` hears the API's events, and "gone" when the job is deleted; polls are told as
 * `status` and `end`. `place` is `{ last }`, the id of the last event, kept by the caller to go on from.
 */
export async function follow(jobId, { told, place, signal }) {
  let wait = FIRST_WAIT_MS;
  let mute = 0;
  while (!signal.aborted) {
    const before = place.last;
    try {
      if (await listen(jobId, told, place, signal)) return;
    } catch (error) {
      if (signal.aborted) return;
      if (isOver(error)) return void told("gone");
      if (error instanceof Problem && error.status === 401) return;
    }
    mute = place.last === before ? mute + 1 : 0;
    if (mute === 0) wait = FIRST_WAIT_MS;
    await pause(jitter(wait), signal);
    wait = Math.min(wait * 2, LONGEST_WAIT_MS);
    if (mute < TRIES || signal.aborted) continue;
    if (await poll(jobId, { told, signal, most: POLLS })) return;
  }
}

async function listen(jobId, told, place, signal) {
  const headers = { Accept: "text/event-stream", ...(place.last ? { "Last-Event-ID": place.last } : {}) };
  const response = await send("GET", `job/${jobId}/events`, { headers, signal });
  let hasEnded = false;
  for await (const { event, id, data } of eventsOf(response)) {
    if (signal.aborted) return true;
    if (id) place.last = id;
    told(event, data);
    hasEnded ||= event === "end"; // the server closes then: to hang up first would look like a failure
  }
  return hasEnded;
}

/** Poll a job, `most` times, as often as the API asks for; whether it has ended. A failure ends it too soon: false. */
export async function poll(jobId, { told, signal, most = Infinity, pace = 1 }) {
  let etag = null;
  for (let n = 0; n < most && !signal.aborted; n += 1) {
    let seconds = 1;
    try {
      const response = await send("GET", `job/${jobId}`, { headers: etag ? { "If-None-Match": etag } : {}, signal });
      etag = response.headers.get("ETag");
      seconds = Number(response.headers.get("Retry-After")) || 1;
      if (response.status !== 304) {
        const job = await response.json();
        const over = ENDED.has(job.status);
        told(over ? "end" : "status", job);
        if (over) return true;
      }
    } catch (error) {
      if (signal.aborted) return true;
      if (isOver(error)) {
        told("gone");
        return true;
      }
      if (error instanceof Problem && error.status === 401) return true;
      if (most !== Infinity) return false;
      seconds = 3;
    }
    await pause(seconds * pace * 1_000, signal);
  }
  return signal.aborted;
}

const isOver = (error) => error instanceof Problem && error.status === 404;
const jitter = (ms) => ms * (0.75 + Math.random() / 2);

/** Wait; an abort ends it. */
export function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done() {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    }
    signal?.addEventListener("abort", done);
  });
}
