// The player of a reply that is still being spoken: it sounds from the first sentence on.

import { clock, iconButton, make, rename, setIcon, soundsNow } from "./sound-parts.js";

const MP3 = "audio/mpeg";
const KEPT_S = 10; // of what was heard, when the browser's buffer is full

/**
 * `open(signal)` answers with the Response whose body is the sound, as it is made.
 *
 * `onFirstSound` is called when it begins to sound, `onEnded({stopped})` when it has ended or was stopped by hand, and
 * `onError(error)` when it cannot be heard to its end; an answer that is not ok is in `error.response`.
 */
export function createStreamPlayer({ open, t, onEnded, onFirstSound, onError }) {
  const toggle = iconButton("player-play", "play", t("play.play"));
  const bars = make("span", { class: "player-bars", "aria-hidden": "true" }, make("i"), make("i"), make("i"), make("i"));
  const time = make("span", { class: "player-time" }, clock(0));
  const hint = make("span", { class: "player-hint", dir: "auto", hidden: true });
  const stopButton = iconButton("player-stop", "stop", t("play.stop"));
  const audio = make("audio");
  const element = make(
    "div",
    { class: "player player-stream", dir: "ltr", role: "group", "aria-label": t("play.stream") },
    toggle, bars, time, hint, stopButton, audio,
  );
  const reading = new AbortController();
  let started = false;
  let over = false;
  let heard = false;
  let url = null;

  function setState(state) {
    element.dataset.state = state;
    const active = state === "playing" || state === "loading";
    rename(toggle, t(active ? "play.pause" : "play.play"));
    setIcon(toggle, active ? "pause" : "play");
    hint.hidden = state !== "blocked" && state !== "loading";
    hint.textContent = t(state === "blocked" ? "play.blocked" : "play.loading");
  }

  /** Nothing sounds or is read any more. */
  function close(state) {
    if (over) return false;
    over = true;
    reading.abort();
    audio.pause();
    if (url) {
      audio.removeAttribute("src");
      audio.load();
      URL.revokeObjectURL(url);
    }
    toggle.disabled = true;
    stopButton.disabled = true;
    setState(state);
    return true;
  }

  function fail(error) {
    if (close("error")) onError?.(error);
  }

  async function play() {
    soundsNow(audio);
    try {
      await audio.play();
    } catch (error) {
      if (over || error.name === "AbortError") return; // paused before it sounded
      if (error.name === "NotAllowedError") setState("blocked");
      else fail(error);
    }
  }

  async function start() {
    if (started) return;
    started = true;
    setState("loading");
    try {
      const response = await open(reading.signal);
      if (!response.ok) throw Object.assign(new Error(`the sound was answered with ${response.status}`), { response });
      const Source = sourceFor(MP3);
      if (Source) await sound(Source, response.body.getReader());
      else await soundWhole(await response.blob());
    } catch (error) {
      fail(error);
    }
  }

  async function sound(Source, reader) {
    const source = new Source();
    audio.disableRemotePlayback = true; // Safari's kind of source asks for it
    url = URL.createObjectURL(source);
    audio.src = url;
    play();
    await once(source, "sourceopen", reading.signal);
    const buffer = source.addSourceBuffer(MP3);
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      await append(buffer, value, audio, reading.signal);
    }
    if (!buffer.buffered.length) throw new Error("there was no sound");
    source.endOfStream();
  }

  async function soundWhole(blob) {
    url = URL.createObjectURL(new Blob([blob], { type: MP3 }));
    audio.src = url;
    await play();
  }

  function stop() {
    if (close("stopped") && started) onEnded?.({ stopped: true });
  }

  function destroy() {
    close("stopped");
    element.remove();
  }

  toggle.addEventListener("click", () => {
    if (!started) start();
    else if (audio.paused) play();
    else audio.pause();
  });
  stopButton.addEventListener("click", stop);
  audio.addEventListener("play", () => {
    soundsNow(audio);
    if (!heard) setState("loading");
  });
  audio.addEventListener("playing", () => {
    setState("playing");
    if (heard) return;
    heard = true;
    onFirstSound?.();
  });
  audio.addEventListener("waiting", () => !audio.paused && setState("loading"));
  audio.addEventListener("pause", () => !over && !audio.ended && setState("paused"));
  audio.addEventListener("timeupdate", () => {
    if (!over) time.textContent = clock(audio.currentTime);
  });
  audio.addEventListener("ended", () => close("ended") && onEnded?.({ stopped: false }));
  audio.addEventListener("error", () => !over && fail(audio.error));
  setState("paused");
  return { element, start, stop, destroy };
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
