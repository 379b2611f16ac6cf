// The sound of a reply: offered or played while it is being made, and a player of the whole once it is there.

import { send } from "./api.js";
import { fill, h } from "./dom.js";
import { language, t } from "./i18n.js";
import { icon } from "./icons.js";
import { createPlayer, createStreamPlayer } from "./player.js";
import { settings } from "./settings.js";
import { isBeingSpoken, isCancelled } from "./turns.js";

/** A player of a message's sound, which is fetched with the token that an address could not carry. */
export function playerOf({ id, audio, blob, durationS, at }, label) {
  const load = async (signal) => blob ?? (await send("GET", audio.url, { signal })).blob();
  const downloadName = t("talk.download_name", { date: (at ?? new Date().toISOString()).slice(0, 19).replace(/[T:]/g, "-") });
  const onSpeed = (rate) => {
    settings.speed = rate;
  };
  const length = audio?.durationS ?? durationS;
  return createPlayer({
    load,
    messageId: id,
    durationS: length,
    t,
    lang: language(),
    downloadName,
    label,
    speed: settings.speed,
    onSpeed,
  });
}

/** One reply's sound, in its place. `mayPlay()` says whether it may begin by itself now. */
export class ReplySound {
  #player = null; // of what is being made, or of the whole
  #shown = null; // "offer", "stream", or the address of the whole
  #wasHeard = false;

  constructor(place, mayPlay) {
    this.place = place;
    this.mayPlay = mayPlay;
  }

  /** Show what there is to hear of a turn. */
  update(turn) {
    const url = turn.reply?.isWhole ? turn.reply.audio?.url : null;
    if (this.#shown === "stream" && turn.sentences > 0 && !isCancelled(turn)) return; // its own end tells
    if (url) this.#showWhole(turn, url);
    else if (isBeingSpoken(turn)) this.#showMaking(turn);
    else if (this.#shown) this.#clear();
  }

  /** The whole for what was paused while it was made: there one can seek, and keep it. */
  settle(turn) {
    if (this.#shown !== "stream" || this.#player.element.dataset.state !== "paused" || !turn.reply?.audio) return;
    this.#clear();
    this.update(turn);
  }

  /** Nobody wants to hear it: what sounds is silent at once, and nothing begins by itself any more. */
  hush() {
    this.#wasHeard = true;
    this.#clear();
  }

  /** Let go of everything. */
  destroy() {
    this.#clear();
  }

  #showMaking(turn) {
    if (settings.autoPlay && turn.isOurs && !this.#wasHeard && this.mayPlay()) return this.#begin(turn);
    if (this.#shown === "offer") return undefined;
    this.#clear();
    this.#shown = "offer";
    this.place.hidden = false;
    const listen = h(
      "button",
      { type: "button", class: "ghost-button", onclick: () => this.#begin(turn) },
      icon("speaker"),
      t("talk.listen_now"),
    );
    return fill(this.place, listen);
  }

  #begin(turn) {
    this.#clear();
    this.#shown = "stream";
    this.#wasHeard = true;
    this.place.hidden = false;
    const over = () => {
      if (this.#shown !== "stream") return;
      this.#clear();
      this.update(turn);
    };
    const open = (signal) => send("GET", `job/${turn.jobId}/audio?stream=1`, { signal });
    this.#player = createStreamPlayer({ open, t, lang: language(), onEnded: over, onError: over });
    this.place.replaceChildren(this.#player.element);
    this.#player.start();
  }

  #showWhole(turn, url) {
    if (this.#shown === url) return;
    const isNew = turn.isOurs && turn.job && !this.#wasHeard;
    this.#clear();
    this.#shown = url;
    this.place.hidden = false;
    this.#player = playerOf(turn.reply, t("talk.spoken_reply"));
    this.place.replaceChildren(this.#player.element);
    if (!isNew || !settings.autoPlay || !this.mayPlay()) return;
    this.#wasHeard = true;
    this.#player.play();
  }

  #clear() {
    this.#player?.destroy();
    this.#player = null;
    this.#shown = null;
    this.place.replaceChildren();
    this.place.hidden = true;
  }
}
