// Side bar, conversation and composer: what one sees when one may.

import { get, Problem, Unreachable } from "./api.js";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { ConversationView } from "./conversation_view.js";
import { confirmDialog } from "./dialog.js";
import { fill, h } from "./dom.js";
import { takeDrops } from "./drops.js";
import { t } from "./i18n.js";
import { icon } from "./icons.js";
import { belongsTo, read, write } from "./kept.js";
import { menuButton } from "./menu.js";
import { toast } from "./notices.js";
import { wordsOf } from "./problems.js";
import { deleteSession, editAgent, renameSession } from "./actions.js";
import { settings } from "./settings.js";
import { settingsDialog } from "./settings_dialog.js";
import { nameOf, Sidebar } from "./sidebar.js";
import { silence } from "./sound-parts.js";

export class Workspace {
  #me = null;
  #view = null;
  #composer = null;
  #conversation = null;
  #opens = 0; // counts what is shown: what comes too late for its turn is not shown any more
  #isStarting = false;
  #sending = new Map(); // conversations left while something was on its way out, by session id
  #off = new AbortController();

  /** `account(options)` makes the account's view. */
  constructor({ library, health, account, signOut, chooseLanguage }) {
    Object.assign(this, { collection: library, health, account, signOut, chooseLanguage });
  }

  /** Load what has to be known first. Raises Problem and Unreachable. */
  async load() {
    await Promise.all([this.collection.load(), this.#loadMe()]);
    if (this.userId && !belongsTo(this.userId)) history.replaceState(null, "", location.pathname);
  }

  /** Who is signed in. */
  get userId() {
    return this.#me?.id;
  }

  /** Show it all in `root`. */
  show(root) {
    const does = {
      start: (agentId, click) => this.start(agentId, click),
      openSettings: () => settingsDialog(this.health.version, this.chooseLanguage),
      chooseLanguage: this.chooseLanguage,
      close: () => this.#drawer(false),
    };
    this.sidebar = new Sidebar(this.collection, { does, me: () => this.#me });
    this.main = h("main", { id: "main", tabindex: "-1" });
    const skip = h(
      "button",
      { type: "button", class: "skip", onclick: () => (this.#composer ?? this.main).focus() },
      t("app.skip"),
    );
    const veil = h("div", { class: "veil", onclick: () => this.#drawer(false) });
    this.shell = h("div", { class: "shell" }, skip, this.sidebar.element, veil, this.main);
    fill(root, this.shell);
    const { signal } = this.#off;
    addEventListener("hashchange", () => this.#route(), { signal });
    addEventListener("keydown", (event) => event.key === "Escape" && !event.isComposing && !isCovered() && this.#escape(), {
      signal,
    });
    document.addEventListener("visibilitychange", () => !document.hidden && this.#conversation?.refresh().catch(() => {}), {
      signal,
    });
    addEventListener("beforeunload", (event) => this.#wouldLose && event.preventDefault(), { signal });
    this.collection.on("changed", () => this.#libraryChanged());
    takeDrops(this.main, () => this.#composer, signal);
    this.#route();
  }

  /** Begin a conversation with an agent; null: with the one of the conversation that is open, or the latest. */
  async start(agentId, click) {
    if (this.#isStarting || click.detail > 1) return; // a double click begins one
    const { collection: library } = this;
    this.#isStarting = true;
    try {
      if (!(await this.mayLeave())) return;
      const present = library.session(this.#conversation?.session.id)?.agent_id;
      let id = agentId ?? present ?? library.sessions[0]?.agent_id ?? library.agents[0]?.id;
      id ??= (await library.createAgent({ name: t("agent.default_name"), prompt: t("agent.default_prompt") })).id;
      const session = await library.createSession(id);
      this.wantsFocus = true;
      location.hash = `#/s/${session.id}`;
    } catch (error) {
      toast(wordsOf(error), { isError: true });
    } finally {
      this.#isStarting = false;
    }
  }

  /** Whether one may go on from here: what is recorded would be lost, which is asked first. */
  async mayLeave() {
    const composer = this.#composer;
    if (!composer?.isRecording) return true;
    const save = () => composer.discard();
    return confirmDialog({ title: t("talk.discard_title"), text: t("talk.discard_what"), action: t("rec.discard"), save });
  }

  /** Let go of everything. */
  destroy() {
    this.#off.abort();
    this.#leave();
    for (const conversation of this.#sending.values()) conversation.close();
    this.sidebar?.destroy();
  }

  /** Whether a recording would be lost; texts are kept. */
  get #wouldLose() {
    const here = [this.#conversation, ...this.#sending.values()].flatMap((conversation) => conversation?.turns ?? []);
    return this.#composer?.isRecording || here.some((turn) => turn.outgoing?.kind === "voice");
  }

  async #route() {
    this.#drawer(false);
    const present = `#/s/${this.#conversation?.session.id}`;
    if (location.hash !== present && !(await this.mayLeave())) return history.replaceState(null, "", present);
    const [, kind, id] = /^#\/(s|account)(?:\/([\w-]+))?$/.exec(location.hash) ?? [];
    if (kind === "account") return this.#showAccount();
    const sessionId = id ?? read("last") ?? this.collection.sessions[0]?.id;
    return sessionId ? this.#open(sessionId, id === undefined) : this.#showNothing();
  }

  async #open(sessionId, isRemembered) {
    if (this.#conversation?.session.id === sessionId && this.#view) return;
    this.#leave();
    const mine = this.#opens;
    this.sidebar.mark(sessionId);
    try {
      const session = await this.collection.find(sessionId, isRemembered);
      if (mine !== this.#opens) return; // somebody went on meanwhile
      if (!session) return this.#openAnother(sessionId);
      const conversation = this.#sending.get(sessionId) ?? new Conversation(session);
      this.#sending.delete(sessionId);
      this.#conversation = conversation;
      if (!conversation.isOpen) await conversation.open();
      if (mine !== this.#opens) return;
      write("last", sessionId);
      if (isRemembered) history.replaceState(null, "", `#/s/${sessionId}`);
      this.#showConversation(conversation);
    } catch (error) {
      if (mine !== this.#opens) return;
      this.#conversation = null;
      this.#couldNotOpen(error, sessionId, isRemembered);
    }
  }

  #couldNotOpen(error, sessionId, isRemembered) {
    const isGone = error instanceof Problem && (error.status === 404 || error.status === 422);
    if (isGone) {
      if (!isRemembered) toast(t("talk.gone"), { isError: true });
      return this.#openAnother(sessionId);
    }
    if (error instanceof Unreachable) setTimeout(() => !this.#off.signal.aborted && !this.#conversation && this.#route(), 3_000);
    const again = h(
      "button",
      { type: "button", class: "button", onclick: () => this.#route() },
      icon("retry"),
      t("app.try_again"),
    );
    return this.#fill(
      this.#head(h("h1", {}, t("app.name"))),
      h("div", { class: "empty", role: "alert" }, h("p", {}, wordsOf(error)), again),
    );
  }

  #openAnother(goneId) {
    if (read("last") === goneId) write("last", null);
    const next = this.collection.sessions.find((session) => session.id !== goneId);
    history.replaceState(null, "", location.pathname);
    return next ? this.#open(next.id, true) : this.#showNothing();
  }

  #showConversation(conversation) {
    const { session } = conversation;
    const agentName = () => this.collection.agent(session.agent_id)?.name ?? t("app.name");
    const mayPlay = () => !this.#composer?.isRecording;
    this.#view = new ConversationView(conversation, { agentName, mayPlay });
    this.#composer = new Composer({
      onText: (text) => this.#say(session, () => conversation.sendText(text, settings.speak === "always"), text),
      onVoice: (blob, about) => this.#say(session, () => conversation.sendVoice(blob, about, settings.speak !== "never"), ""),
    });
    this.title = h("h1", { dir: "auto" });
    this.subtitle = h("p", { class: "quiet", dir: "auto" });
    this.#showTitle(session);
    const menu = menuButton(t("side.actions", { name: nameOf(session) }), "head", [
      { name: t("session.rename"), icon: "pencil", act: () => renameSession(this.collection, session) },
      { name: t("agent.edit"), icon: "settings", act: () => editAgent(this.collection, this.collection.agent(session.agent_id)) },
      { name: t("session.delete"), icon: "trash", isDanger: true, act: () => deleteSession(this.collection, session) },
    ]);
    this.#fill(
      this.#head(h("div", { class: "titles" }, this.title, this.subtitle), menu),
      this.#view.element,
      this.#composer.element,
    );
    this.#composer.open(session.id);
    conversation.on("heard", (turn, event, data) => this.#heard(session, turn, event, data));
    conversation.on("deleted", () => {
      toast(t("talk.gone"), { isError: true });
      this.collection.forgetSession(session.id);
    });
    if (this.wantsFocus || matchMedia("(pointer: fine)").matches) this.#composer.focus();
    this.wantsFocus = false;
  }

  #say(session, send, text) {
    const turn = send();
    this.#view.toEnd();
    this.collection.said(session, text).catch(() => {});
    return turn;
  }

  #heard(session, turn, event, data) {
    if (event === "transcript" && !session.name) this.collection.said(session, data.text).catch(() => {});
    if (event === "end")
      this.#loadMe().then(
        () => this.sidebar.showMe(),
        () => {},
      );
  }

  #libraryChanged() {
    const session = this.#conversation?.session;
    if (!session || !this.#view) return;
    if (this.collection.session(session.id)) return void this.#showTitle(session);
    if (read("last") === session.id) write("last", null);
    this.#leave();
    history.replaceState(null, "", location.pathname);
    this.#route();
  }

  #showTitle(session) {
    this.title.textContent = nameOf(session);
    this.subtitle.textContent = this.collection.agent(session.agent_id)?.name ?? "";
    document.title = `${nameOf(session)} · ${t("app.name")}`;
  }

  async #showAccount() {
    const last = this.#conversation?.session.id ?? read("last");
    this.#leave();
    const mine = this.#opens;
    this.sidebar.mark(null);
    document.title = `${t("me.title")} · ${t("app.name")}`;
    const view = await this.account({ backTo: last ? `#/s/${last}` : "#/", head: (...parts) => this.#head(...parts) });
    if (mine !== this.#opens) return; // somebody went on meanwhile
    this.#fill(view);
    this.main.querySelector("h1").focus();
  }

  #showNothing() {
    this.#leave();
    document.title = t("app.name");
    const isFirst = this.collection.agents.length === 0;
    const words = isFirst ? "talk.first" : "talk.pick";
    const go = h(
      "button",
      { type: "button", class: "button big", onclick: (click) => this.start(null, click) },
      icon(isFirst ? "chat" : "plus"),
      t(isFirst ? "talk.first_start" : "side.new"),
    );
    const mark = h("img", { src: "/static/favicon.svg", alt: "", width: "72", height: "72" });
    this.#fill(
      this.#head(h("span", {})),
      h("div", { class: "empty" }, mark, h("h1", {}, t(`${words}_title`)), h("p", {}, t(`${words}_what`)), go),
    );
  }

  #fill(...parts) {
    fill(this.main, parts);
  }

  #head(...parts) {
    this.opener = h(
      "button",
      {
        type: "button",
        class: "icon-button drawer-only",
        "aria-label": t("side.open"),
        "aria-controls": "side",
        "aria-expanded": "false",
        onclick: () => this.#drawer(true),
      },
      icon("menu"),
    );
    return h("header", { class: "head" }, this.opener, parts);
  }

  #leave() {
    this.#opens += 1;
    const conversation = this.#conversation;
    this.#view?.destroy();
    this.#composer?.destroy();
    if (conversation?.isSending) this.#sending.set(conversation.session.id, conversation);
    else conversation?.close();
    this.#view = this.#composer = this.#conversation = null;
  }

  #escape() {
    if (this.shell.classList.contains("is-open")) this.#drawer(false);
    else silence();
  }

  #drawer(isOpen) {
    if (!this.shell || this.shell.classList.contains("is-open") === isOpen) return;
    this.shell.classList.toggle("is-open", isOpen);
    this.opener?.setAttribute("aria-expanded", String(isOpen));
    this.main.inert = isOpen;
    if (isOpen) this.sidebar.search.focus();
    else this.opener?.focus();
  }

  async #loadMe() {
    if (this.health.auth === "on") this.#me = await get("auth/me");
  }
}

/** Whether something lies over the page that Esc closes first. */
const isCovered = () => document.querySelector("dialog[open], .menu:popover-open") !== null;
