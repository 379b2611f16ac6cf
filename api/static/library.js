// The person's agents and sessions, as far as they are loaded.

import { get, list, listAll, newKey, patch, post, remove } from "./api.js";
import { Signals } from "./signals.js";

const MOST_NAME = 60; // characters of a name that is made from what was said first
const PAGE = 100;

/** Signals: "changed". */
export class Library extends Signals {
  agents = []; // newest first
  sessions = []; // those that were last active first
  models = null;
  #cursor = null;

  /** Load all agents, and the newest sessions. */
  async load() {
    const [agents, page] = await Promise.all([listAll("agent"), list("session", { limit: PAGE })]);
    this.agents = agents;
    this.sessions = page.items;
    this.#cursor = page.next_cursor;
    this.#changed();
  }

  get hasMore() {
    return this.#cursor !== null;
  }

  /** Load older sessions. */
  async more() {
    const page = await list("session", { limit: PAGE, cursor: this.#cursor });
    const known = new Set(this.sessions.map((session) => session.id));
    this.sessions.push(...page.items.filter((session) => !known.has(session.id)));
    this.#cursor = page.next_cursor;
    this.#changed();
  }

  /** Load all sessions: a search has to see them. */
  async all() {
    while (this.hasMore) await this.more();
  }

  agent(id) {
    return this.agents.find((agent) => agent.id === id) ?? null;
  }

  session(id) {
    return this.sessions.find((session) => session.id === id) ?? null;
  }

  /** A session that may not be loaded yet; null for one that is only remembered, and is known to be gone. */
  async find(id, isRemembered) {
    const known = this.session(id);
    if (known) return known;
    if (!this.hasMore && isRemembered) return null;
    const session = await get(`session/${id}`);
    this.sessions.push(session);
    this.#changed();
    return session;
  }

  async createAgent(fields) {
    const agent = await post("agent", fields, { key: newKey() });
    this.agents.unshift(agent);
    this.#changed();
    return agent;
  }

  async changeAgent(id, fields) {
    Object.assign(this.agent(id), await patch(`agent/${id}`, fields));
    this.#changed();
  }

  /** Delete an agent with its sessions. */
  async deleteAgent(id) {
    await remove(`agent/${id}`);
    this.agents = this.agents.filter((agent) => agent.id !== id);
    this.sessions = this.sessions.filter((session) => session.agent_id !== id);
    this.#changed();
  }

  async createSession(agentId) {
    const session = await post("session", { agent_id: agentId }, { key: newKey() });
    this.sessions.unshift(session);
    this.#changed();
    return session;
  }

  async renameSession(id, name) {
    Object.assign(this.session(id), await patch(`session/${id}`, { name }));
    this.#changed();
  }

  async deleteSession(id) {
    await remove(`session/${id}`);
    this.forgetSession(id);
  }

  /** A session is gone. */
  forgetSession(id) {
    this.sessions = this.sessions.filter((session) => session.id !== id);
    this.#changed();
  }

  /** Something was said in a session: it is the latest now, and has a name if it had none. */
  async said(session, text) {
    session.last_activity_at = new Date().toISOString();
    const name = Array.from(text.trim().replace(/\s+/g, " ")).slice(0, MOST_NAME).join("");
    if (!session.name && name && this.session(session.id)) await this.renameSession(session.id, name);
    else this.#changed();
  }

  /** The models that agents may name; asked once. */
  async loadModels() {
    this.models ??= await listAll("model");
    return this.models;
  }

  #changed() {
    this.sessions.sort((a, b) => b.last_activity_at.localeCompare(a.last_activity_at));
    this.emit("changed");
  }
}
