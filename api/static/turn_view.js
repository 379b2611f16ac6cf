// One turn on the screen: what was said, what is going on, and the reply.

import { become, fill, h } from "./dom.js";
import { moment, t } from "./i18n.js";
import { icon } from "./icons.js";
import { directionOf, rendered } from "./markdown.js";
import { wordsOf, wordsOfJob } from "./problems.js";
import { playerOf, ReplySound } from "./reply_sound.js";
import { isUnfinished, stageOf } from "./turns.js";

const REDRAW_MS = 80; // of a reply that is being written
const NEVER = [413, 415, 422]; // answers to what is refused however often it comes

/**
 * A turn's element, `update` and `destroy`. `stage` is what is going on, as the key of its words.
 *
 * `does` are the things a person can do: cancel, retry, resend, sendAgain, discard, each with the turn.
 */
export class TurnView {
  #drawn = {};
  #timer = null;
  #player = null; // of the voice note

  constructor(turn, { agentName, does, mayPlay }) {
    this.turn = turn;
    this.agentName = agentName;
    this.does = does;
    this.stage = null;
    this.said = messageParts("mine");
    this.reply = messageParts("theirs");
    this.state = h("div", { class: "state", hidden: true });
    this.replySound = new ReplySound(this.reply.sound, mayPlay);
    this.element = h("li", { class: "turn" }, this.said.element, this.state, this.reply.element);
    this.update();
  }

  /** Show the turn as it is now. */
  update() {
    const { turn } = this;
    this.#showSaid(turn.said);
    this.#showState();
    this.#showReply(turn.reply);
    this.replySound.update(turn);
    this.reply.element.hidden = !turn.reply?.text && this.reply.sound.hidden;
  }

  /** Let go of its players. */
  destroy() {
    clearTimeout(this.#timer);
    this.replySound.destroy();
    this.#player?.destroy();
    this.element.remove();
  }

  #showSaid(said) {
    this.said.element.hidden = !said;
    if (!said) return;
    const isVoice = said.kind === "voice";
    if (this.#changed("at", said.at)) label(this.said, t("talk.you"), said.at);
    const sound = isVoice && (said.blob ?? said.audio?.url);
    if (sound && !this.#player) {
      this.said.sound.hidden = false;
      this.#player = playerOf(said, t("talk.voice_note"));
      this.said.sound.append(this.#player.element);
    }
    if (!this.#changed("said", said.text)) return;
    const words = isVoice && said.text === "" ? t("talk.no_speech") : (said.text ?? "");
    this.said.words.textContent = words;
    this.said.words.hidden = !words;
    this.said.words.classList.toggle("quiet", isVoice && said.text === "");
    this.said.copy.hidden = !said.text;
    if (isVoice) this.said.words.setAttribute("aria-label", t("talk.transcript"));
    this.said.element.classList.toggle("is-voice", isVoice);
  }

  #showReply(reply) {
    const text = reply?.text ?? "";
    if (this.#changed("replyAt", reply?.at ?? null)) label(this.reply, this.agentName(), reply?.at);
    this.reply.copy.hidden = !reply?.isWhole;
    this.#showFinish(reply?.finish);
    this.reply.element.classList.toggle("is-being-written", Boolean(reply && !reply.isWhole));
    if (text === this.#drawn.reply) return;
    if (reply?.isWhole || !text) this.#drawReply(text);
    else {
      this.#timer ??= setTimeout(() => this.#drawReply(this.turn.reply?.text ?? ""), REDRAW_MS);
    }
  }

  /** Say that a reply was cut short, and by what. */
  #showFinish(finish) {
    const words = { length: "talk.cut_at_limit", content_filter: "talk.cut_by_filter" }[finish];
    this.reply.note.hidden = !words;
    this.reply.note.textContent = words ? t(words) : "";
  }

  #drawReply(text) {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#drawn.reply = text;
    this.reply.words.hidden = !text;
    this.reply.words.dir = directionOf(text);
    become(this.reply.words, rendered(text));
  }

  #showState() {
    const { turn } = this;
    this.stage = stageOf(turn);
    const place = turn.job?.queue_position ?? 0;
    const error = turn.outgoing?.error ?? turn.job?.error ?? null;
    if (!this.#changed("state", JSON.stringify([this.stage, place, error?.code ?? error?.message]))) return;
    this.state.hidden = this.stage === null;
    if (this.stage === null) return void this.state.replaceChildren();
    const isWrong = this.stage === "failed" || this.stage === "unsent";
    const isOver = isWrong || this.stage === "cancelled";
    this.state.className = `state${isWrong ? " state-wrong" : ""}`;
    const mark = isOver ? icon(isWrong ? "alert" : "close") : h("span", { class: "pulse", "aria-hidden": "true" });
    fill(this.state, mark, h("p", { dir: "auto" }, stageWords(turn)), h("div", { class: "state-actions" }, this.#actions()));
  }

  #actions() {
    const { turn, stage, does } = this;
    const button = (name, what, act) => {
      const once = async () => {
        it.disabled = true; // asked twice, the second would be refused
        await act(turn);
        it.disabled = false;
      };
      const it = h("button", { type: "button", class: "ghost-button small", onclick: once }, icon(what), t(name));
      return it;
    };
    const discard = button("stage.discard", "close", does.discard);
    if (stage === "unsent" && !NEVER.includes(turn.outgoing.error.status))
      return [button("stage.send_again", "retry", does.resend), discard];
    if (stage === "unsent" || stage === "waiting_here") return [discard];
    if (stage === "failed" && turn.job.status === "failed") return [button("stage.retry", "retry", does.retry)];
    if (["failed", "cancelled"].includes(stage))
      return turn.said.text ? [button("stage.send_again", "retry", does.sendAgain)] : [];
    if (isUnfinished(turn) && stage !== "cancelling") return [button("stage.cancel", "close", () => this.#cancel())];
    return [];
  }

  #cancel() {
    this.replySound.hush();
    this.does.cancel(this.turn);
  }

  #changed(name, value) {
    if (this.#drawn[name] === value) return false;
    this.#drawn[name] = value;
    return true;
  }
}

/** The words for what is going on with a turn. */
export function stageWords(turn) {
  const stage = stageOf(turn);
  if (stage === "unsent") return `${t("stage.unsent")} ${wordsOf(turn.outgoing.error)}`;
  if (stage === "failed") return `${t("stage.failed")} ${wordsOfJob(turn.job.error)}`;
  return t(`stage.${stage}`, { n: turn.job?.queue_position });
}

function messageParts(whose) {
  const words = h("div", { class: "words", dir: "auto", hidden: true });
  const sound = h("div", { class: "sound", dir: "ltr", hidden: true });
  const time = h("time", {});
  const copy = h(
    "button",
    {
      type: "button",
      class: "icon-button small copy",
      hidden: true,
      dataset: { copy: whose },
      "aria-label": t(whose === "mine" ? "talk.copy" : "talk.copy_reply"),
      title: t("talk.copy"),
    },
    icon("copy"),
  );
  const note = h("p", { class: "quiet", dir: "auto", hidden: true });
  const order = whose === "mine" ? [sound, words] : [words, note, sound];
  const element = h(
    "article",
    { class: `message ${whose}`, hidden: true },
    h("div", { class: "bubble" }, order),
    h("footer", {}, time, copy),
  );
  return { element, words, note, sound, time, copy };
}

function label(parts, name, at) {
  const time = at ? moment(at) : "";
  parts.element.setAttribute("aria-label", time ? t("talk.at", { name, time }) : name);
  parts.time.textContent = time;
  if (at) parts.time.dateTime = at;
}
