// A turn: what the person said, the job that answers it, and the reply. Plain objects, changed here only.

import { ENDED } from "./follow.js";

/** A turn that is known by its job. */
export function newTurn(jobId) {
  return { jobId, seq: null, said: null, reply: null, job: null, place: { last: null }, sentences: 0, outgoing: null };
}

/** A turn that goes out now: `outgoing` is its submit, until there is a job. */
export function outgoingTurn(submit) {
  const said = { kind: submit.kind, text: submit.text ?? null, blob: submit.blob ?? null, at: submit.at };
  if (submit.kind === "voice") said.durationS = submit.durationS;
  return { ...newTurn(null), said, outgoing: { ...submit, state: "sending", error: null }, isOurs: true };
}

/** Take in a message of the conversation. */
export function takeMessage(turn, message) {
  const isReply = message.role === "assistant";
  turn.seq = isReply ? message.seq - 1 : message.seq;
  const audio = message.audio && { url: message.audio.url, durationS: message.audio.duration_s };
  const words = { id: message.id, kind: message.kind, text: message.text, at: message.created_at, audio };
  if (isReply) turn.reply = { ...words, finish: message.finish_reason, isWhole: true };
  else turn.said = { ...words, blob: turn.said?.blob ?? null, durationS: audio?.durationS ?? turn.said?.durationS };
}

/** Take in the job as the API shows it. */
export function takeJob(turn, job) {
  const runsAgain = turn.job && ENDED.has(turn.job.status) && !ENDED.has(job.status);
  if (runsAgain) Object.assign(turn, { place: { last: null }, sentences: 0 });
  turn.job = job;
  turn.jobId = job.id;
  const { result } = job;
  if (!turn.said) turn.said = { kind: job.kind, text: null, at: job.created_at };
  turn.said.id ??= job.message_id;
  turn.said.at ??= job.created_at;
  if (job.kind === "voice" && job.message_id) turn.said.audio ??= audioOf(job.message_id, turn.said.durationS);
  if (result && result.transcript !== null) turn.said.text = result.transcript;
  if (result && result.text !== null) {
    const finish = result.finish_reason;
    turn.reply = { ...turn.reply, id: result.message_id, text: result.text, finish, at: job.finished_at, isWhole: true };
    if (result.audio) turn.reply.audio = audioOf(result.message_id, result.audio.duration_s);
  } else if (ENDED.has(job.status)) {
    turn.reply = null; // what was said of it was not kept
  }
}

const audioOf = (messageId, durationS) => ({ url: `/api/v1/message/${messageId}/audio`, durationS });

/** Take in an event of the job; whether anything changed. */
export function takeEvent(turn, event, data) {
  if (event === "status" || event === "end") takeJob(turn, data);
  else if (event === "transcript") turn.said.text = data.text;
  else if (event === "delta") turn.reply = { ...turn.reply, text: spliced(turn.reply?.text ?? "", data), isWhole: false };
  else if (event === "reset") Object.assign(turn, { reply: null, sentences: 0 });
  else if (event === "audio") turn.sentences = data.index;
  else return false;
  return true;
}

function spliced(text, { offset, text: piece }) {
  const points = Array.from(text); // the API counts code points
  return points.length === offset ? text + piece : points.slice(0, offset).join("") + piece;
}

/** Whether its job has still something to do. */
export const isUnfinished = (turn) => turn.job !== null && !ENDED.has(turn.job.status);

/** Whether it may have to be looked up how its job stands: it has no reply. */
export const isUnanswered = (turn) => turn.jobId !== null && turn.job === null && !turn.reply;

/** Whether there is, or will be, a spoken reply being made. */
export const isBeingSpoken = (turn) => isUnfinished(turn) && !isCancelled(turn) && turn.sentences > 0;

/** Whether somebody has stopped its job, or is about to. */
export const isCancelled = (turn) => ["cancelling", "cancelled"].includes(turn.job?.status);

/**
 * What is going on, as the key of its words: null when the turn is done.
 *
 * `place` is how many messages are before it.
 */
export function stageOf(turn) {
  if (turn.outgoing) return turn.outgoing.state; // "sending", "waiting_here" or "unsent"
  const { job } = turn;
  if (!job || job.status === "succeeded") return null;
  if (job.status === "queued") return job.queue_position > 0 ? "place" : job.attempt > 0 ? "again" : "next";
  if (job.status !== "running") return job.status === "expired" ? "failed" : job.status;
  if (job.stage === "reply") return turn.reply?.text ? "writing" : "reply";
  return job.stage ?? "starting";
}
