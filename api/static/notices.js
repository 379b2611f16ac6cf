// What the page says beside the conversation: to screen readers, in passing, and about the connection.

import { connection } from "./api.js";
import { fill, h } from "./dom.js";
import { t } from "./i18n.js";
import { icon } from "./icons.js";

const SHOWN_MS = 6_000;
const SETTLED_MS = 100;
const PATIENCE_MS = 1_500; // a request that fails once is no outage yet

const spoken = h("div", { class: "hidden", role: "status", "aria-live": "polite", "aria-atomic": "false" });
const toasts = h("div", { class: "toasts", role: "status", "aria-live": "polite" });
const banner = h("div", { class: "banner", role: "status", "aria-live": "polite", hidden: true });

/** Put the places for notices into the page. */
export function install() {
  document.body.append(spoken, h("div", { class: "notices" }, banner, toasts));
  connection.on("online", () => show(false));
  connection.on("offline", () => show(true));
  addEventListener("offline", () => show(true));
  addEventListener("online", () => navigator.onLine && show(false));
}

/** Have words read out by a screen reader, after those before them; the same words twice are read twice. */
export function announce(words) {
  const said = h("p", {}, words);
  spoken.append(said);
  setTimeout(() => said.remove(), SHOWN_MS);
}

let state = null;

/** Have a state read out unless it is over at once; null: there is none any more. */
export function announceState(words) {
  clearTimeout(state);
  if (words) state = setTimeout(announce, SETTLED_MS, words);
}

/** Show words in passing. Inside a dialog they would be behind it: it holds them then. */
export function toast(words, { isError = false } = {}) {
  const close = h("button", { type: "button", class: "icon-button small", "aria-label": t("app.close") }, icon("close"));
  const shown = h(
    "div",
    { class: `toast${isError ? " toast-error" : ""}` },
    icon(isError ? "alert" : "check"),
    h("p", { dir: "auto" }, words),
    close,
  );
  const end = () => shown.remove();
  close.addEventListener("click", end);
  (document.querySelector("dialog[open] .toasts") ?? toasts).append(shown);
  setTimeout(end, isError ? SHOWN_MS * 2 : SHOWN_MS);
}

/** Leave nothing of what was said to whoever comes next. */
export function forget() {
  announceState(null);
  spoken.replaceChildren();
  toasts.replaceChildren();
}

let isAway = false;
let timer = null;

function show(away) {
  if (away === isAway) return;
  isAway = away;
  clearTimeout(timer);
  if (away) {
    timer = setTimeout(() => {
      fill(banner, icon("alert"), t(navigator.onLine ? "app.unreachable" : "app.offline"));
      banner.hidden = false;
    }, PATIENCE_MS);
  } else if (!banner.hidden) {
    banner.hidden = true;
    toast(t("app.back"));
  }
}

/** Copy text; says whether it worked. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast(t("app.copied"));
  } catch {
    toast(t("app.not_copied"), { isError: true }); // plain http, or not allowed
  }
}
