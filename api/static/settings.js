// What a person has chosen, kept in this browser.

import { read, write } from "./kept.js";
import { Signals } from "./signals.js";

const DEFAULTS = {
  lang: null, // null: the browser's
  theme: "system",
  speak: "voice", // which messages get a spoken reply: "voice", "always", "never"
  autoPlay: true,
  autoSend: false, // a recording is sent after a silence
  speed: 1,
};

const signals = new Signals();
const values = { ...DEFAULTS, ...read("settings", {}) };

/** The settings: read and set like plain fields; each change is kept, and told by `onSetting`. */
export const settings = new Proxy(values, {
  set(target, name, value) {
    if (target[name] === value) return true;
    target[name] = value;
    write("settings", { ...target });
    signals.emit(name, value);
    return true;
  },
});

/** Call `listener` with each new value of a setting; the answer takes it off. */
export function onSetting(name, listener) {
  return signals.on(name, listener);
}

/** Show the chosen theme, now and whenever another is chosen. */
export function applyTheme() {
  const show = (theme) => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  };
  show(settings.theme);
  onSetting("theme", show);
}
