// Replies as Markdown. Raw HTML in them is shown as the text it is; what comes out is sanitized all the same.

import { h } from "./dom.js";
import { t } from "./i18n.js";
import { icon } from "./icons.js";
import { Marked } from "./vendor/marked.esm.js";
import createPurifier from "./vendor/purify.es.mjs";

const ESCAPES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
const escaped = (text) => text.replace(/[&<>"']/g, (char) => ESCAPES[char]);

const marked = new Marked({
  gfm: true,
  breaks: true,
  renderer: {
    html: ({ text, block }) => (block ? `<p>${escaped(text.trim()).replace(/\n/g, "<br>")}</p>` : escaped(text)),
    image: ({ href, text }) => `<a href="${escaped(href)}">${escaped(text || href)}</a>`, // nothing is fetched from elsewhere
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
  },
});

const purifier = createPurifier(window);
const RULES = {
  ALLOWED_TAGS: "p br hr h1 h2 h3 h4 h5 h6 strong em del code pre blockquote ul ol li a table thead tbody tr th td".split(" "),
  ALLOWED_ATTR: ["href", "class", "start", "align"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  ADD_URI_SAFE_ATTR: ["start", "align"], // no addresses: they need not look like one
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};
const BLOCKS = "p, li, h1, h2, h3, h4, h5, h6, td, th";
const HOLDERS = "ul, ol, blockquote, table"; // of blocks: `auto` looks past what has a direction of its own
const FROM_RIGHT = /\p{Script=Arabic}|\p{Script=Hebrew}|\p{Script=Syriac}|\p{Script=Thaana}/u;

/** A fragment that shows a text. */
export function rendered(text) {
  const fragment = purifier.sanitize(marked.parse(text), RULES);
  for (const block of fragment.querySelectorAll(BLOCKS)) block.dir = "auto";
  for (const holder of fragment.querySelectorAll(HOLDERS)) holder.dir = directionOf(holder.textContent);
  for (const link of fragment.querySelectorAll("a")) {
    link.rel = "noopener noreferrer nofollow";
    link.target = "_blank";
  }
  for (const pre of fragment.querySelectorAll("pre")) frame(pre);
  for (const table of fragment.querySelectorAll("table")) {
    const scroller = h("div", { class: "table", tabindex: "0" });
    table.replaceWith(scroller);
    scroller.append(table);
  }
  return fragment;
}

/** The direction of a text: that of its first letter. */
export function directionOf(text) {
  const [letter] = /\p{L}/u.exec(text) ?? [""];
  return FROM_RIGHT.test(letter) ? "rtl" : "ltr";
}

function frame(pre) {
  const language = /language-(\S+)/.exec(pre.querySelector("code")?.className ?? "")?.[1] ?? "";
  const copy = h(
    "button",
    { type: "button", class: "ghost-button small", dataset: { copy: "code" } },
    icon("copy"),
    t("talk.copy_code"),
  );
  const framed = h("div", { class: "code", dir: "ltr" }, h("div", { class: "code-head" }, h("span", {}, language), copy));
  pre.replaceWith(framed);
  pre.tabIndex = 0; // long lines scroll, by keyboard too
  framed.append(pre);
}
