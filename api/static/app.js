// The page: how it starts, what is shown where, and how one gets from one view to another.

import { connection, get, post, Problem } from "./api.js";
import { fill, h } from "./dom.js";
import { applyLanguage, t } from "./i18n.js";
import { icon } from "./icons.js";
import { forgetPerson, read } from "./kept.js";
import { Library } from "./library.js";
import { learnLimits } from "./limits.js";
import * as notices from "./notices.js";
import { applyTheme, settings } from "./settings.js";
import { signInView } from "./sign_in.js";
import { isSignedIn, keep, onSignInElsewhere } from "./tokens.js";
import { Workspace } from "./workspace.js";

const root = document.getElementById("app");
const AGAIN_MS = 3_000;

let health = null;
let workspace = null;
let wasOver = false;

async function start() {
  applyTheme();
  await applyLanguage();
  notices.install();
  connection.on("signed-out", () => {
    wasOver ||= workspace !== null; // several requests may find it out
    if (workspace) signedOut({ isOver: true });
  });
  onSignInElsewhere((isIn) => {
    if (isIn === (workspace !== null)) return;
    if (isIn) show();
    else signedOut({ isElsewhere: true, isOver: workspace.userId === read("person") });
  });
  await arrive();
}

async function arrive() {
  try {
    health = await get("/health", { open: true });
  } catch {
    cannotStart();
    setTimeout(arrive, AGAIN_MS);
    return;
  }
  learnLimits(health);
  if (health.auth === "off" && isSignedIn()) await keep(null);
  await show();
}

async function show() {
  workspace?.destroy();
  workspace = null;
  if (!health) return;
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  if (health.auth === "on" && !isSignedIn()) {
    const isRegistrationOpen = health.registration === "open";
    const onSignedIn = () => {
      wasOver = false;
      show();
    };
    fill(root, signInView({ isRegistrationOpen, wasOver, onSignedIn, chooseLanguage }));
    root.querySelector("[autofocus]")?.focus();
    return;
  }
  const mine = new Workspace({ library: new Library(), health, account, signOut, chooseLanguage });
  workspace = mine;
  try {
    await mine.load();
  } catch (error) {
    if (workspace !== mine) return; // signed out meanwhile
    if (error instanceof Problem && error.status === 401) return;
    cannotStart();
    setTimeout(() => workspace === mine && show(), AGAIN_MS);
    return;
  }
  if (workspace === mine) mine.show(root);
}

/** Go on in another language; whether one does. */
async function chooseLanguage(lang) {
  if (workspace && !(await workspace.mayLeave())) return false;
  try {
    await applyLanguage(lang);
  } catch {
    notices.toast(t("app.language_failed"), { isError: true });
    return false;
  }
  settings.lang = lang;
  await show();
  return true;
}

async function account(options) {
  const { accountView } = await import("./account.js");
  return accountView({ isGuarded: health.auth === "on", signOut, ...options });
}

async function signOut() {
  try {
    await post("auth/logout");
  } catch {
    // the login ends by itself; the tokens are forgotten here in any case
  }
  wasOver = false;
  signedOut();
}

/** `isOver`: nobody wanted it, and what is kept waits for the same person to sign in again. */
async function signedOut({ isElsewhere = false, isOver = false } = {}) {
  if (health?.auth !== "on") return;
  workspace?.destroy();
  if (!isOver && !isElsewhere) forgetPerson(); // elsewhere it was done there, and somebody else may have come
  notices.forget();
  if (!isElsewhere) await keep(null);
  if (!isOver) history.replaceState(null, "", location.pathname);
  show();
}

function cannotStart() {
  const again = h(
    "button",
    { type: "button", class: "button", onclick: () => location.reload() },
    icon("retry"),
    t("app.try_again"),
  );
  fill(root, h("main", { class: "empty" }, h("h1", {}, t("app.cannot_start")), h("p", {}, t("app.cannot_start_what")), again));
}

start();
