// Making and changing an agent.

import { dialogForm, field, openDialog } from "./dialog.js";
import { h, newId } from "./dom.js";
import { languageName, t } from "./i18n.js";
import { toast } from "./notices.js";
import { refusal } from "./problems.js";

const OFTEN = ["en", "ar"];
const ROLES = { ai_chat: "chat", ai_stt: "stt", ai_tts: "tts" };

/** Ask what an agent is; null makes a new one. Answers with the agent, or null. */
export async function agentDialog(library, agent) {
  const models = await library.loadModels().catch(() => []);
  const form = new AgentForm(agent, models);
  const save = async () => {
    const fields = form.read();
    if (!agent) return library.createAgent(fields);
    await library.changeAgent(agent.id, fields);
    return agent;
  };
  const build = (close) => dialogForm(close, { action: t("app.save"), save }, form.fields());
  const saved = await openDialog(t(agent ? "agent.edit" : "agent.new"), build, { wide: true });
  if (saved) toast(t("agent.saved"));
  return saved;
}

class AgentForm {
  constructor(agent, models) {
    const known = agent ?? { name: "", prompt: "", personality: "", languages: [], language: null, voice: null, voices: {} };
    this.models = models;
    this.name = h("input", {
      type: "text",
      value: known.name,
      maxlength: "200",
      required: true,
      dir: "auto",
      autocomplete: "off",
    });
    this.prompt = h("textarea", { rows: "5", maxlength: "32000", dir: "auto", value: known.prompt });
    this.personality = h("textarea", { rows: "2", maxlength: "8000", dir: "auto", value: known.personality });
    this.checks = OFTEN.map((code) => [
      code,
      h("input", { type: "checkbox", checked: known.languages.includes(code), onchange: () => this.#showVoices() }),
    ]);
    const others = [...known.languages, ...Object.keys(known.voices)].filter(
      (code, n, all) => !OFTEN.includes(code) && all.indexOf(code) === n,
    );
    this.others = h("input", {
      type: "text",
      value: others.join(", "),
      dir: "ltr",
      autocomplete: "off",
      autocapitalize: "none",
      spellcheck: "false",
      oninput: () => this.#showVoices(), // not on change: a click on Save would move it away from under itself
    });
    this.first = known.language;
    this.language = h("select", {
      onchange: () => {
        this.first = this.language.value;
      },
    });
    this.selects = Object.fromEntries(Object.keys(ROLES).map((name) => [name, this.#modelSelect(name, known[name] ?? null)]));
    this.voiceNames = h("datalist", { id: newId("voices") });
    this.voice = this.#voiceInput(known.voice);
    this.voices = new Map(Object.entries(known.voices).map(([code, voice]) => [code, this.#voiceInput(voice)]));
    this.voiceRows = h("div", { class: "field-row" });
    this.selects.ai_tts.addEventListener("change", () => this.#showVoiceNames());
    this.#showVoiceNames();
    this.#showVoices();
  }

  fields() {
    const checks = this.checks.map(([code, input]) => h("label", { class: "check" }, input, languageName(code)));
    const languages = h(
      "fieldset",
      { dataset: { field: "languages" } },
      h("legend", {}, t("agent.languages")),
      h("div", { class: "checks" }, checks),
      h("p", { class: "hint" }, t("agent.languages_hint")),
      h("p", { class: "field-error", hidden: true }),
    );
    const models = Object.entries(this.selects).map(([name, select]) => field(name, t(`agent.${name}`), select));
    return [
      field("name", t("agent.name"), this.name),
      field("prompt", t("agent.prompt"), this.prompt, t("agent.prompt_hint")),
      field("personality", t("agent.personality"), this.personality, t("agent.personality_hint")),
      languages,
      h(
        "details",
        {},
        h("summary", {}, t("agent.models")),
        models,
        field("other_languages", t("agent.other_languages"), this.others, t("agent.other_languages_hint")),
        field("voice", t("agent.voice"), this.voice, t("agent.voice_hint")),
        h("div", { dataset: { field: "voices" } }, this.voiceRows, h("p", { class: "field-error", hidden: true })),
        field("language", t("agent.language"), this.language),
        this.voiceNames,
      ),
    ];
  }

  /** The agent's fields as the API takes them. */
  read() {
    const others = codesOf(this.others.value);
    if (!others.every(isCode)) throw refusal({ field: "other_languages", words: t("agent.not_a_language") });
    const voices = Object.fromEntries(
      this.#codes()
        .map((code) => [code, this.voices.get(code)?.value.trim()])
        .filter(([, voice]) => voice),
    );
    const models = Object.fromEntries(Object.entries(this.selects).map(([name, select]) => [name, select.value || null]));
    return {
      name: this.name.value.trim(),
      prompt: this.prompt.value,
      personality: this.personality.value,
      languages: this.#languages(),
      language: this.language.value || null,
      ...models,
      voice: this.voice.value.trim() || null,
      voices,
    };
  }

  #languages() {
    return [...this.checks.filter(([, input]) => input.checked).map(([code]) => code), ...codesOf(this.others.value)];
  }

  #codes() {
    return [...new Set([...OFTEN, ...codesOf(this.others.value)])];
  }

  #modelSelect(name, value) {
    const mine = this.models.filter((model) => model.kind === ROLES[name]);
    const first = mine.find((model) => model.is_default);
    const server = h("option", { value: "" }, first ? t("agent.model_default", { model: first.id }) : t("agent.model_server"));
    const ids = mine.map((model) => model.id);
    if (value && !ids.includes(value)) ids.unshift(value); // several, or one that is no longer in the list
    const select = h(
      "select",
      { dir: "ltr" },
      server,
      ids.map((id) => h("option", { value: id }, id)),
    );
    select.value = value ?? "";
    return select;
  }

  #voiceInput(value) {
    return h("input", {
      type: "text",
      value: value ?? "",
      maxlength: "100",
      dir: "ltr",
      list: this.voiceNames.id,
      autocomplete: "off",
      spellcheck: "false",
    });
  }

  #showVoiceNames() {
    const chosen = this.selects.ai_tts.value;
    const model = this.models.find((one) => (chosen ? one.id === chosen : one.kind === "tts" && one.is_default));
    this.voiceNames.replaceChildren(...(model?.voices ?? []).map((voice) => h("option", { value: voice })));
  }

  #showVoices() {
    const codes = this.#codes().filter(isCode);
    for (const code of codes) if (!this.voices.has(code)) this.voices.set(code, this.#voiceInput(null));
    this.voiceRows.replaceChildren(
      ...codes.map((code) =>
        field(`voices.${code}`, t("agent.voice_in", { language: languageName(code) }), this.voices.get(code)),
      ),
    );
    const chosen = this.#languages().filter(isCode);
    const languages = chosen.length ? chosen : codes;
    this.language.replaceChildren(
      h("option", { value: "" }, t("agent.language_any")),
      ...languages.map((code) => h("option", { value: code }, languageName(code))),
    );
    this.language.value = languages.includes(this.first) ? this.first : "";
  }
}

const isCode = (code) => /^[a-z]{2}$/.test(code);

const codesOf = (text) =>
  text
    .split(/[\s,،]+/)
    .map((code) => code.trim().toLowerCase())
    .filter(Boolean);
