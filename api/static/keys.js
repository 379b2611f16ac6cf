// API keys: made, shown once, revoked.

import { listAll, post, remove } from "./api.js";
import { confirmDialog, dialogForm, field, openDialog } from "./dialog.js";
import { fill, h } from "./dom.js";
import { day, t } from "./i18n.js";
import { icon } from "./icons.js";
import { copy } from "./notices.js";
import { refusal, wordsOf } from "./problems.js";

const SCOPES = ["read", "write"];

/** The section, which loads itself. */
export function keysSection() {
  const place = h("div", {}, h("p", { class: "quiet" }, t("app.loading")));
  const make = async () => {
    const made = await makeKey();
    if (made) await showKey(made.key);
    if (made) await load(place);
  };
  const add = h("button", { type: "button", class: "ghost-button", onclick: make }, icon("plus"), t("key.new"));
  load(place);
  return h(
    "section",
    { class: "panel" },
    h("div", { class: "panel-head" }, h("h2", {}, t("key.title")), add),
    h("p", { class: "quiet" }, t("key.what")),
    place,
  );
}

async function load(place) {
  try {
    const keys = await listAll("auth/key");
    if (!keys.length) return void fill(place, h("p", { class: "quiet" }, t("key.none")));
    fill(
      place,
      h(
        "ul",
        { class: "keys" },
        keys.map((key) => row(key, () => load(place))),
      ),
    );
  } catch (error) {
    fill(place, h("p", { role: "alert" }, wordsOf(error)));
  }
}

function row(key, reload) {
  const isOver = key.expires_at !== null && new Date(key.expires_at) < new Date();
  const isGood = !key.revoked_at && !isOver;
  const until = key.expires_at ? t("key.until", { day: day(key.expires_at) }) : t("key.active");
  const state = key.revoked_at ? t("key.revoked") : isOver ? t("key.ended") : until;
  const scopes = key.scopes.map((scope) => t(`key.scope_${scope}`)).join(", ");
  const facts = h(
    "p",
    { class: "quiet" },
    h("code", { dir: "ltr" }, `${key.prefix}…`),
    ` · ${scopes} · ${t("key.made_on", { day: day(key.created_at) })}`,
  );
  const revoke =
    isGood &&
    h(
      "button",
      {
        type: "button",
        class: "ghost-button small",
        "aria-label": t("key.revoke_named", { name: key.name }),
        onclick: () => revokeKey(key, reload),
      },
      t("key.revoke"),
    );
  return h(
    "li",
    { class: isGood ? null : "is-over" },
    h("div", {}, h("p", {}, h("strong", { dir: "auto" }, key.name), " ", h("span", { class: "badge" }, state)), facts),
    revoke,
  );
}

function makeKey() {
  const name = h("input", { type: "text", maxlength: "100", required: true, dir: "auto", autocomplete: "off" });
  const checks = SCOPES.map((scope) => [scope, h("input", { type: "checkbox", checked: true })]);
  const ends = h("input", { type: "date" });
  const scopes = h(
    "fieldset",
    { dataset: { field: "scopes" } },
    h("legend", {}, t("key.scopes")),
    h(
      "div",
      { class: "checks" },
      checks.map(([scope, input]) => h("label", { class: "check" }, input, t(`key.scope_${scope}`))),
    ),
    h("p", { class: "field-error", hidden: true }),
  );
  const save = () => {
    const chosen = checks.filter(([, input]) => input.checked).map(([scope]) => scope);
    if (!chosen.length) throw refusal({ field: "scopes", words: t("key.scopes_none") });
    const expires = ends.value ? new Date(`${ends.value}T23:59:59`) : null;
    if (expires && expires < new Date()) throw refusal({ field: "expires_at", words: t("key.expires_past") });
    return post("auth/key", { name: name.value, scopes: chosen, expires_at: expires?.toISOString() ?? null });
  };
  const fields = [
    field("name", t("key.name"), name, t("key.name_hint")),
    scopes,
    field("expires_at", t("key.expires"), ends, t("key.expires_hint")),
  ];
  return openDialog(t("key.new"), (close) => dialogForm(close, { action: t("key.make"), save }, fields));
}

function showKey(secret) {
  const build = (close) => {
    const take = h("button", { type: "button", class: "ghost-button", onclick: () => copy(secret) }, icon("copy"), t("key.copy"));
    const done = h("button", { type: "button", class: "button", onclick: () => close() }, t("key.done"));
    return h(
      "div",
      { class: "body" },
      h("p", {}, t("key.made_what")),
      h("code", { class: "secret", dir: "ltr", tabindex: "0" }, secret),
      h("div", { class: "actions" }, take, done),
    );
  };
  return openDialog(t("key.made_title"), build, { isKept: true });
}

async function revokeKey(key, reload) {
  const save = () => remove(`auth/key/${key.id}`);
  const text = t("key.revoke_what", { name: key.name });
  if (await confirmDialog({ title: t("key.revoke_title"), text, action: t("key.revoke"), save })) await reload();
}
