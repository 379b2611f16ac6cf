// Signing in, and making an account where anybody may.

import { post } from "./api.js";
import { field } from "./dialog.js";
import { fill, h } from "./dom.js";
import { language, LANGUAGES, t } from "./i18n.js";
import { icon } from "./icons.js";
import { checkFilled, showFieldErrors } from "./problems.js";
import { keep } from "./tokens.js";

/** The view; `onSignedIn()` is called when the tokens are kept. `wasOver` says that a login has just ended. */
export function signInView({ isRegistrationOpen, wasOver, onSignedIn, chooseLanguage }) {
  const place = h("main", { class: "sign" });
  const given = { isRegistrationOpen, wasOver, onSignedIn, chooseLanguage };
  const show = (isNew) => fill(place, card({ isNew, turn: () => show(!isNew), ...given }));
  show(false);
  return place;
}

function card({ isNew, turn, isRegistrationOpen, wasOver, onSignedIn, chooseLanguage }) {
  const name = h("input", {
    type: "text",
    name: "username",
    autocomplete: "username",
    autocapitalize: "none",
    spellcheck: "false",
    required: true,
    maxlength: "100",
    dir: "auto",
    autofocus: true,
  });
  const password = h("input", {
    type: "password",
    name: "password",
    autocomplete: isNew ? "new-password" : "current-password",
    required: true,
    minlength: isNew ? "8" : null,
    maxlength: "200",
    dir: "ltr",
  });
  const wrong = h("p", { class: "form-error", role: "alert", hidden: true });
  const submit = h("button", { type: "submit", class: "button wide-button" }, t(isNew ? "sign.up" : "sign.in"));
  const other = language() === "ar" ? "en" : "ar";
  const swap = h(
    "button",
    {
      type: "button",
      class: "ghost-button",
      lang: other,
      onclick: () => chooseLanguage(other),
    },
    icon("language"),
    LANGUAGES[other],
  );
  const form = h(
    "form",
    { class: "card", novalidate: true },
    h("img", { src: "/static/favicon.svg", alt: "", width: "48", height: "48" }),
    h("h1", {}, t(isNew ? "sign.up_title" : "sign.in_title")),
    wasOver && h("p", { class: "quiet", role: "status" }, t("sign.over")),
    field("username", t("sign.username"), name),
    field("password", t("sign.password"), password, isNew ? t("sign.password_hint") : null, peek(password)),
    wrong,
    submit,
    isRegistrationOpen
      ? h("button", { type: "button", class: "ghost-button", onclick: turn }, t(isNew ? "sign.to_in" : "sign.to_up"))
      : h("p", { class: "quiet" }, t("sign.closed")),
    swap,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    wrong.hidden = true;
    const given = { username: name.value, password: password.value };
    try {
      checkFilled(form);
      if (isNew) await post("auth/register", given, { open: true });
      await keep(await post("auth/login", given, { open: true }));
      onSignedIn();
    } catch (error) {
      wrong.textContent = showFieldErrors(form, error) ?? t("error.fields");
      wrong.hidden = false;
      if (!form.querySelector("[aria-invalid]")) password.select();
    } finally {
      submit.disabled = false;
    }
  });
  return form;
}

function peek(password) {
  const button = h("button", {
    type: "button",
    class: "ghost-button small",
    onclick: () => {
      const isShown = password.type === "text";
      password.type = isShown ? "password" : "text";
      show(!isShown);
    },
  });
  const show = (isShown) => {
    button.setAttribute("aria-label", t(isShown ? "sign.hide" : "sign.show"));
    button.textContent = t(isShown ? "sign.hide_short" : "sign.show_short");
  };
  show(false);
  return button;
}
