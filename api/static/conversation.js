// A conversation as this page knows it: its turns, newest page first, and the jobs that are under way.

import { get, list, post, Problem } from "./api.js";
import { follow, poll } from "./follow.js";
import { deliver, forget, textSubmit, unsent, voiceSubmit } from "./outbox.js";
import { Signals } from "./signals.js";
import { isUnanswered, isUnfinished, newTurn, outgoingTurn, takeEvent, takeJob, takeMessage } from "./turns.js";

const PAGE = 60; // messages
const RECENT = 20; // of them, when one comes back
const JOBS = 50;
const QUEUE_PACE = 4; // those that wait behind the one that is followed are looked at less often
const MOST_POLLED = 4;

/**
 * Signals: "turn" (a turn is new or changed), "gone" (a turn is no more), "older" (a page came before the others),
 * "heard" (an event of a job: turn, event, data), "deleted" (there is no such session any more).
 */
export class Conversation extends Signals {
  turns = []; // in order; those that go out now are the last
  hasOlder = false;
  isOpen = false;
  #cursor = null;
  #loading = null;
  #following = new Map(); // turn → { signal's controller, how: "follow" or "poll" }
  #closed = new AbortController();

  constructor(session) {
    super();
    this.session = session;
  }

  /** Load the newest page and go on with what is under way. Raises Problem and Unreachable. */
  async open() {
    const [page, jobs] = await Promise.all([this.#messages(null), this.#jobs()]);
    this.#merge(page.items);
    this.#cursor = page.next_cursor;
    this.hasOlder = page.next_cursor !== null;
    this.#takeJobs(jobs);
    await this.#lookUpUnanswered();
    this.isOpen = true;
    for (const submit of unsent(this.session.id)) this.#dispatch(outgoingTurn(submit));
    this.#attend();
  }

  /** Load the page before the first turn; once at a time. */
  older() {
    if (!this.hasOlder) return null;
    this.#loading ??= this.#older().finally(() => {
      this.#loading = null;
    });
    return this.#loading;
  }

  async #older() {
    const page = await this.#messages(this.#cursor);
    const before = new Set(this.turns);
    this.#merge(page.items);
    this.#cursor = page.next_cursor;
    this.hasOlder = page.next_cursor !== null;
    await this.#lookUpUnanswered();
    this.emit(
      "older",
      this.turns.filter((turn) => !before.has(turn)),
    );
    this.#attend();
  }

  /** Look what this page does not know: elsewhere something may have been said, tried again, or deleted. */
  async refresh() {
    if (!this.isOpen) return;
    try {
      this.#merge(await this.#missed());
    } catch (error) {
      if (isGone(error)) this.emit("deleted");
      throw error;
    }
    this.#takeJobs(await this.#jobs());
    await this.#lookUpUnanswered();
    for (const turn of this.turns.toReversed()) this.emit("turn", turn); // a new one is put before the one after it
    this.#attend();
  }

  /** The newest messages, down to one that came from the list before: what was said here does not tell what came between. */
  async #missed() {
    const known = new Set(this.turns.filter((turn) => turn.seq !== null).map((turn) => turn.jobId));
    const missed = [];
    let page = { next_cursor: null };
    do {
      page = await this.#messages(page.next_cursor, RECENT);
      missed.push(...page.items);
    } while (page.next_cursor && !page.items.some((message) => known.has(message.job_id)));
    return missed;
  }

  /** Say something in text. */
  sendText(text, replyAudio) {
    return this.#dispatch(outgoingTurn(textSubmit(this.session.id, text, replyAudio)));
  }

  /** Say something in a voice note. */
  sendVoice(blob, about, replyAudio) {
    return this.#dispatch(outgoingTurn(voiceSubmit(this.session.id, blob, about, replyAudio)));
  }

  /** Send what was refused once more, under its own key: nothing is said twice. */
  resend(turn) {
    this.#deliver(turn);
  }

  /** Give up what was not sent. */
  discard(turn) {
    turn.outgoing.controller.abort();
    forget(turn.outgoing);
    this.#drop(turn);
  }

  /** Stop a turn's job. */
  async cancel(turn) {
    await this.#change(turn, "cancel");
  }

  /** Run a failed job again. */
  async retry(turn) {
    turn.isOurs = true;
    await this.#change(turn, "retry");
  }

  /** Whether something of it is still on its way to the server. */
  get isSending() {
    return this.turns.some((turn) => turn.outgoing);
  }

  /** Let go of everything but what is on its way out. */
  close() {
    this.#closed.abort();
    this.isOpen = false;
  }

  async #change(turn, verb) {
    try {
      takeJob(turn, await post(`job/${turn.jobId}/${verb}`));
    } catch (error) {
      if (!(error instanceof Problem && error.status === 409)) throw error;
      takeJob(turn, await get(`job/${turn.jobId}`)); // it has ended meanwhile: show how
    }
    if (verb === "cancel" && !isUnfinished(turn)) this.#moveUp(turn);
    this.emit("turn", turn);
    this.#attend();
  }

  #messages(cursor, limit = PAGE) {
    const path = `message/conversation/${this.session.id}`;
    return list(path, { order: "newest", limit, cursor }, { signal: this.#closed.signal });
  }

  async #jobs() {
    return (await list("job", { session_id: this.session.id, limit: JOBS }, { signal: this.#closed.signal })).items;
  }

  #merge(messages) {
    for (const message of messages) {
      const known = this.#byJob(message.job_id);
      const turn = known ?? newTurn(message.job_id);
      if (!known) this.turns.push(turn);
      takeMessage(turn, message);
    }
    this.#sort();
  }

  #sort() {
    this.turns.sort((a, b) => (a.seq ?? Infinity) - (b.seq ?? Infinity) || 0);
  }

  #byJob(jobId) {
    return this.turns.find((turn) => turn.jobId === jobId);
  }

  /** Take in what is not known better: those under way are followed. */
  #takeJobs(jobs) {
    for (const job of jobs) {
      const turn = this.#byJob(job.id);
      if (turn && (!turn.job || turn.job.status === "failed")) takeJob(turn, job);
    }
  }

  async #lookUpUnanswered() {
    const open = this.turns.filter(isUnanswered);
    for (let n = 0; n < open.length; n += 5) {
      const looks = open.slice(n, n + 5).map(async (turn) => {
        takeJob(turn, await get(`job/${turn.jobId}`, { signal: this.#closed.signal }));
      });
      await Promise.allSettled(looks);
    }
  }

  #dispatch(turn) {
    const known = this.turns.find((other) => other.outgoing?.key === turn.outgoing.key);
    if (known) return known;
    this.turns.push(turn);
    this.#deliver(turn);
    return turn;
  }

  async #deliver(turn) {
    const { outgoing } = turn;
    const controller = new AbortController();
    Object.assign(outgoing, { state: "sending", error: null, controller });
    this.emit("turn", turn);
    const waiting = (isWaiting) => {
      outgoing.state = isWaiting ? "waiting_here" : "sending";
      this.emit("turn", turn);
    };
    try {
      this.#accepted(turn, await deliver(outgoing, { waiting, signal: controller.signal }));
    } catch (error) {
      if (controller.signal.aborted) return;
      Object.assign(outgoing, { state: "unsent", error });
      this.emit("turn", turn);
    }
  }

  #accepted(turn, job) {
    const twin = this.#byJob(job.id); // it was accepted before, and loaded from the server
    if (twin && twin !== turn) this.#drop(turn);
    const kept = twin ?? turn;
    kept.outgoing = null;
    takeJob(kept, job);
    this.emit("turn", kept);
    this.#attend();
  }

  #drop(turn) {
    this.turns = this.turns.filter((other) => other !== turn);
    this.emit("gone", turn);
  }

  /** Follow the job whose turn it is, look now and then at the next ones, and let go of all others. */
  #attend() {
    if (this.#closed.signal.aborted) return;
    const open = this.turns.filter(isUnfinished);
    const head = open.find((turn) => turn.job.status !== "queued") ?? open[0];
    const wanted = new Map(open.slice(0, MOST_POLLED).map((turn) => [turn, "poll"]));
    if (head) wanted.set(head, "follow");
    for (const [turn, { how, controller }] of this.#following) {
      if (wanted.get(turn) === how) wanted.delete(turn);
      else {
        controller.abort();
        this.#following.delete(turn);
      }
    }
    for (const [turn, how] of wanted) this.#watch(turn, how);
  }

  async #watch(turn, how) {
    const controller = new AbortController();
    const signal = AbortSignal.any([controller.signal, this.#closed.signal]);
    this.#following.set(turn, { how, controller });
    const told = (event, data) => !signal.aborted && this.#told(turn, event, data);
    if (how === "follow") await follow(turn.jobId, { told, place: turn.place, signal });
    else await poll(turn.jobId, { told, signal, pace: QUEUE_PACE });
    if (signal.aborted) return;
    this.#following.delete(turn);
    this.#attend();
  }

  #told(turn, event, data) {
    if (event === "gone") {
      this.#drop(turn);
      this.#checkSession();
    } else if (takeEvent(turn, event, data)) {
      this.emit("turn", turn);
      this.emit("heard", turn, event, data);
      if (event === "end") this.#moveUp(turn);
      if (event === "status") this.#attend();
    }
  }

  /** A turn has ended: those behind it have one less before them. The next look says it exactly. */
  #moveUp(ended) {
    for (const turn of this.turns.slice(this.turns.indexOf(ended) + 1)) {
      if (!isUnfinished(turn) || turn.job.queue_position === 0) continue;
      turn.job.queue_position -= 1;
      this.emit("turn", turn);
    }
  }

  async #checkSession() {
    try {
      await get(`session/${this.session.id}`, { signal: this.#closed.signal });
    } catch (error) {
      if (isGone(error)) this.emit("deleted");
    }
  }
}

const isGone = (error) => error instanceof Problem && error.status === 404;
