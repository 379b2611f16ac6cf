// The account: who one is, what one may spend, what was used, and the keys of one's programs.

import { get, post } from "./api.js";
import { dialogForm, field, openDialog } from "./dialog.js";
import { fill, h } from "./dom.js";
import { money, t } from "./i18n.js";
import { icon } from "./icons.js";
import { keysSection } from "./keys.js";
import { toast } from "./notices.js";
import { wordsOf } from "./problems.js";
import { keep } from "./tokens.js";
import { usageSection } from "./usage.js";

const LIMITS = ["requests_per_minute", "jobs_at_a_time", "audio_minutes_per_day", "tokens_per_day"];

/** The view. `isGuarded`: one signs in here; `signOut()` ends the login; `backTo` is where one came from. */
export function accountView({ isGuarded, signOut, backTo, head }) {
  const profile = h("section", { class: "panel" }, h("p", { class: "quiet" }, t("app.loading")));
  const back = h("a", { class: "ghost-button", href: backTo, "aria-label": t("me.back"), title: t("me.back") }, icon("chat"), h("span", {}, t("me.back")));
  const element = h(
    "div",
    { class: "account" },
    head(h("h1", { tabindex: "-1" }, t("me.title")), back),
    h(
      "div",
      { class: "account-body" },
      isGuarded ? profile : h("p", { class: "panel note" }, t("me.local")),
      usageSection(),
      isGuarded && keysSection(),
    ),
  );
  if (isGuarded) showProfile(profile, signOut);
  return element;
}

async function showProfile(place, signOut) {
  try {
    const me = await get("auth/me");
    const limits = LIMITS.filter((name) => me[name] !== null).map((name) => t(`me.${name}`, { n: me[name] }));
    const rows = [
      [t("me.username"), h("bdi", {}, me.username)],
      [t("me.role"), t(`me.role_${me.role}`)],
      [t("me.balance"), me.balance === null ? t("me.unlimited") : h("bdi", { dir: "ltr", class: "amount" }, money(me.balance))],
      Number(me.reserved) > 0 && [t("me.reserved"), h("bdi", { dir: "ltr" }, money(me.reserved))],
      [
        t("me.limits"),
        limits.length
          ? h(
              "ul",
              { class: "plain" },
              limits.map((words) => h("li", {}, words)),
            )
          : t("me.limits_server"),
      ],
    ];
    const facts = rows.filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)));
    const change = h("button", { type: "button", class: "ghost-button", onclick: changePassword }, icon("key"), t("me.password"));
    const out = h("button", { type: "button", class: "ghost-button", onclick: signOut }, icon("out"), t("sign.out"));
    fill(
      place,
      h("h2", {}, t("me.profile")),
      h("dl", { class: "facts" }, facts),
      h("div", { class: "panel-actions" }, change, out),
    );
  } catch (error) {
    fill(place, h("p", { role: "alert" }, wordsOf(error)));
  }
}

async function changePassword() {
  const input = (autocomplete) => h("input", { type: "password", autocomplete, required: true, maxlength: "200", dir: "ltr" });
  const [now, next] = [input("current-password"), input("new-password")];
  next.minLength = 8;
  const save = async () => keep(await post("auth/password", { current_password: now.value, new_password: next.value }));
  const fields = [
    field("current_password", t("me.password_now"), now),
    field("new_password", t("me.password_new"), next, t("sign.password_hint")),
  ];
  const isDone = await openDialog(t("me.password"), (close) => dialogForm(close, { action: t("app.save"), save }, fields));
  if (isDone) toast(t("me.password_done"));
}
