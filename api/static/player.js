// The player of a stored sound: its wave, place, speed and file.

import { seekable } from "./seek.js";
import {
  chooseSpeed,
  chosenSpeed,
  clock,
  firstSpeed,
  iconButton,
  limiter,
  make,
  rename,
  setIcon,
  soundsNoMore,
  soundsNot,
  soundsNow,
} from "./sound-parts.js";
import { drawWave, pictureOf } from "./wave.js";

export { createStreamPlayer } from "./stream-player.js";

const SPEEDS = [0.75, 1, 1.25, 1.5, 1.75, 2];
const LOADED_AT_MOST = 40; // whoever scrolls through thousands of messages does not keep them all in memory
const LOOKED_AT_MS = 150; // what is only scrolled past is not loaded
const SAVED_MS = 60_000; // after so long a browser has saved a file
const loaded = new Set(); // the longest loaded first
const loadOne = limiter(3);
const players = new WeakMap(); // by their elements, for the observer
let observer = null;

/**
 * A player that costs next to nothing until it is seen or played: `{element, play(), pause(), stop(), destroy()}`.
 *
 * `load(signal)` brings the sound as a Blob. `speed` is where the first player begins, and `onSpeed(rate)` is told of every
 * change, which holds for all players. `at` is where it begins, in seconds. `compact` leaves out what a recording that is
 * not yet sent does not need.
 */
export function createPlayer(options) {
  return new Player(options);
}

class Player {
  #file = null; // the promise of the Blob, from when it is wanted
  #url = null; // of the Blob, while it is loaded
  #loading = new AbortController(); // of one time from loading to forgetting
  #surfer = null;
  #audio = null;
  #speed = null;
  #trouble = null;
  #length;
  #place = 0; // where to begin, while nothing is loaded
  #isSeen = false;
  #isWanted = false; // asked to play, whether or not it sounds yet

  constructor({ label, messageId, durationS, speed, at = 0, ...options }) {
    this.options = options;
    this.t = options.t;
    this.#length = durationS || 0;
    this.#place = at;
    firstSpeed(speed);
    const { t } = options;
    this.element = make("div", { class: "player", dir: "ltr", role: "group", "aria-label": label ?? t("play.group") });
    if (messageId !== undefined) this.element.dataset.messageId = messageId;
    this.toggle = iconButton("player-play", "play", t("play.play"));
    this.wave = make("div", { class: "player-wave" });
    this.slider = make("div", { class: "player-seek", role: "slider", tabindex: "0", "aria-label": t("play.seek") }, this.wave);
    this.time = make("span", { class: "player-time" });
    this.element.append(this.toggle, this.slider, this.time);
    this.toggle.addEventListener("click", () => (this.#isWanted ? this.pause() : this.play()));
    seekable(this.slider, {
      length: () => this.#length,
      here: () => this.#here,
      seek: (seconds) => this.#seek(seconds),
      toggle: () => this.toggle.click(),
    });
    this.#setState("paused");
    this.#show();
    observe(this);
  }

  /** Play on from where it is; it is loaded first if it has to be. */
  async play() {
    this.#furnish();
    this.#trouble.hidden = true;
    this.#isWanted = true;
    soundsNow(this);
    this.#setState("loading");
    try {
      await this.#ready();
      if (!this.#isWanted) return;
      this.setSpeed(chosenSpeed);
      await this.#audio.play();
    } catch (error) {
      if (error.name === "NotAllowedError") this.pause(); // the browser wants a gesture first
      else this.#fail(error);
    }
  }

  pause() {
    this.#isWanted = false;
    this.#audio?.pause();
    this.#setState("paused");
    soundsNot(this);
  }

  /** Pause, and go back to the beginning. */
  stop() {
    this.pause();
    this.#seek(0);
    soundsNoMore(this);
  }

  setSpeed(rate) {
    this.#audio.defaultPlaybackRate = rate;
    this.#audio.playbackRate = rate;
    if (this.#speed) this.#speed.value = String(rate);
  }

  destroy() {
    this.pause();
    observer.unobserve(this.element);
    this.#forget();
    this.#loading.abort();
    this.element.remove();
  }

  /** It came into sight, or went out of it. */
  look(isSeen) {
    this.#isSeen = isSeen;
    if (!isSeen) return;
    this.#furnish();
    const { signal } = this.#loading;
    const load = () => this.#isSeen && !signal.aborted && this.#ready().catch(() => {}); // trouble is told to who plays
    setTimeout(load, LOOKED_AT_MS);
  }

  get #here() {
    return this.#url ? this.#audio.currentTime : this.#place;
  }

  get #isNeeded() {
    return this.#isSeen || this.#isWanted || this.options.compact;
  }

  /** What is dear to thousands of players comes when one is first seen or played. */
  #furnish() {
    if (this.#audio) return;
    const stop = iconButton("player-stop", "stop", this.t("play.stop"));
    stop.addEventListener("click", () => this.stop());
    this.#trouble = make("p", { class: "player-error", dir: "auto", hidden: true });
    this.#audio = make("audio", { preload: "auto" });
    this.#listen(this.#audio);
    this.element.append(stop, this.#trouble, this.#audio);
    if (this.options.compact) return;
    this.#speed = speedChoice(this.t, this.options.lang);
    this.#speed.addEventListener("change", () => {
      chooseSpeed(Number(this.#speed.value));
      this.setSpeed(chosenSpeed);
      this.options.onSpeed?.(chosenSpeed);
    });
    const download = iconButton("player-download", "download", this.t("play.download"));
    download.addEventListener("click", () => this.#save());
    stop.before(this.#speed);
    stop.after(download);
  }

  #listen(audio) {
    audio.addEventListener("play", () => soundsNow(this));
    audio.addEventListener("playing", () => this.#setState("playing"));
    audio.addEventListener("pause", () => {
      this.#isWanted = false;
      soundsNot(this);
      if (this.element.dataset.state !== "error") this.#setState("paused");
    });
    audio.addEventListener("ended", () => soundsNoMore(this));
    audio.addEventListener("timeupdate", () => this.#show());
    audio.addEventListener("seeked", () => this.#show());
    audio.addEventListener("error", () => this.#url && this.#fail(audio.error));
  }

  /** The sound, which is loaded once. */
  #fetched() {
    const { signal } = this.#loading;
    this.#file ??= loadOne(() => {
      signal.throwIfAborted();
      return this.options.load(signal);
    });
    return this.#file.catch((error) => {
      if (!signal.aborted) this.#file = null; // the next time may be better
      throw error;
    });
  }

  async #ready() {
    const { signal } = this.#loading;
    const blob = await this.#fetched();
    signal.throwIfAborted();
    if (this.#url) return;
    this.#url = URL.createObjectURL(blob);
    this.#audio.src = this.#url;
    this.#audio.currentTime = this.#place;
    this.#keep();
    this.#draw(blob, signal);
  }

  /** Draw its wave; what cannot be drawn may be played all the same. */
  async #draw(blob, signal) {
    const picture = await pictureOf(blob).catch(() => null);
    if (signal.aborted || !picture) return;
    this.#length = picture.duration || this.#length;
    this.#surfer = drawWave(this.wave, { media: this.#audio, peaks: [picture.peaks], duration: this.#length });
    this.element.dataset.drawn = "";
    this.#show();
  }

  /** Count it among the loaded, of which those that nobody sees or hears are forgotten when there are too many. */
  #keep() {
    loaded.delete(this);
    loaded.add(this);
    for (const other of loaded) {
      if (loaded.size <= LOADED_AT_MOST) break;
      if (!other.#isNeeded) other.#forget();
    }
  }

  /** Let go of what was loaded; it is loaded again when it is needed. */
  #forget() {
    this.#loading.abort();
    this.#loading = new AbortController();
    loaded.delete(this);
    this.#file = null;
    this.#surfer?.destroy();
    this.#surfer = null;
    delete this.element.dataset.drawn;
    if (!this.#url) return;
    this.#place = this.#audio.ended ? 0 : this.#audio.currentTime;
    URL.revokeObjectURL(this.#url);
    this.#url = null;
    this.#audio.removeAttribute("src");
    this.#audio.load();
  }

  #fail(error) {
    if (error?.name === "AbortError") return; // by us
    this.#isWanted = false;
    this.#setState("error");
    this.#forget();
    this.#trouble.textContent = this.t("play.failed");
    this.#trouble.hidden = false;
    soundsNoMore(this);
  }

  #seek(seconds) {
    this.#place = Math.max(0, Math.min(seconds, this.#length));
    if (this.#url) this.#audio.currentTime = this.#place;
    this.#show();
  }

  #setState(state) {
    this.element.dataset.state = state;
    const isActive = state === "playing" || state === "loading";
    rename(this.toggle, this.t(isActive ? "play.pause" : "play.play"));
    setIcon(this.toggle, isActive ? "pause" : "play");
    this.toggle.setAttribute("aria-busy", String(state === "loading"));
  }

  #show() {
    const longest = Math.max(1, Math.round(this.#length)); // no sound is 0:00 long
    const now = this.#length && this.#here >= this.#length ? longest : this.#here;
    const shown = { time: clock(now), total: clock(longest) };
    this.time.textContent = `${shown.time} / ${shown.total}`;
    this.slider.setAttribute("aria-valuemin", "0");
    this.slider.setAttribute("aria-valuemax", String(longest));
    this.slider.setAttribute("aria-valuenow", String(Math.min(Math.round(now), longest)));
    this.slider.setAttribute("aria-valuetext", this.t("play.position", shown));
  }

  async #save() {
    try {
      const link = make("a", { href: URL.createObjectURL(await this.#fetched()), download: this.options.downloadName ?? "" });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), SAVED_MS);
    } catch (error) {
      this.#fail(error);
    }
  }
}

function speedChoice(t, lang) {
  const number = new Intl.NumberFormat(lang, { numberingSystem: "latn" });
  const options = SPEEDS.map((rate) => make("option", { value: String(rate), selected: rate === chosenSpeed }, `${number.format(rate)}×`));
  return make("select", { class: "player-speed", "aria-label": t("play.speed"), title: t("play.speed") }, ...options);
}

function observe(player) {
  observer ??= new IntersectionObserver(
    (entries) => {
      for (const entry of entries) players.get(entry.target)?.look(entry.isIntersecting);
    },
    { rootMargin: "200px" },
  );
  players.set(player.element, player);
  observer.observe(player.element);
}
