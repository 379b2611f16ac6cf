// The recorder: a button to click or to hold, what it hears while it records, and a look before it is sent.

import { obstacle, record, troubleOf } from "./microphone.js";
import { createPlayer } from "./player.js";
import { holdable } from "./press.js";
import { clock, icon, iconButton, make, rename, setIcon, silence } from "./sound-parts.js";
import RecordPlugin from "./vendor/record.esm.js";
import { drawWave } from "./wave.js";

const SHORTEST_S = 0.3;
const SPARE_S = 0.5; // the limit is kept with this much to spare: what is counted here is not what is counted there
const WAVE_S = 6;

/**
 * A recorder inside `host`. Of `settings` it reads `autoSend` and `maxAudioS` whenever they matter.
 *
 * `onSend(blob, {filename, duration_s})` may answer with a promise: the recording is kept until it is fulfilled.
 * `onState` is told idle, asking, recording, preview, sending and error.
 */
export function createRecorder(host, { t, settings = {}, announce = () => {}, onSend, onState = () => {} }) {
  const button = iconButton("rec-button", "microphone", t("rec.record"));
  const time = make("span", { class: "rec-time", role: "timer", "aria-label": t("rec.time") });
  const level = make("span", { class: "rec-level" });
  const meter = make(
    "span",
    { class: "rec-meter", role: "meter", "aria-label": t("rec.level"), "aria-valuemin": "0", "aria-valuemax": "100" },
    level,
  );
  const wave = make("div", { class: "rec-wave" });
  const cancel = iconButton("rec-cancel", "discard", t("rec.cancel"));
  const live = make("div", { class: "rec-live", role: "group", "aria-label": t("rec.live"), dir: "ltr" }, time, meter, wave);
  const preview = make("div", { class: "rec-preview", role: "group", "aria-label": t("rec.preview") });
  const note = make("p", { class: "rec-note" });
  const element = make("div", { class: "rec" }, live, preview, cancel, button, note);

  let state = null;
  let attempt = new AbortController(); // of one recording, from asking for the microphone to its end
  let recording = null;
  let taken = null; // the recording that waits to be sent
  let player = null;
  let surfer = null;
  let isHeld = false;

  function setState(next, text = "") {
    const hadFocus = element.contains(document.activeElement);
    const before = state;
    state = next;
    element.dataset.state = next;
    live.hidden = next !== "recording";
    preview.hidden = next !== "preview" && next !== "sending";
    cancel.hidden = next !== "recording" && next !== "asking";
    button.hidden = !preview.hidden;
    const records = next === "recording" || next === "asking";
    rename(button, t(records ? "rec.stop" : "rec.record"));
    setIcon(button, records ? "stop" : "microphone");
    if (!records) button.title = t("rec.hint");
    note.textContent = text;
    note.hidden = !text;
    note.classList.toggle("is-error", next === "error");
    if (hadFocus) (button.hidden ? preview.querySelector(".rec-send") : button)?.focus();
    if (records) document.addEventListener("keydown", escape, true);
    else document.removeEventListener("keydown", escape, true);
    if (before !== null && before !== next) onState(next);
  }

  function fail(key) {
    end();
    taken = null;
    setState("error", t(key));
    announce(t(key));
  }

  /** Let go of the microphone and of what shows it. */
  function end() {
    attempt.abort();
    recording = null;
    surfer?.destroy();
    surfer = null;
    player?.destroy();
    player = null;
    preview.replaceChildren();
  }

  async function start() {
    if (state !== "idle" && state !== "error" && state !== "preview") return;
    end();
    taken = null;
    const trouble = obstacle();
    if (trouble) {
      fail(trouble);
      return;
    }
    silence();
    attempt = new AbortController();
    const { signal } = attempt;
    setState("asking", t("rec.asking"));
    try {
      const opened = await record({
        signal,
        onTick: (now) => signal.aborted || tick(now),
        onSilence: () => settings.autoSend && !isHeld && stop({ send: true }),
        onLost: () => stop({ text: t("rec.lost") }),
      });
      recording = opened;
    } catch (error) {
      if (!signal.aborted) fail(troubleOf(error));
      return;
    }
    setState("recording");
    announce(t("rec.started"));
    tick({ level: 0, seconds: 0 });
    showWave(recording.stream);
  }

  function showWave(stream) {
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return; // the level and the time tell enough
    const plugin = RecordPlugin.create({ scrollingWaveform: true, scrollingWaveformWindow: WAVE_S, renderRecordedAudio: false });
    surfer = drawWave(wave, { plugins: [plugin] });
    plugin.renderMicStream(stream);
  }

  function tick({ level: loudness, seconds }) {
    const share = Math.max(0, Math.min(1, 1 + Math.log10(loudness + 1e-6) / 2.5)); // -50 dB is 0
    level.style.transform = `scaleX(${share.toFixed(3)})`;
    meter.setAttribute("aria-valuenow", String(Math.round(share * 100)));
    time.textContent = clock(seconds);
    const longest = settings.maxAudioS ?? 600;
    if (recording && seconds >= Math.max(longest / 2, longest - SPARE_S)) {
      stop({ text: t("rec.limit", { time: clock(longest) }) });
    }
  }

  async function stop({ send = false, text = "" } = {}) {
    if (!recording) return;
    const { signal } = attempt;
    const ending = recording;
    recording = null; // only once
    let result;
    try {
      result = await ending.stop();
    } catch {
      if (!signal.aborted) fail("rec.failed");
      return;
    }
    if (signal.aborted) return;
    if (result.duration < SHORTEST_S || !result.blob.size) {
      fail("rec.short");
      return;
    }
    end();
    taken = result;
    if (send) {
      await deliver();
      return;
    }
    const told = result.isSilent ? t("rec.silent") : text;
    look(told);
    announce(told || t("rec.stopped", { time: clock(result.duration) }));
  }

  /** Show what was recorded, before it is sent. */
  function look(text = "") {
    const { blob, duration } = taken;
    player = createPlayer({ load: async () => blob, durationS: duration, t, label: t("rec.preview"), compact: true });
    const again = iconButton("rec-again", "again", t("rec.again"));
    const drop = iconButton("rec-discard", "discard", t("rec.discard"));
    const send = make("button", { type: "button", class: "sound-button rec-send" }, icon("send"), t("rec.send"));
    again.addEventListener("click", start);
    drop.addEventListener("click", discard);
    send.addEventListener("click", deliver);
    preview.replaceChildren(player.element, again, drop, send);
    setState("preview", text);
  }

  async function deliver() {
    if (!taken || state === "sending") return;
    const { blob, duration, filename } = taken;
    player?.stop();
    setState("sending", t("rec.sending"));
    for (const one of preview.querySelectorAll("button")) one.setAttribute("aria-disabled", "true"); // focus stays
    try {
      await onSend(blob, { filename, duration_s: duration });
    } catch {
      if (state !== "sending") return;
      end();
      look(t("rec.unsent"));
      note.classList.add("is-error");
      announce(t("rec.unsent"));
      return;
    }
    if (state !== "sending") return; // destroyed meanwhile
    reset();
    announce(t("rec.sent"));
  }

  function reset() {
    const hadFocus = element.contains(document.activeElement);
    end();
    taken = null;
    setState("idle");
    if (hadFocus) button.focus();
  }

  function discard() {
    if (state === "idle" || state === "sending") return;
    const wasActive = state !== "error";
    reset();
    if (wasActive) announce(t("rec.discarded"));
  }

  function escape(event) {
    if (event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation(); // whatever else it closes stays open
    discard();
  }

  function destroy() {
    removeEventListener("pagehide", end);
    document.removeEventListener("keydown", escape, true);
    end();
    taken = null;
    state = "idle";
    element.remove();
  }

  holdable(button, {
    isOn: () => state === "recording" || state === "asking",
    turnOn: start,
    turnOff() {
      if (state === "asking") discard();
      else stop();
    },
    onHold(held) {
      isHeld = held;
    },
    letGo() {
      if (state === "recording") {
        stop();
      } else if (state === "asking") {
        // It was held in vain, while the browser asked: nobody expects to be heard from now on.
        reset();
        setState("idle", t("rec.ready"));
        announce(t("rec.ready"));
      }
    },
  });
  cancel.addEventListener("click", discard);
  preview.addEventListener("keydown", (event) => {
    if (event.key === "Escape") escape(event);
    else if (event.key === "Enter" && event.repeat) event.preventDefault(); // still held from the button before
  });
  addEventListener("pagehide", end);
  host.append(element);
  setState("idle");
  return {
    element,
    destroy,
    discard,
    get isActive() {
      return state !== "idle" && state !== "error";
    },
  };
}
