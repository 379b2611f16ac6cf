// Submits on their way, one after the other. Each has a key, so that one sent twice is one message; texts outlive a reload.

import { newKey, post, Problem, send, Unreachable } from "./api.js";
import { pause } from "./follow.js";
import { read, write } from "./kept.js";

const LONGEST_WAIT_S = 15;
const TRIES = 6; // at a server that says to come back; one that can't be reached is tried for ever

/** A text on its way out. */
export function textSubmit(sessionId, text, replyAudio) {
  return { key: newKey(), kind: "text", sessionId, text, replyAudio, at: new Date().toISOString() };
}

/** A voice note on its way out. */
export function voiceSubmit(sessionId, blob, { filename, durationS }, replyAudio) {
  const at = new Date().toISOString();
  return { key: newKey(), kind: "voice", sessionId, blob, filename, durationS, replyAudio, at };
}

/** The texts of a session that were written and not accepted before the page went away. */
export const unsent = (sessionId) => read("unsent", []).filter((submit) => submit.sessionId === sessionId);

function keep(submit) {
  if (submit.kind === "text") write("unsent", [...others(submit), submit]);
}

const others = ({ key }) => read("unsent", []).filter((submit) => submit.key !== key);

/** Forget a submit that was accepted, or that nobody wants any more. */
export function forget(submit) {
  write("unsent", others(submit));
}

let last = Promise.resolve();

/**
 * Send a submit when those before it are through; the job. `waiting(isWaiting)` hears when it has to be sent again.
 *
 * Raises Problem for a refusal; the same submit may be delivered again, under its own key.
 */
export function deliver(submit, { waiting, signal }) {
  keep(submit);
  const sent = last.then(() => persist(submit, waiting, signal));
  last = sent.catch(() => {});
  return sent;
}

async function persist(submit, waiting, signal) {
  for (let n = 0; ; n += 1) {
    try {
      const job = await once(submit, signal);
      forget(submit);
      return job;
    } catch (error) {
      const seconds = comeBack(error, n);
      if (seconds === null || signal.aborted) throw error;
      waiting(true);
      await pause(seconds * 1_000, signal);
      if (signal.aborted) throw error;
      waiting(false);
    }
  }
}

function comeBack(error, n) {
  if (error instanceof Unreachable) return Math.min(2 ** n, LONGEST_WAIT_S);
  const isPassing = error instanceof Problem && [409, 502, 503, 504].includes(error.status);
  return isPassing && n < TRIES ? Math.min(error.retryAfter ?? 2 ** n, LONGEST_WAIT_S) : null;
}

async function once(submit, signal) {
  const { key, kind, sessionId, text, replyAudio } = submit;
  if (kind === "text") return post("message/text", { session_id: sessionId, text, reply_audio: replyAudio }, { key, signal });
  const form = new FormData();
  form.append("session_id", sessionId);
  form.append("reply_audio", String(replyAudio));
  form.append("file", submit.blob, submit.filename); // the fields before it: they are looked at first
  return (await send("POST", "message/voice", { form, key, signal })).json();
}
