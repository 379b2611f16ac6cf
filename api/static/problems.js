// What went wrong, in words that say what to do.

import { Problem, Unreachable } from "./api.js";
import { has, language, t } from "./i18n.js";
import { limitsInWords } from "./limits.js";

/** The words for an error of a request. */
export function wordsOf(error) {
  if (error instanceof Unreachable) return t(navigator.onLine ? "error.unreachable" : "error.offline");
  if (!(error instanceof Problem)) return t("error.unexpected");
  const key = `error.${error.code}`;
  if (error.status === 429 && error.retryAfter) return t("error.rate_limited", { wait: waitOf(error.retryAfter) });
  if (error.code === "invalid" && error.fields.length) return t("error.fields");
  if (has(key)) return t(key, limitsInWords());
  return serverWords(error.detail) || t("error.unexpected");
}

/** The words for a job that failed: its `error`. */
export function wordsOfJob(problem) {
  const key = `failed.${problem?.code}`;
  return has(key) ? t(key) : serverWords(problem?.detail) || t("failed.internal");
}

/** What the server says for itself, where the page is in its language. */
const serverWords = (words) => (language() === "en" ? words : null);

/** A refusal of our own, as the API would say it: `errors` are `{ field, words }`. */
export const refusal = (...errors) => new Problem(422, { code: "invalid", errors }, null);

/** Show which fields of a form are wrong, each beside its field; the words for the form itself, or null. */
export function showFieldErrors(form, error) {
  for (const field of form.querySelectorAll("[data-field]")) setFieldError(field, null);
  const shown = error instanceof Problem ? error.fields : [];
  let first = null;
  for (const { field, words, message } of shown) {
    const place = form.querySelector(`[data-field="${CSS.escape(field.split(".")[0])}"]`);
    if (!place) continue;
    setFieldError(place, words ?? sentence(serverWords(message) ?? t("error.field")));
    place.closest("details")?.setAttribute("open", "");
    first ??= place.querySelector("input, textarea, select");
  }
  first?.focus();
  first?.scrollIntoView({ block: "center" }); // the head of a dialog lies over its edge
  return first && shown.length === form.querySelectorAll("[aria-invalid]").length ? null : wordsOf(error);
}

/** Raise what the API would say of fields that are empty or too short, without asking it. */
export function checkFilled(form) {
  const errors = [];
  for (const input of form.querySelectorAll("[required]")) {
    const { field } = input.closest("[data-field]").dataset;
    const { length } = input.value.trim();
    if (length === 0) errors.push({ field, words: t("error.required") });
    else if (length < input.minLength) errors.push({ field, words: t("error.short", { n: input.minLength }) });
  }
  if (errors.length) throw refusal(...errors);
}

function setFieldError(place, words) {
  const input = place.querySelector("input, textarea, select");
  const message = place.querySelector(".field-error");
  message.textContent = words ?? "";
  message.hidden = !words;
  if (words) input?.setAttribute("aria-invalid", "true");
  else input?.removeAttribute("aria-invalid");
}

function sentence(message) {
  const words = message.replace(/^Value error, /, "");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function waitOf(seconds) {
  if (seconds < 90) return t("time.seconds", { n: Math.ceil(seconds) });
  if (seconds < 5_400) return t("time.minutes", { n: Math.ceil(seconds / 60) });
  return t("time.hours", { n: Math.ceil(seconds / 3_600) });
}
