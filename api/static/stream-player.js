// The player of a reply that is still being spoken: it sounds from the first sentence on.

import {
  chosenSpeed,
  clock,
  firstSpeed,
  iconButton,
  make,
  rename,
  setIcon,
  soundsNoMore,
  soundsNot,
  soundsNow,
} from "./sound-parts.js";

const MP3 = "audio/mpeg";
const KEPT_S = 10; // of what was heard, when the browser's buffer is full

/**
 * A player of what is being made: `{element, start(), pause(), stop(), destroy()}`.
 *
 * `open(signal)` answers with the Response whose body is the sound. `onFirstSound` is called when it begins to sound,
 * `onPaused` whenever it is paused, `onEnded({stopped})` when it has ended or was stopped by hand, and `onError(error)` when
 * it cannot be heard to its end: what sounded is not how the reply begins any more. An answer that is not ok is in
 * `error.response`.
 */
export function createStreamPlayer(options) {
  return new StreamPlayer(options);
}

class StreamPlayer {
  #reading = new AbortController();
  #url = null;
  #hasStarted = false;
  #hasSounded = false;
  #isWanted = false; // asked to play, whether or not there is anything yet
  #isOver = false;

  constructor(options) {
    const { t, speed } = options;
    firstSpeed(speed);
    this.options = options;
    this.toggle = iconButton("player-play", "play", t("play.play"));
    this.time = make("span", { class: "player-time" }, clock(0));
    this.hint = make("span", { class: "player-hint", dir: "auto", hidden: true });
    this.stopButton = iconButton("player-stop", "stop", t("play.stop"));
    this.audio = make("audio");
    this.element = make("div", { class: "player player-stream", dir: "ltr", role: "group", "aria-label": t("play.stream") });
    const bars = make("span", { class: "player-bars", "aria-hidden": "true" }, make("i"), make("i"), make("i"), make("i"));
    this.element.append(this.toggle, bars, this.time, this.hint, this.stopButton, this.audio);
    this.toggle.addEventListener("click", () => this.#toggle());
    this.stopButton.addEventListener("click", () => this.stop());
    this.#listen(this.audio);
    this.#setState("paused");
  }

  /** Fetch it, and play it as it comes. */
  async start() {
    if (this.#hasStarted) return;
    this.#hasStarted = true;
    this.#play();
    try {
      const response = await this.options.open(this.#reading.signal);
      if (!response.ok) throw Object.assign(new Error(`the sound was answered with ${response.status}`), { response });
      const Source = sourceFor(MP3);
      if (Source) await this.#playAsItComes(new Source(), response.body.getReader());
      else this.#setSource(new Blob([await response.blob()], { type: MP3 }));
    } catch (error) {
      this.#fail(error);
    }
  }

  pause() {
    this.#isWanted = false;
    this.audio.pause();
    this.#setState("paused");
    soundsNot(this);
    this.options.onPaused?.();
  }

  setSpeed(rate) {
    this.audio.defaultPlaybackRate = rate;
    this.audio.playbackRate = rate;
  }

  get isPaused() {
    return !this.#isWanted;
  }

  /** How far it has sounded. */
  get seconds() {
    return this.audio.currentTime;
  }

  /** End it for good. */
  stop() {
    this.#end("stopped", () => this.#hasStarted && this.options.onEnded?.({ stopped: true }));
  }

  destroy() {
    this.#close("stopped");
    soundsNot(this);
    this.element.remove();
  }

  async #playAsItComes(source, reader) {
    const { signal } = this.#reading;
    this.audio.disableRemotePlayback = true; // Safari's kind of source asks for it
    this.#setSource(source);
    await once(source, "sourceopen", signal);
    const buffer = source.addSourceBuffer(MP3);
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      await append(buffer, value, this.audio, signal);
    }
    if (!buffer.buffered.length) throw new Error("there was no sound");
    source.endOfStream();
  }

  #setSource(source) {
    this.#url = URL.createObjectURL(source);
    this.audio.src = this.#url;
    if (this.#isWanted) this.#play();
  }

  async #play() {
    this.#isWanted = true;
    soundsNow(this);
    this.setSpeed(chosenSpeed);
    this.#setState("loading");
    if (!this.#url) return; // it begins when there is something
    try {
      await this.audio.play();
    } catch (error) {
      if (error.name === "AbortError") return; // paused before it sounded
      if (error.name !== "NotAllowedError") return this.#fail(error);
      this.pause();
      this.#setState("blocked"); // the browser wants a gesture first
    }
  }

  #toggle() {
    if (!this.#hasStarted) this.start();
    else if (this.#isWanted) this.pause();
    else this.#play();
  }

  #listen(audio) {
    audio.addEventListener("play", () => {
      soundsNow(this);
      this.#setState("loading");
    });
    audio.addEventListener("playing", () => {
      this.#setState("playing");
      if (this.#hasSounded) return;
      this.#hasSounded = true;
      this.options.onFirstSound?.();
    });
    audio.addEventListener("waiting", () => !audio.paused && this.#setState("loading"));
    audio.addEventListener("pause", () => audio.paused && !audio.ended && this.#isWanted && this.pause()); // by a media key
    audio.addEventListener("timeupdate", () => {
      if (!this.#isOver) this.time.textContent = clock(audio.currentTime);
    });
    audio.addEventListener("ended", () => this.#end("ended", () => this.options.onEnded?.({ stopped: false })));
    audio.addEventListener("error", () => this.#fail(audio.error));
  }

  #fail(error) {
    this.#end("error", () => this.options.onError?.(error));
  }

  #end(state, tell) {
    if (!this.#close(state)) return;
    tell();
    soundsNoMore(this);
  }

  /** Read and sound no more; whether it did so until now. */
  #close(state) {
    if (this.#isOver) return false;
    this.#setState(state);
    this.#isOver = true;
    this.#isWanted = false;
    this.#reading.abort();
    this.audio.pause();
    this.toggle.disabled = true;
    this.stopButton.disabled = true;
    if (this.#url) {
      URL.revokeObjectURL(this.#url);
      this.audio.removeAttribute("src");
      this.audio.load();
    }
    return true;
  }

  #setState(state) {
    if (this.#isOver) return;
    const { t } = this.options;
    this.element.dataset.state = state;
    const isActive = state === "playing" || state === "loading";
    rename(this.toggle, t(isActive ? "play.pause" : "play.play"));
    setIcon(this.toggle, isActive ? "pause" : "play");
    this.hint.hidden = state !== "blocked" && state !== "loading";
    this.hint.textContent = t(state === "blocked" ? "play.blocked" : "play.loading");
  }
}

function sourceFor(type) {
  const kinds = [globalThis.ManagedMediaSource, globalThis.MediaSource];
  return kinds.find((kind) => kind?.isTypeSupported(type));
}

function once(target, name, signal) {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    const happen = () => {
      signal.removeEventListener("abort", abort);
      resolve();
    };
    signal.addEventListener("abort", abort, { once: true });
    target.addEventListener(name, happen, { once: true, signal });
  });
}

/** Add sound; where the buffer is full, what was heard makes room, and what was not heard is waited for. */
async function append(buffer, sound, audio, signal) {
  for (;;) {
    try {
      buffer.appendBuffer(sound);
      await once(buffer, "updateend", signal);
      return;
    } catch (error) {
      if (error.name !== "QuotaExceededError") throw error;
      const end = audio.currentTime - KEPT_S;
      if (buffer.buffered.length && end > buffer.buffered.start(0)) {
        buffer.remove(0, end);
        await once(buffer, "updateend", signal);
      } else {
        await once(audio, "timeupdate", signal);
      }
    }
  }
}
