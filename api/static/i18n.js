// Words in the person's language, and numbers, dates and money as they are written in it.

import { settings } from "./settings.js";
import sound from "./strings.sound.js";

const LOAD = { en: () => import("./strings.en.js"), ar: () => import("./strings.ar.js") };
const LOCALES = { en: "en", ar: "ar-u-nu-latn" }; // one kind of digits, as in players and prices

export const LANGUAGES = { en: "English", ar: "العربية" };

let words = {};
let plurals = new Intl.PluralRules("en");

/** The language of the page. */
export function language() {
  return settings.lang ?? (/^ar\b/.test(navigator.language) ? "ar" : "en");
}

/** Load the words of a language, and make it known to the browser: its direction, voices of screen readers. */
export async function applyLanguage(lang = language()) {
  words = { ...(await LOAD[lang]()).default, ...sound[lang] };
  document.documentElement.lang = lang;
  document.documentElement.dir = lang === "ar" ? "rtl" : "ltr";
  plurals = new Intl.PluralRules(lang);
}

/** Whether there are words of ours for a key. */
export function has(key) {
  return key in words;
}

/** The words for a key, with `{names}` filled in; those that count something choose their form by `n`. */
export function t(key, given = {}) {
  let found = words[key] ?? key;
  if (typeof found === "object") found = found[plurals.select(given.n)] ?? found.other;
  return found.replace(/\{(\w+)\}/g, (whole, name) => {
    const value = given[name];
    if (value === undefined) return whole;
    return typeof value === "number" ? number(value) : value;
  });
}

const locale = () => LOCALES[language()];

/** A number. */
export function number(value, options) {
  return new Intl.NumberFormat(locale(), options).format(value);
}

/** Dollars, as exact as small prices need. */
export function money(dollars) {
  const amount = Number(dollars);
  const digits = amount !== 0 && Math.abs(amount) < 1 ? 6 : 2;
  const style = { style: "currency", currency: "USD", minimumFractionDigits: 2, maximumFractionDigits: digits };
  return number(amount, style);
}

/** A moment as the time of day, with the date when that is not today. */
export function moment(iso) {
  const then = new Date(iso);
  const today = then.toDateString() === new Date().toDateString();
  const options = today ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" };
  return new Intl.DateTimeFormat(locale(), options).format(then);
}

/** A day. */
export function day(iso) {
  return new Intl.DateTimeFormat(locale(), { dateStyle: "medium", timeZone: "UTC" }).format(new Date(iso));
}

/** The name of a language in the page's own. */
export function languageName(code) {
  try {
    return new Intl.DisplayNames([locale()], { type: "language" }).of(code);
  } catch {
    return code;
  }
}
