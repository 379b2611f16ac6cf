// The side bar: agents, each with its conversations; search; and the ways to account, settings and language.

import { fill, h } from "./dom.js";
import { language, LANGUAGES, money, t } from "./i18n.js";
import { icon } from "./icons.js";
import { menuButton } from "./menu.js";
import { announce } from "./notices.js";
import { deleteAgent, deleteSession, editAgent, renameSession } from "./actions.js";

const SEARCH_MS = 250;

export class Sidebar {
  #off = [];
  #timer = null;
  #current = null;

  /** `does`: `start(agentId, click)`, `openSettings()`, `chooseLanguage(lang)`, `close()`. */
  constructor(library, { does, me }) {
    this.collection = library;
    this.does = does;
    this.me = me;
    this.element = this.#build();
    this.#off.push(library.on("changed", () => this.#show()));
    this.showMe();
    this.#show();
  }

  /** Mark the conversation that is open. */
  mark(sessionId) {
    this.#current = sessionId;
    for (const link of this.groups.querySelectorAll("a.session")) {
      if (link.dataset.id === sessionId) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }

  /** Show who is signed in, and the balance. */
  showMe() {
    const me = this.me();
    const balance = me?.balance ?? null;
    fill(
      this.account,
      icon("user"),
      h("span", { class: "account-name" }, h("bdi", {}, me?.username ?? t("side.account"))),
      balance !== null && h("span", { class: "balance", dir: "ltr", title: t("side.balance") }, money(balance)),
    );
    const said = [me?.username, t("side.account"), balance !== null && `${t("side.balance")} ${money(balance)}`];
    this.account.setAttribute("aria-label", said.filter(Boolean).join(", "));
  }

  destroy() {
    for (const off of this.#off) off();
    this.element.remove();
  }

  #build() {
    const { does } = this;
    const close = h(
      "button",
      { type: "button", class: "icon-button drawer-only", "aria-label": t("side.close"), onclick: () => does.close() },
      icon("close"),
    );
    const brand = h(
      "div",
      { class: "brand" },
      h("img", { src: "/static/favicon.svg", alt: "", width: "28", height: "28" }),
      h("span", {}, t("app.name")),
      close,
    );
    const start = h(
      "button",
      { type: "button", class: "button wide-button", onclick: (click) => does.start(null, click) },
      icon("plus"),
      t("side.new"),
    );
    this.search = h("input", {
      type: "search",
      class: "search",
      placeholder: t("side.search"),
      "aria-label": t("side.search_what"),
      autocomplete: "off",
      dir: "auto",
      oninput: () => this.#searched(),
    });
    this.groups = h("div", { class: "groups" });
    const agent = h(
      "button",
      { type: "button", class: "ghost-button", onclick: () => editAgent(this.collection, null) },
      icon("plus"),
      t("side.new_agent"),
    );
    this.account = h("a", { class: "side-row", href: "#/account" });
    const options = h(
      "button",
      {
        type: "button",
        class: "icon-button",
        "aria-label": t("side.settings"),
        title: t("side.settings"),
        onclick: () => does.openSettings(),
      },
      icon("settings"),
    );
    const other = language() === "ar" ? "en" : "ar";
    const swap = h(
      "button",
      {
        type: "button",
        class: "ghost-button",
        lang: other,
        onclick: () => does.chooseLanguage(other),
      },
      icon("language"),
      LANGUAGES[other],
    );
    return h(
      "aside",
      { class: "side", id: "side", "aria-label": t("side.label") },
      brand,
      start,
      h("div", { class: "search-box" }, icon("search"), this.search),
      h("nav", { class: "side-scroll", "aria-label": t("side.label") }, this.groups, agent),
      h("div", { class: "side-foot" }, this.account, h("div", { class: "side-tools" }, swap, options)),
    );
  }

  #searched() {
    clearTimeout(this.#timer);
    this.#show();
    this.#timer = setTimeout(async () => {
      if (this.search.value.trim()) await this.collection.all().catch(() => {});
      this.#show();
      if (this.search.value.trim()) announce(t("side.found", { n: this.groups.querySelectorAll("a.session").length }));
    }, SEARCH_MS);
  }

  #show() {
    const menu = this.groups.querySelector(":popover-open");
    if (menu) return void menu.addEventListener("toggle", () => this.#show(), { once: true }); // it would go with its row
    const wanted = folded(this.search.value);
    const focused = this.groups.contains(document.activeElement) && document.activeElement.dataset.key;
    const groups = [];
    for (const agent of this.#agents()) {
      const mine = this.collection.sessions.filter((session) => session.agent_id === agent.id);
      const isWanted = folded(agent.name).includes(wanted);
      const shown = isWanted ? mine : mine.filter((session) => folded(nameOf(session)).includes(wanted));
      if (isWanted || shown.length) groups.push(this.#group(agent, shown, wanted));
    }
    if (wanted && !groups.length) groups.push(h("p", { class: "quiet side-empty" }, t("side.nothing")));
    if (this.collection.hasMore && !wanted)
      groups.push(h("button", { type: "button", class: "ghost-button", onclick: () => this.collection.more() }, t("app.more")));
    fill(this.groups, groups);
    this.mark(this.#current);
    if (focused) this.groups.querySelector(`[data-key="${focused}"]`)?.focus();
  }

  #agents() {
    const latest = new Map();
    for (const session of this.collection.sessions)
      if (!latest.has(session.agent_id)) latest.set(session.agent_id, session.last_activity_at);
    const when = (agent) => latest.get(agent.id) ?? agent.created_at;
    return [...this.collection.agents].sort((a, b) => when(b).localeCompare(when(a)));
  }

  #group(agent, sessions, wanted) {
    const start = h(
      "button",
      {
        type: "button",
        class: "icon-button small",
        dataset: { key: `new-${agent.id}` },
        "aria-label": t("side.new_with", { name: agent.name }),
        title: t("side.new_with", { name: agent.name }),
        onclick: (click) => this.does.start(agent.id, click),
      },
      icon("plus"),
    );
    const menu = menuButton(t("side.actions", { name: agent.name }), `agent-${agent.id}`, [
      { name: t("agent.edit_item"), icon: "pencil", act: () => editAgent(this.collection, agent) },
      { name: t("agent.delete_item"), icon: "trash", isDanger: true, act: () => deleteAgent(this.collection, agent) },
    ]);
    const rows = sessions.map((session) => this.#session(session));
    const isKnown = !wanted && !this.collection.hasMore; // what it has may come with those that are not loaded yet
    const none = !rows.length && isKnown && h("li", { class: "quiet side-empty" }, t("side.no_sessions"));
    return h(
      "section",
      { class: "group" },
      h("div", { class: "group-head" }, h("h2", { dir: "auto", title: agent.name }, agent.name), start, menu),
      h("ul", {}, rows, none),
    );
  }

  #session(session) {
    const name = nameOf(session);
    const menu = menuButton(t("side.actions", { name }), `session-${session.id}`, [
      { name: t("session.rename"), icon: "pencil", act: () => renameSession(this.collection, session) },
      { name: t("session.delete"), icon: "trash", isDanger: true, act: () => deleteSession(this.collection, session) },
    ]);
    return h(
      "li",
      { class: "row" },
      h(
        "a",
        { class: "session", href: `#/s/${session.id}`, dataset: { id: session.id, key: `open-${session.id}` }, title: name },
        h("span", { dir: "auto" }, name),
      ),
      menu,
    );
  }
}

/** A session's name, or words for one that has none yet. */
export const nameOf = (session) => session.name || t("side.untitled");

const folded = (text) => text.trim().normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
