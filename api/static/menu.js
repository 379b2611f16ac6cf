// A button that opens a menu of actions.

import { h, newId } from "./dom.js";
import { icon } from "./icons.js";

/** `items` are `{ name, icon, act, isDanger }`; `label` is the button's accessible name, `key` finds it when it is drawn anew. */
export function menuButton(label, key, items) {
  const id = newId("menu");
  const button = h(
    "button",
    {
      type: "button",
      class: "icon-button small more",
      dataset: { key },
      "aria-label": label,
      title: label,
      "aria-haspopup": "menu",
      "aria-expanded": "false",
      popovertarget: id,
    },
    icon("more"),
  );
  const rows = items.map((item) =>
    h(
      "button",
      {
        type: "button",
        role: "menuitem",
        class: item.isDanger ? "danger" : null,
        onclick: () => {
          menu.hidePopover();
          button.focus();
          item.act();
        },
      },
      icon(item.icon),
      item.name,
    ),
  );
  const menu = h("div", { id, class: "menu", popover: "auto", role: "menu", "aria-label": label }, rows);
  menu.addEventListener("toggle", ({ newState }) => {
    button.setAttribute("aria-expanded", String(newState === "open"));
    if (newState === "open") {
      place(menu, button);
      rows[0].focus();
    }
  });
  menu.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = rows.indexOf(document.activeElement);
    rows[(at + step + rows.length) % rows.length].focus();
  });
  return h("span", { class: "menu-place" }, button, menu);
}

function place(menu, button) {
  const at = button.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = menu;
  const isRtl = document.documentElement.dir === "rtl";
  const left = isRtl ? at.left : at.right - width;
  const top = at.bottom + height + 8 > innerHeight ? at.top - height - 4 : at.bottom + 4;
  menu.style.setProperty("left", `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`);
  menu.style.setProperty("top", `${Math.max(8, top)}px`);
}
