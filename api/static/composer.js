// Where a person writes, chooses a file, or talks.

import { h, newId } from "./dom.js";
import { language, t } from "./i18n.js";
import { icon } from "./icons.js";
import { read, write } from "./kept.js";
import { limits, limitsInWords } from "./limits.js";
import { announce, toast } from "./notices.js";
import { createPlayer } from "./player.js";
import { createRecorder } from "./recorder.js";
import { onSetting, settings } from "./settings.js";

const MAX_TEXT = 32_000;
const WARN_AT = 1_000; // characters left
const AUDIO = /\.(mp3|m4a|ogg|oga|opus|wav|webm|flac|aac|amr|3gp|mp4|mov|caf|wma|aiff?|mkv)$/i;

export class Composer {
  #file = null;
  #player = null;
  #off = [];

  /** `onText(text)` and `onVoice(blob, {filename, durationS})` take what is sent. */
  constructor({ onText, onVoice }) {
    this.onText = onText;
    this.onVoice = onVoice;
    this.draftOf = null;
    this.element = this.#build();
    this.recorder = createRecorder(this.recording, {
      t,
      settings,
      longestS: limits.recordingS,
      announce,
      onSend: (blob, { filename, duration_s: durationS }) => this.onVoice(blob, { filename, durationS }),
      onState: (state) => {
        this.element.dataset.recording = state;
      },
    });
    this.#off.push(onSetting("speak", () => this.#showSpeak()));
    this.#showSpeak();
    this.#typed();
  }

  /** Write for another session: its draft comes back. */
  open(sessionId) {
    this.text.value = read("drafts", {})[sessionId] ?? "";
    this.draftOf = sessionId;
    this.recorder.discard();
    this.#choose(null);
  }

  /** Put the cursor where one writes. */
  focus() {
    this.text.focus();
  }

  /** Whether a voice note is being recorded or looked at. */
  get isRecording() {
    return this.recorder.isActive;
  }

  /** Give up a voice note that is being recorded or looked at. */
  discard() {
    this.recorder.discard();
  }

  /** Take a file that was dropped or chosen. */
  take(files) {
    const [file] = files;
    if (!file) return;
    const wrong = whatIsWrong(file);
    if (wrong) return void toast(wrong, { isError: true });
    if (files.length > 1) toast(t("write.file_one"));
    this.#choose(file);
    this.send.focus();
  }

  /** Let go of the microphone and the players. */
  destroy() {
    for (const off of this.#off) off();
    this.draftOf = null; // it is kept already, or forgotten with whoever signed out
    this.#choose(null);
    this.recorder.destroy();
    this.element.remove();
  }

  #build() {
    const id = newId("message");
    this.text = h("textarea", {
      id,
      rows: "1",
      dir: "auto",
      placeholder: t("write.placeholder"),
      enterkeyhint: "send",
      autocomplete: "off",
      "aria-describedby": `${id}-count ${id}-hint`,
    });
    this.count = h("p", { class: "count", id: `${id}-count`, role: "status", hidden: true });
    this.chosen = h("div", { class: "chosen", hidden: true });
    this.picker = h("input", {
      type: "file",
      accept: "audio/*,video/mp4,video/webm,.ogg,.opus,.amr,.3gp,.caf,.wma",
      class: "hidden",
      tabindex: "-1",
      "aria-hidden": "true",
      onchange: () => this.#picked(),
    });
    const attach = h(
      "button",
      {
        type: "button",
        class: "icon-button",
        "aria-label": t("write.attach"),
        title: t("write.attach"),
        onclick: () => this.picker.click(),
      },
      icon("attach"),
    );
    this.speak = h("button", {
      type: "button",
      class: "icon-button",
      "aria-label": t("write.speak"),
      onclick: () => this.#toggleSpeak(),
    });
    this.recording = h("div", { class: "recorder-place" });
    this.send = h(
      "button",
      { type: "submit", class: "icon-button send", "aria-label": t("write.send"), title: t("write.send") },
      icon("send"),
    );
    const tools = h(
      "div",
      { class: "tools" },
      h("div", { class: "tools-start" }, attach, this.speak),
      this.count,
      this.recording,
      this.send,
    );
    const form = h(
      "form",
      { class: "composer", id: "composer" },
      h("label", { class: "hidden", for: id }, t("write.message")),
      h("p", { class: "hidden", id: `${id}-hint` }, t("write.hint")),
      this.chosen,
      this.text,
      this.picker,
      tools,
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.text.addEventListener("input", () => this.#typed());
    this.text.addEventListener("keydown", (event) => this.#pressed(event));
    this.text.addEventListener("paste", (event) => {
      if (!event.clipboardData.files.length) return;
      event.preventDefault();
      this.take(event.clipboardData.files);
    });
    return form;
  }

  #pressed(event) {
    const isComposed = event.isComposing || event.keyCode === 229; // Enter that ends a word of an input method
    if (event.key !== "Enter" || event.shiftKey || isComposed) return;
    event.preventDefault();
    this.#submit();
  }

  #submit() {
    const text = this.text.value;
    const hasText = text.trim() !== "";
    if (Array.from(text).length > MAX_TEXT || (!hasText && !this.#file)) return;
    if (this.#file) {
      const file = this.#file;
      this.#choose(null);
      this.onVoice(file, { filename: file.name, durationS: null });
    }
    if (hasText) this.onText(text);
    this.text.value = "";
    this.#typed();
    this.text.focus();
  }

  #typed() {
    const { text } = this;
    this.recorder.settle();
    text.style.setProperty("height", "auto");
    text.style.setProperty("height", `${text.scrollHeight}px`);
    const left = MAX_TEXT - (text.value.length > MAX_TEXT - WARN_AT ? Array.from(text.value).length : text.value.length);
    this.count.hidden = left > WARN_AT;
    this.count.textContent = left > WARN_AT ? "" : left < 0 ? t("write.too_long", { n: -left }) : t("write.left", { n: left });
    this.count.classList.toggle("is-wrong", left < 0);
    this.send.disabled = left < 0 || (text.value.trim() === "" && !this.#file);
    this.element?.classList.toggle("has-text", text.value.trim() !== "" || this.#file !== null);
    if (this.draftOf) write("drafts", { ...read("drafts", {}), [this.draftOf]: text.value || undefined });
  }

  #picked() {
    this.take([...this.picker.files]);
    this.picker.value = "";
  }

  #choose(file) {
    this.#player?.destroy();
    this.#player = null;
    this.#file = file;
    this.chosen.hidden = file === null;
    this.chosen.replaceChildren();
    if (file) {
      const drop = h(
        "button",
        {
          type: "button",
          class: "icon-button small",
          "aria-label": t("write.remove_file"),
          title: t("write.remove_file"),
          onclick: () => {
            this.#choose(null);
            this.focus();
          },
        },
        icon("close"),
      );
      this.#player = createPlayer({ load: async () => file, t, lang: language(), label: file.name, compact: true });
      this.chosen.append(h("p", { class: "chosen-name" }, icon("file"), h("bdi", {}, file.name), drop), this.#player.element);
    }
    this.#typed();
  }

  #toggleSpeak() {
    settings.speak = settings.speak === "always" ? "voice" : "always";
    announce(t(settings.speak === "always" ? "write.speak_on" : "write.speak_off"));
  }

  #showSpeak() {
    const isOn = settings.speak === "always";
    this.speak.setAttribute("aria-pressed", String(isOn));
    this.speak.title = t(isOn ? "write.speak_on" : "write.speak_off");
    this.speak.replaceChildren(icon(isOn ? "speaker" : "mute"));
  }
}

function whatIsWrong(file) {
  if (file.size === 0) return t("write.file_empty", { name: file.name });
  if (file.size > limits.bytes) return t("write.file_too_big", limitsInWords());
  const isAudio = /^(audio|video)\//.test(file.type) || AUDIO.test(file.name);
  return isAudio ? null : t("write.file_not_audio", { name: file.name });
}
