// A conversation on the screen: its turns in a list that scrolls, stays at the end, and grows upwards.

import { h } from "./dom.js";
import { t } from "./i18n.js";
import { icon } from "./icons.js";
import { announce, announceState, copy, toast } from "./notices.js";
import { wordsOf } from "./problems.js";
import { stageWords, TurnView } from "./turn_view.js";
import { isUnfinished } from "./turns.js";

const AT_END_PX = 80;
const NEAR_TOP_PX = 1_200;
const MOST_ANNOUNCED = 600; // characters of a reply

export class ConversationView {
  #views = new Map();
  #isAtEnd = true;
  #top = 0;
  #off = [];

  /** `mayPlay()` says whether a reply may begin to sound by itself now. */
  constructor(conversation, { agentName, mayPlay }) {
    this.conversation = conversation;
    this.agentName = agentName;
    this.mayPlay = mayPlay;
    this.list = h("ol", { class: "turns", "aria-label": t("talk.log") });
    this.older = h("p", { class: "older quiet", hidden: true }, t("talk.older"));
    this.hint = this.#emptyHint();
    this.scroller = h(
      "div",
      { class: "scroller", tabindex: "0", role: "region", "aria-label": t("talk.log") },
      this.older,
      this.hint,
      this.list,
    );
    this.latest = h(
      "button",
      {
        type: "button",
        class: "latest",
        hidden: true,
        "aria-label": t("talk.latest"),
        title: t("talk.latest"),
        onclick: () => this.toEnd({ smooth: true }),
      },
      icon("down"),
    );
    this.element = h("div", { class: "conversation" }, this.scroller, this.latest);
    this.#listen();
    this.#showAll();
  }

  /** Go to the last message, and stay there as it grows. */
  toEnd({ smooth = false } = {}) {
    this.#isAtEnd = true;
    this.latest.hidden = true;
    this.scroller.scrollTo({ top: this.scroller.scrollHeight, behavior: smooth ? "smooth" : "instant" });
  }

  /** Let go of everything. */
  destroy() {
    for (const off of this.#off) off();
    this.resizes.disconnect();
    for (const view of this.#views.values()) view.destroy();
    this.element.remove();
  }

  #listen() {
    const { conversation, scroller } = this;
    this.#off = [
      conversation.on("turn", (turn) => this.#show(turn)),
      conversation.on("gone", (turn) => this.#drop(turn)),
      conversation.on("older", (turns) => this.#prepend(turns)),
      conversation.on("heard", (turn, event, data) => this.#announce(turn, event, data)),
    ];
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.list.addEventListener("click", (event) => this.#copied(event));
    this.resizes = new ResizeObserver(() => this.#isAtEnd && this.toEnd());
    this.resizes.observe(this.list);
    this.resizes.observe(scroller);
  }

  #showAll() {
    for (const turn of this.conversation.turns) this.list.append(this.#viewOf(turn).element);
    this.#showHints();
    requestAnimationFrame(() => this.toEnd());
  }

  #viewOf(turn) {
    if (!this.#views.has(turn)) {
      const { agentName, mayPlay } = this;
      this.#views.set(turn, new TurnView(turn, { agentName, mayPlay, does: this.#does() }));
    }
    return this.#views.get(turn);
  }

  #does() {
    const { conversation } = this;
    const tried = (act) => async (turn) => {
      try {
        await act(turn);
      } catch (error) {
        toast(wordsOf(error), { isError: true });
      }
    };
    return {
      cancel: tried((turn) => conversation.cancel(turn)),
      retry: tried((turn) => conversation.retry(turn)),
      resend: tried((turn) => conversation.resend(turn)),
      discard: tried((turn) => conversation.discard(turn)),
      sendAgain: tried((turn) => conversation.sendText(turn.said.text, turn.job?.reply_audio ?? false)),
    };
  }

  #show(turn) {
    const known = this.#views.get(turn);
    if (known) {
      const before = known.stage;
      known.update();
      if (known.stage !== before && known.stage !== "writing") announceState(known.stage && stageWords(turn));
      return;
    }
    const next = this.conversation.turns[this.conversation.turns.indexOf(turn) + 1];
    const view = this.#viewOf(turn);
    this.list.insertBefore(view.element, this.#views.get(next)?.element ?? null);
    this.#showHints();
    if (turn.outgoing) this.toEnd();
  }

  #drop(turn) {
    this.#views.get(turn)?.destroy();
    this.#views.delete(turn);
    this.#showHints();
  }

  #prepend(turns) {
    const { scroller, list } = this;
    const below = list.firstElementChild;
    const top = below?.getBoundingClientRect().top ?? 0;
    scroller.classList.add("is-growing"); // no scroll anchoring of the browser's own: it would be done twice
    for (const turn of turns) {
      const next = this.conversation.turns[this.conversation.turns.indexOf(turn) + 1];
      if (!this.#views.has(turn)) list.insertBefore(this.#viewOf(turn).element, this.#views.get(next)?.element ?? below);
    }
    const first = this.conversation.turns[this.conversation.turns.indexOf(turns.at(-1)) + 1];
    this.#views.get(first)?.update(); // a page may end within a turn
    this.#showHints();
    if (below) scroller.scrollTop += below.getBoundingClientRect().top - top;
    requestAnimationFrame(() => scroller.classList.remove("is-growing"));
  }

  #scrolled() {
    const { scroller } = this;
    const left = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;
    if (left < AT_END_PX) this.#isAtEnd = true;
    else if (scroller.scrollTop < this.#top) this.#isAtEnd = false; // somebody scrolled up; more text alone does not mean that
    this.#top = scroller.scrollTop;
    this.latest.hidden = left < scroller.clientHeight / 2;
    if (scroller.scrollTop < NEAR_TOP_PX) this.#loadOlder();
  }

  async #loadOlder() {
    const { conversation } = this;
    if (!conversation.hasOlder || this.isLoading) return;
    this.isLoading = true;
    try {
      await conversation.older();
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 3_000)); // the banner says why; the next scroll asks again
    } finally {
      this.isLoading = false;
    }
  }

  #showHints() {
    this.hint.hidden = this.conversation.turns.length > 0;
    this.older.hidden = !this.conversation.hasOlder;
  }

  #emptyHint() {
    return h(
      "div",
      { class: "empty", hidden: true },
      h("img", { src: "/static/favicon.svg", alt: "", width: "56", height: "56" }),
      h("h2", { dir: "auto" }, t("talk.empty_title", { name: this.agentName() })),
      h("p", {}, t("talk.empty_what")),
    );
  }

  #announce(turn, event, data) {
    if (event === "transcript") announce(t("talk.heard_announced", { text: data.text || t("talk.no_speech") }));
    if (event !== "end" || isUnfinished(turn) || !turn.reply?.text || data.status !== "succeeded") return;
    announce(t("talk.reply_announced", { name: this.agentName(), text: turn.reply.text.slice(0, MOST_ANNOUNCED) }));
  }

  #copied(event) {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    if (button.dataset.copy === "code") return void copy(button.closest(".code").querySelector("pre").textContent);
    const view = [...this.#views.values()].find((one) => one.element.contains(button));
    copy(button.dataset.copy === "mine" ? view.turn.said.text : view.turn.reply.text);
  }
}
