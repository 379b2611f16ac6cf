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
const FAINTEST_SHOWN = 2.5; // powers of ten below full scale: -50 dB

/**
 * A recorder inside `host`: `{element, destroy(), discard(), settle(), isActive}`.
 *
 * Of `settings` it reads `autoSend` whenever it matters; after `longestS` it stops. `onSend(blob, {filename, duration_s})` may
 * answer with a promise: the recording is kept until it is fulfilled. `onState` is told of each change to idle, asking, recording,
 * preview, sending and error; `announce` gets what is to be read out.
 */
export function createRecorder(host, options) {
  const recorder = new Recorder(options);
  host.append(recorder.element);
  return recorder;
}

class Recorder {
  #state = "idle";
  #attempt = new AbortController(); // of one recording, from asking for the microphone to its end
  #recording = null;
  #taken = null; // the recording that waits to be sent
  #player = null;
  #surfer = null;
  #isHeld = false;

  constructor({ t, settings = {}, longestS = Infinity, announce = () => {}, onSend, onState = () => {} }) {
    Object.assign(this, { t, settings, longestS, announce, onSend, onState });
    this.#build();
    this.#show();
    holdable(this.button, {
      isOn: () => this.#isListening,
      turnOn: () => this.#start(),
      turnOff: () => (this.#state === "asking" ? this.discard() : this.#stop()),
      letGo: () => (this.#state === "asking" ? this.#letGoTooSoon() : this.#stop()),
      onHold: (isHeld) => {
        this.#isHeld = isHeld;
      },
    });
    this.cancel.addEventListener("click", () => this.discard());
    this.preview.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && event.repeat) event.preventDefault(); // still held from the button before
      else this.#escape(event);
    });
    addEventListener("pagehide", this.#leave);
  }

  /** Whether there is a recording, or about to be one, that would be lost. */
  get isActive() {
    return this.#state !== "idle" && this.#state !== "error";
  }

  /** Forget the recording; one that is being sent is sent. */
  discard() {
    if (this.#state === "idle" || this.#state === "sending") return;
    const { isActive } = this;
    this.#reset();
    if (isActive) this.announce(this.t("rec.discarded"));
  }

  /** Somebody does something else: what it said of the last recording is done with. */
  settle() {
    if (!this.isActive && !this.note.hidden) this.#reset();
  }

  /** Take it off the page, and let go of the microphone. */
  destroy() {
    removeEventListener("pagehide", this.#leave);
    document.removeEventListener("keydown", this.#escape, true);
    this.#end();
    this.#taken = null;
    this.#state = "idle";
    this.element.remove();
  }

  get #isListening() {
    return this.#state === "recording" || this.#state === "asking";
  }

  #build() {
    const { t } = this;
    this.button = iconButton("rec-button", "microphone", t("rec.record"));
    this.cancel = iconButton("rec-cancel", "discard", t("rec.cancel"));
    this.time = make("span", { class: "rec-time", role: "timer", "aria-label": t("rec.time") });
    this.level = make("span", { class: "rec-level" });
    const range = { "aria-valuemin": "0", "aria-valuemax": "100" };
    this.meter = make("span", { class: "rec-meter", role: "meter", "aria-label": t("rec.level"), ...range }, this.level);
    this.wave = make("div", { class: "rec-wave" });
    this.live = make("div", { class: "rec-live", role: "group", "aria-label": t("rec.live"), dir: "ltr" });
    this.live.append(this.time, this.meter, this.wave);
    this.preview = make("div", { class: "rec-preview", role: "group", "aria-label": t("rec.preview") });
    this.note = make("p", { class: "rec-note" });
    this.element = make("div", { class: "rec" }, this.live, this.preview, this.cancel, this.button, this.note);
  }

  async #start() {
    if (this.#isListening || this.#state === "sending") return;
    this.#end();
    this.#taken = null;
    const trouble = obstacle();
    if (trouble) {
      this.#fail(trouble);
      return;
    }
    silence(); // the microphone would hear it
    this.#attempt = new AbortController();
    const { signal } = this.#attempt;
    this.#setState("asking", this.t("rec.asking"));
    try {
      this.#recording = await record({
        signal,
        onTick: (now) => signal.aborted || this.#tick(now),
        onSilence: () => this.settings.autoSend && !this.#isHeld && this.#stop({ send: true }),
        onLost: () => this.#stop({ text: this.t("rec.lost") }),
      });
    } catch (error) {
      if (!signal.aborted) this.#fail(troubleOf(error));
      return;
    }
    this.#setState("recording");
    this.announce(this.t("rec.started"));
    this.#tick({ level: 0, seconds: 0 });
    this.#drawLive(this.#recording.stream);
  }

  #drawLive(stream) {
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return; // the level and the time tell enough
    const plugin = RecordPlugin.create({ scrollingWaveform: true, scrollingWaveformWindow: WAVE_S, renderRecordedAudio: false });
    this.#surfer = drawWave(this.wave, { plugins: [plugin] });
    plugin.renderMicStream(stream);
  }

  #tick({ level, seconds }) {
    const share = Math.max(0, Math.min(1, 1 + Math.log10(level + 1e-6) / FAINTEST_SHOWN));
    this.level.style.transform = `scaleX(${share.toFixed(3)})`;
    this.meter.setAttribute("aria-valuenow", String(Math.round(share * 100)));
    this.time.textContent = clock(seconds);
    const { longestS } = this;
    if (seconds < Math.max(longestS / 2, longestS - SPARE_S)) return;
    this.#stop({ text: this.t("rec.limit", { time: clock(longestS) }) });
  }

  async #stop({ send = false, text = "" } = {}) {
    const recording = this.#recording;
    if (!recording) return;
    this.#recording = null; // it is stopped once
    const { signal } = this.#attempt;
    let result;
    try {
      result = await recording.stop();
    } catch {
      if (!signal.aborted) this.#fail("rec.failed");
      return;
    }
    if (signal.aborted) return;
    if (result.duration < SHORTEST_S || !result.blob.size) {
      this.#fail("rec.short");
      return;
    }
    this.#end();
    this.#taken = result;
    if (send) {
      await this.#deliver();
      return;
    }
    const trouble = result.isSilent ? this.t("rec.silent") : text;
    this.#preview(trouble);
    this.announce(trouble || this.t("rec.stopped", { time: clock(result.duration) }));
  }

  /** Show what was recorded, before it is sent. */
  #preview(text = "") {
    const { t } = this;
    const { blob, duration } = this.#taken;
    this.#player = createPlayer({ load: async () => blob, durationS: duration, t, label: t("rec.preview"), compact: true });
    const again = iconButton("rec-again", "again", t("rec.again"));
    const drop = iconButton("rec-discard", "discard", t("rec.discard"));
    const send = make("button", { type: "button", class: "sound-button rec-send" }, icon("send"), t("rec.send"));
    again.addEventListener("click", () => this.#start());
    drop.addEventListener("click", () => this.discard());
    send.addEventListener("click", () => this.#deliver());
    this.preview.replaceChildren(this.#player.element, again, drop, send);
    this.#setState("preview", text);
  }

  async #deliver() {
    if (!this.#taken || this.#state === "sending") return;
    const { blob, duration, filename } = this.#taken;
    this.#player?.stop();
    this.#setState("sending", this.t("rec.sending"));
    for (const button of this.preview.querySelectorAll("button")) button.setAttribute("aria-disabled", "true"); // the focus stays
    let isSent = true;
    try {
      await this.onSend(blob, { filename, duration_s: duration });
    } catch {
      isSent = false;
    }
    if (this.#state !== "sending") return; // destroyed meanwhile
    if (isSent) this.#reset();
    else this.#keep();
    this.announce(this.t(isSent ? "rec.sent" : "rec.unsent"));
  }

  /** It could not be sent: it may be tried again. */
  #keep() {
    this.#end();
    this.#preview(this.t("rec.unsent"));
    this.note.classList.add("is-error");
  }

  /** It was held in vain while the browser asked: nobody expects to be heard from now on. */
  #letGoTooSoon() {
    this.#reset(this.t("rec.ready"));
    this.announce(this.t("rec.ready"));
  }

  #fail(key) {
    this.#end();
    this.#taken = null;
    this.#setState("error", this.t(key));
    this.announce(this.t(key));
  }

  #reset(text = "") {
    this.#end();
    this.#taken = null;
    this.#setState("idle", text);
  }

  /** Let go of the microphone, and of what shows a recording. */
  #end() {
    this.#attempt.abort();
    this.#recording = null;
    this.#surfer?.destroy();
    this.#surfer = null;
    this.#player?.destroy();
    this.#player = null;
  }

  #leave = () => this.#isListening && this.discard();

  #escape = (event) => {
    if (event.key !== "Escape" || event.target.closest("dialog") !== this.element.closest("dialog")) return;
    if (!this.isActive) return void this.settle();
    event.preventDefault();
    event.stopPropagation(); // whatever else it closes stays open
    this.discard();
  };

  #setState(state, text = "") {
    const hadFocus = this.element.contains(document.activeElement);
    const isNew = state !== this.#state;
    this.#state = state;
    this.#show(text);
    if (hadFocus) (this.button.hidden ? this.preview.querySelector(".rec-send") : this.button).focus();
    if (this.#isListening || (text && !this.isActive)) document.addEventListener("keydown", this.#escape, true);
    else document.removeEventListener("keydown", this.#escape, true);
    if (isNew) this.onState(state);
  }

  #show(text = "") {
    const state = this.#state;
    this.element.dataset.state = state;
    this.live.hidden = state !== "recording";
    this.preview.hidden = !this.#player;
    this.cancel.hidden = !this.#isListening;
    this.button.hidden = !this.preview.hidden;
    rename(this.button, this.t(this.#isListening ? "rec.stop" : "rec.record"));
    setIcon(this.button, this.#isListening ? "stop" : "microphone");
    this.button.toggleAttribute("data-on", this.#isListening);
    this.button.setAttribute("aria-disabled", String(state === "sending"));
    if (!this.#isListening) this.button.title = this.t("rec.hint");
    this.note.textContent = text;
    this.note.hidden = !text;
    this.note.classList.toggle("is-error", state === "error");
    if (this.preview.hidden) this.preview.replaceChildren();
  }
}
