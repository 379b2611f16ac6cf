// The sound of a reply: offered or played while it is being made, and a player of the whole once it is there.

import { send } from "./api.js";
import { h } from "./dom.js";
import { language, t } from "./i18n.js";
import { icon } from "./icons.js";
import { createPlayer, createStreamPlayer } from "./player.js";
import { settings } from "./settings.js";
import { leaveTurn, waitForTurn } from "./sound-parts.js";
import { isBeingSpoken, isCancelled } from "./turns.js";

/** A player of a message's sound, which is fetched with the token that an address could not carry. */
export function playerOf({ id, audio, blob, durationS, at }, label, place) {
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
    at: place,
  });
}

/** One reply's sound, in its place. `mayPlay()` says whether it may begin by itself now. */
export class ReplySound {
  #player = null; // of what is being made, or of the whole
  #shown = null; // "offer", "stream", "over", or the address of the whole
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
    const isHeard = this.#shown === "stream" && turn.sentences > 0 && !isCancelled(turn);
    if (isHeard && !(url && this.#player.isPaused)) return; // its own end tells
    if (url) this.#showWhole(turn, url);
    else if (isBeingSpoken(turn)) this.#showMaking(turn);
    else if (this.#shown) this.#clear();
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
    const listen = h(
      "button",
      { type: "button", class: "ghost-button", onclick: () => this.#listen(turn) },
      icon("speaker"),
      t("talk.listen_now"),
    );
    this.#show("offer", h("div", {}, listen));
  }

  #listen(turn) {
    this.#wasHeard = true;
    const over = () => {
      if (this.#shown !== "stream") return;
      this.#shown = "over";
      this.update(turn);
    };
    const player = createStreamPlayer({
      open: (signal) => send("GET", `job/${turn.jobId}/audio?stream=1`, { signal }),
      t,
      lang: language(),
      speed: settings.speed,
      onPaused: () => this.update(turn),
      onEnded: over,
      onError: over,
    });
    this.#show("stream", player.element, player);
    player.start();
  }

  /** The whole goes on where what was paused while it was made was. */
  #showWhole(turn, url) {
    if (this.#shown === url) return;
    const player = playerOf(turn.reply, t("talk.spoken_reply"), this.#player?.seconds);
    this.#show(url, player.element, player);
    if (turn.job) this.#waitForTurn(turn);
  }

  #show(shown, element, player = null) {
    const hadFocus = this.place.contains(document.activeElement);
    this.#clear();
    this.#shown = shown;
    this.#player = player;
    this.place.hidden = false;
    this.place.replaceChildren(element);
    if (hadFocus) element.querySelector("button").focus();
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
