// Dialogs: the browser's own, which keep the focus inside and give it back.

import { h, newId } from "./dom.js";
import { t } from "./i18n.js";
import { icon } from "./icons.js";
import { checkFilled, showFieldErrors } from "./problems.js";

/**
 * Open a dialog over the page; `build(close)` makes its body. Answers with what it is closed with, null on Esc.
 *
 * `isKept`: its own buttons alone close it.
 */
export function openDialog(title, build, { wide = false, isKept = false } = {}) {
  return new Promise((resolve) => {
    const id = newId("dialog");
    const close = (value = null) => {
      result = value;
      dialog.close();
    };
    let result = null;
    const shut = h(
      "button",
      { type: "button", class: "icon-button", "aria-label": t("app.close"), onclick: () => close() },
      icon("close"),
    );
    const head = h("header", {}, h("h2", { id }, title), shut);
    const dialog = h(
      "dialog",
      { class: wide ? "wide" : null, "aria-labelledby": id },
      head,
      build(close),
      h("div", { class: "toasts", role: "status" }),
    );
    const opener = document.activeElement;
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (!opener.isConnected) focusAgain(opener.dataset.key);
      resolve(result);
    });
    if (isKept) whenLeft(dialog, () => {});
    else letLeave(dialog, close);
    document.body.append(dialog);
    dialog.showModal();
    (dialog.querySelector("[autofocus]") ?? dialog.querySelector("form input, form textarea, .actions button"))?.focus();
  });
}

/** Close it on Esc and by a press beside it; a form in which something was changed only on Esc, after a question. */
function letLeave(dialog, close) {
  let isChanged = false;
  dialog.addEventListener("input", ({ target }) => {
    isChanged ||= target.form !== null;
  });
  whenLeft(dialog, async ({ type }) => {
    if (isChanged && (type === "pointerdown" || !(await confirmDiscard()))) return;
    close();
  });
}

/** Call `leave` on each press beside it, and on Esc: a browser would let the second Esc close it, whoever minds. */
function whenLeft(dialog, leave) {
  const pressed = (event) => {
    if (event.key !== "Escape" || event.isComposing || dialog !== [...document.querySelectorAll("dialog[open]")].at(-1)) return;
    event.preventDefault();
    event.stopPropagation(); // whatever else it closes stays open
    leave(event);
  };
  document.addEventListener("keydown", pressed);
  dialog.addEventListener("close", () => document.removeEventListener("keydown", pressed));
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    leave(event); // a gesture that goes back
  });
  dialog.addEventListener("pointerdown", (event) => event.target === dialog && isBeside(dialog, event) && leave(event));
}

/** Whether a press is beside it, and not on its scroll bar. */
function isBeside(dialog, { clientX: x, clientY: y }) {
  const { left, right, top, bottom } = dialog.getBoundingClientRect();
  return x < left || x > right || y < top || y > bottom;
}

/** What opened the dialog was drawn anew, or is gone: the focus goes to what is in its place, else to the conversation. */
function focusAgain(key) {
  const same = key && document.querySelector(`[data-key="${CSS.escape(key)}"]`);
  (same || document.querySelector("main textarea, main"))?.focus();
}

/**
 * A form of a dialog: `save()` runs on submit, and what it answers closes the dialog. Its refusals are shown in the form.
 *
 * `action` is the words of its button, `isDanger` that it destroys something.
 */
export function dialogForm(close, { action, isDanger = false, save }, ...fields) {
  const wrong = h("p", { class: "form-error", role: "alert", hidden: true });
  const submit = h("button", { type: "submit", class: `button${isDanger ? " danger" : ""}` }, action);
  const cancel = h("button", { type: "button", class: "ghost-button", onclick: () => close() }, t("app.cancel"));
  const form = h("form", { novalidate: true }, fields, wrong, h("div", { class: "actions" }, cancel, submit));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    wrong.hidden = true;
    try {
      checkFilled(form);
      close((await save()) ?? true);
    } catch (error) {
      const words = showFieldErrors(form, error);
      wrong.textContent = words ?? t("error.fields");
      wrong.hidden = false;
    } finally {
      submit.disabled = false;
    }
  });
  return form;
}

/** Ask before something is destroyed; `save()` does it. */
export function confirmDialog({ title, text, action, save }) {
  return openDialog(title, (close) => dialogForm(close, { action, isDanger: true, save }, h("p", { dir: "auto" }, text)));
}

function confirmDiscard() {
  const [title, text, action] = [t("app.discard_title"), t("app.discard_what"), t("app.discard")];
  return confirmDialog({ title, text, action, save: () => true });
}

/** A field with its label, its hint and its place for an error; `name` is the API's name for it, `button` one inside it. */
export function field(name, label, input, hint = null, button = null) {
  const id = newId("field");
  const hintId = hint ? `${id}-hint` : null;
  const errorId = `${id}-error`;
  input.id = id;
  input.setAttribute("aria-describedby", [hintId, errorId].filter(Boolean).join(" "));
  return h(
    "div",
    { class: "field", dataset: { field: name } },
    h("label", { for: id }, label),
    button ? h("span", { class: "with-button" }, input, button) : input,
    hint && h("p", { class: "hint", id: hintId }, hint),
    h("p", { class: "field-error", id: errorId, hidden: true }),
  );
}
