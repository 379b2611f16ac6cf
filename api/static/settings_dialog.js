// What a person can choose for this browser.

import { openDialog } from "./dialog.js";
import { h, newId } from "./dom.js";
import { language, LANGUAGES, t } from "./i18n.js";
import { settings } from "./settings.js";

/** Open the settings; every choice holds at once. `chooseLanguage(lang)` answers with whether it was chosen. */
export function settingsDialog(version, chooseLanguage) {
  return openDialog(t("settings.title"), () =>
    h(
      "div",
      { class: "body" },
      choice(t("app.language"), language(), Object.entries(LANGUAGES), chooseLanguage),
      choice(
        t("settings.theme"),
        settings.theme,
        ["system", "light", "dark"].map((name) => [name, t(`settings.theme_${name}`)]),
        (value) => {
          settings.theme = value;
        },
      ),
      choice(
        t("settings.speak"),
        settings.speak,
        ["voice", "always", "never"].map((name) => [name, t(`settings.speak_${name}`)]),
        (value) => {
          settings.speak = value;
        },
      ),
      check("autoPlay", "auto_play"),
      check("autoSend", "auto_send"),
      h(
        "p",
        { class: "quiet links" },
        h("a", { href: "/api/v1/docs" }, t("settings.docs")),
        h("span", {}, t("settings.version", { version })),
      ),
    ),
  );
}

function choice(words, value, options, choose) {
  const name = newId("choice");
  const chosen = async (key) => {
    if ((await choose(key)) === false) choices.querySelector(`[value="${value}"]`).checked = true;
  };
  const radios = options.map(([key, label]) =>
    h(
      "label",
      { class: "segment" },
      h("input", { type: "radio", name, value: key, checked: key === value, onchange: () => chosen(key) }),
      h("span", {}, label),
    ),
  );
  const choices = h("fieldset", {}, h("legend", {}, words), h("div", { class: "segments" }, radios));
  return choices;
}

function check(setting, words) {
  const id = newId("hint");
  const input = h("input", {
    type: "checkbox",
    role: "switch",
    checked: settings[setting],
    "aria-describedby": id,
    onchange: () => {
      settings[setting] = input.checked;
    },
  });
  return h(
    "div",
    { class: "switch" },
    h("label", { class: "check" }, input, t(`settings.${words}`)),
    h("p", { class: "hint", id }, t(`settings.${words}_hint`)),
  );
}
