// The sound of a reply: offered or played while it is being made, and a player of the whole once it is there.

import { send } from "./api.js";
import { fill, h } from "./dom.js";
import { language, t } from "./i18n.js";
import { icon } from "./icons.js";
import { createPlayer, createStreamPlayer } from "./player.js";
import { settings } from "./settings.js";
import { leaveTurn, waitForTurn } from "./sound-parts.js";
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
  #wasHeard = false; // or will be, when its turn comes

  constructor(place, mayPlay) {
    this.place = place;
    this.mayPlay = mayPlay;
    place.addEventListener("play", () => leaveTurn(this.#begin), true); // by hand
  }

  /** Show what there is to hear of a turn. */
  update(turn) {
    this.turn = turn;
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
    this.destroy();
  }

  /** Let go of everything. */
  destroy() {
    leaveTurn(this.#begin);
    this.#clear();
  }

  #showMaking(turn) {
    if (this.#shown !== "offer") this.#offer(turn);
    this.#waitForTurn(turn);
  }

  #offer(turn) {
    this.#clear();
    this.#shown = "offer";
    this.place.hidden = false;
    const listen = h(
      "button",
      { type: "button", class: "ghost-button", onclick: () => this.#listen(turn) },
      icon("speaker"),
      t("talk.listen_now"),
    );
    fill(this.place, listen);
  }

  #listen(turn) {
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
    this.#clear();
    this.#shown = url;
    this.place.hidden = false;
    this.#player = playerOf(turn.reply, t("talk.spoken_reply"));
    this.place.replaceChildren(this.#player.element);
    if (turn.job) this.#waitForTurn(turn);
  }

  get #mayBegin() {
    return settings.autoPlay && this.mayPlay();
  }

  /** Let it be heard unasked, once. */
  #waitForTurn(turn) {
    if (this.#wasHeard || !turn.isOurs || !this.#mayBegin) return;
    this.#wasHeard = true;
    waitForTurn(this.#begin);
  }

  #begin = () => {
    if (!this.#mayBegin) return;
    if (this.#shown === "offer") this.#listen(this.turn);
    else this.#player?.play();
  };

  #clear() {
    this.#player?.destroy();
    this.#player = null;
    this.#shown = null;
    this.place.replaceChildren();
    this.place.hidden = true;
  }
}
