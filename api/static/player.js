// The player of a stored sound: its wave, place, speed and file.

import { clock, iconButton, limiter, make, rename, setIcon, soundsNow } from "./sound-parts.js";
import { drawWave, pictureOf } from "./wave.js";

export { createStreamPlayer } from "./stream-player.js";

const SPEEDS = [0.75, 1, 1.25, 1.5, 1.75, 2];
const DRAWN_AT_MOST = 40; // whoever scrolls through thousands of messages does not keep them all in memory
const LOOKED_AT_MS = 150; // what is only scrolled past is not loaded
const drawn = new Set();
const loadOne = limiter(3);
let chosenSpeed = null;
let observer = null;
const watched = new WeakMap();

/**
 * A player that costs next to nothing until it is seen or played.
 *
 * `load(signal)` brings the sound as a Blob. `speed` is where the first player begins, and `onSpeed(rate)` is told of every
 * change, which holds for all players. `compact` leaves out what a recording that is not yet sent does not need.
 */
export function createPlayer(options) {
  const { load, messageId, durationS, t, lang, downloadName, label, onSpeed, compact = false } = options;
  chosenSpeed ??= options.speed ?? 1;
  const element = make("div", { class: "player", dir: "ltr", role: "group", "aria-label": label ?? t("play.group") });
  if (messageId !== undefined) element.dataset.messageId = messageId;
  const toggle = iconButton("player-play", "play", t("play.play"));
  const wave = make("div", { class: "player-wave" });
  const slider = make("div", { class: "player-seek", role: "slider", tabindex: "0", "aria-label": t("play.seek") }, wave);
  const time = make("span", { class: "player-time" });
  element.append(toggle, slider, time);

  let audio = null; // it and what else is dear to thousands comes when it is first seen or played
  let speed = null;
  let trouble = null;
  let length = durationS || 0;
  let file = null; // the promise of the Blob while it is wanted
  let url = null;
  let surfer = null;
  let loading = new AbortController();
  let visible = false;
  let wanted = false; // asked to play, whether or not it sounds yet
  let place = 0; // where to begin, while nothing is loaded

  function furnish() {
    if (audio) return;
    audio = make("audio", { preload: "auto" });
    trouble = make("p", { class: "player-error", dir: "auto", hidden: true });
    const stopButton = iconButton("player-stop", "stop", t("play.stop"));
    stopButton.addEventListener("click", stop);
    element.append(stopButton, trouble, audio);
    if (!compact) {
      speed = speedChoice(t, lang);
      const download = iconButton("player-download", "download", t("play.download"));
      stopButton.before(speed);
      stopButton.after(download);
      download.addEventListener("click", save);
      speed.addEventListener("change", () => {
        chosenSpeed = Number(speed.value);
        setSpeed(chosenSpeed);
        onSpeed?.(chosenSpeed);
      });
    }
    audio.addEventListener("play", () => soundsNow(audio));
    audio.addEventListener("playing", () => setState("playing"));
    audio.addEventListener("pause", () => {
      wanted = false;
      if (element.dataset.state !== "error") setState("paused");
    });
    audio.addEventListener("timeupdate", show);
    audio.addEventListener("seeked", show);
    audio.addEventListener("error", () => url && fail(audio.error));
  }

  function setState(state) {
    element.dataset.state = state;
    const active = state === "playing" || state === "loading";
    rename(toggle, t(active ? "play.pause" : "play.play"));
    setIcon(toggle, active ? "pause" : "play");
    toggle.setAttribute("aria-busy", String(state === "loading"));
  }

  function here() {
    return url ? audio.currentTime : place;
  }

  function show() {
    const now = Math.min(here(), length || Infinity);
    const shown = { time: clock(now), total: clock(length) };
    time.textContent = `${shown.time} / ${shown.total}`;
    slider.setAttribute("aria-valuemin", "0");
    slider.setAttribute("aria-valuemax", String(Math.max(1, Math.round(length))));
    slider.setAttribute("aria-valuenow", String(Math.min(Math.round(now), Math.max(1, Math.round(length)))));
    slider.setAttribute("aria-valuetext", t("play.position", shown));
  }

  function fail(error) {
    if (error?.name === "AbortError") return;
    wanted = false;
    release();
    setState("error");
    trouble.textContent = t("play.failed");
    trouble.hidden = false;
  }

  function fetched() {
    const { signal } = loading;
    file ??= loadOne(() => {
      signal.throwIfAborted();
      return load(signal);
    });
    return file.catch((error) => {
      if (!signal.aborted) file = null;
      throw error;
    });
  }

  async function ready() {
    const { signal } = loading;
    furnish();
    const blob = await fetched();
    signal.throwIfAborted();
    if (url) return;
    url = URL.createObjectURL(blob);
    audio.src = url;
    audio.currentTime = place;
    keep();
    const picture = await pictureOf(blob).catch(() => null); // what cannot be drawn may be played all the same
    if (signal.aborted || !picture) return;
    length = picture.duration || length;
    surfer = drawWave(wave, { media: audio, peaks: [picture.peaks], duration: length });
    element.dataset.drawn = "";
    show();
  }

  /** Forget what was loaded; it is loaded again when it is needed. */
  function release() {
    loading.abort();
    loading = new AbortController();
    drawn.delete(player);
    place = 0;
    file = null;
    surfer?.destroy();
    surfer = null;
    delete element.dataset.drawn;
    if (!url) return;
    audio.removeAttribute("src");
    audio.load();
    URL.revokeObjectURL(url);
    url = null;
    show();
  }

  function keep() {
    drawn.delete(player);
    drawn.add(player);
    for (const other of drawn) {
      if (drawn.size <= DRAWN_AT_MOST) break;
      if (!other.isNeeded()) other.release();
    }
  }

  async function play() {
    furnish();
    trouble.hidden = true;
    wanted = true;
    setState("loading");
    try {
      await ready();
      if (!wanted) return;
      if (audio.ended) audio.currentTime = 0;
      setSpeed(chosenSpeed);
      await audio.play();
    } catch (error) {
      if (error.name === "NotAllowedError") setState("paused"); // the browser wants a gesture first
      else fail(error);
    }
  }

  function pause() {
    wanted = false;
    audio?.pause();
    setState("paused");
  }

  function stop() {
    pause();
    seek(0);
  }

  function seek(seconds) {
    place = Math.max(0, Math.min(seconds, length));
    if (url) audio.currentTime = place;
    show();
  }

  function setSpeed(rate) {
    audio.defaultPlaybackRate = rate;
    audio.playbackRate = rate;
    if (speed) speed.value = String(rate);
  }

  async function save() {
    try {
      const blob = await fetched();
      const link = make("a", { href: URL.createObjectURL(blob), download: downloadName || "" });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    } catch (error) {
      fail(error);
    }
  }

  function destroy() {
    pause();
    observer?.unobserve(element);
    release();
    loading.abort();
    element.remove();
  }

  const player = {
    release,
    isNeeded: () => visible || wanted || compact,
    look(isVisible) {
      visible = isVisible;
      if (!visible) return;
      furnish();
      const { signal } = loading;
      setTimeout(() => visible && !signal.aborted && ready().catch(() => {}), LOOKED_AT_MS); // told when it is played
    },
  };

  toggle.addEventListener("click", () => (wanted ? pause() : play()));
  seekBy(slider, { length: () => length, here, seek, toggle: () => toggle.click() });
  setState("paused");
  show();
  watch(element, player);
  return { element, play, stop, destroy };
}

function speedChoice(t, lang) {
  const number = new Intl.NumberFormat(lang, { numberingSystem: "latn" });
  const options = SPEEDS.map((rate) => make("option", { value: String(rate), selected: rate === chosenSpeed }, `${number.format(rate)}×`));
  return make("select", { class: "player-speed", "aria-label": t("play.speed"), title: t("play.speed") }, ...options);
}

/** The slider's ways: drag and click, and the keys that a slider has. */
function seekBy(slider, { length, here, seek, toggle }) {
  const at = (event) => {
    const box = slider.getBoundingClientRect();
    seek(((event.clientX - box.left) / box.width) * length());
  };
  slider.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    slider.setPointerCapture(event.pointerId);
    at(event);
  });
  slider.addEventListener("pointermove", (event) => slider.hasPointerCapture(event.pointerId) && at(event));
  slider.addEventListener("keydown", (event) => {
    const step = length() > 60 ? 5 : 1;
    const moves = {
      ArrowRight: step, ArrowUp: step, ArrowLeft: -step, ArrowDown: -step,
      PageUp: length() / 10, PageDown: -length() / 10, Home: -Infinity, End: Infinity,
    };
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key in moves) seek(here() + moves[event.key]);
    else if (event.key === " " || event.key === "Enter") toggle();
    else return;
    event.preventDefault();
  });
}

function watch(element, player) {
  observer ??= new IntersectionObserver(
    (entries) => {
      for (const entry of entries) watched.get(entry.target).look(entry.isIntersecting);
    },
    { rootMargin: "200px" },
  );
  watched.set(element, player);
  observer.observe(element);
}
