// What was used and what it cost.

import { list } from "./api.js";
import { fill, h } from "./dom.js";
import { day, money, number, t } from "./i18n.js";
import { wordsOf } from "./problems.js";

const WAYS = ["day", "model"];

/** The section, which loads itself. */
export function usageSection() {
  const table = h(
    "div",
    { class: "table", tabindex: "0", role: "region", "aria-label": t("usage.title") },
    h("p", { class: "quiet" }, t("app.loading")),
  );
  const buttons = WAYS.map((by) => h("button", { type: "button", onclick: () => show(by) }, t(`usage.${by}`)));
  const show = (by) => {
    for (const [n, button] of buttons.entries()) button.setAttribute("aria-pressed", String(WAYS[n] === by));
    return load(table, by);
  };
  show("day");
  const choice = h("div", { class: "choice", role: "group", "aria-label": t("usage.by") }, buttons);
  return h("section", { class: "panel" }, h("div", { class: "panel-head" }, h("h2", {}, t("usage.title")), choice), table);
}

async function load(place, by) {
  try {
    const page = await list("usage", { by, limit: 100 });
    if (!page.items.length) return void fill(place, h("p", { class: "quiet" }, t("usage.none")));
    const name = (item) => (by === "day" ? day(item.day) : h("bdi", { dir: "ltr" }, item.model));
    const rows = page.items.map((item) => row(name(item), item));
    const heads = [
      t(`usage.${by}`),
      t("usage.jobs"),
      t("usage.tokens"),
      t("usage.audio"),
      t("usage.characters"),
      t("usage.cost"),
    ];
    fill(
      place,
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            heads.map((words) => h("th", { scope: "col" }, words)),
          ),
        ),
        h("tbody", {}, rows),
        h("tfoot", {}, row(t("usage.total"), page.total)),
      ),
    );
  } catch (error) {
    fill(place, h("p", { role: "alert" }, wordsOf(error)));
  }
}

function row(name, sums) {
  const tokens = `${number(sums.input_tokens)} / ${number(sums.output_tokens)}`;
  const minutes = t("usage.minutes", { n: Math.round(sums.audio_s / 6) / 10 });
  const cells = [
    number(sums.jobs),
    h("bdi", { dir: "ltr" }, tokens),
    minutes,
    number(sums.characters),
    h("bdi", { dir: "ltr" }, money(sums.cost)),
  ];
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, name),
    cells.map((cell) => h("td", {}, cell)),
  );
}
