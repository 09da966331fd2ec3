// Modal dialogs: the browser's own `<dialog>`, so Escape, focus and the backdrop behave as people expect.

import { el, fill, icon, iconButton, uniqueId } from "../lib/dom.js";
import { errorText } from "../lib/errors.js";

/**
 * Opens a dialog and removes it from the document when it closes.
 * @param {{ title: string | Node, testid?: string, wide?: boolean }} options
 * @param {...(Node | null)} body
 * @returns {HTMLDialogElement}
 */
export function openDialog({ title, testid, wide = false }, ...body) {
  const heading = uniqueId("dialog");
  const dialog = el(
    "dialog.dialog",
    { "aria-labelledby": heading, testid, class: wide ? "wide" : "" },
    el(
      "header.dialog-head",
      {},
      el("h2", { id: heading, dir: "auto" }, title),
      iconButton("close", "Close", { onclick: () => dialog.close(), testid: "dialog-close" }),
    ),
    ...body,
  );
  dialog.addEventListener("close", () => {
    // The toasts are shown in the topmost dialog, and outlive it.
    const toasts = dialog.querySelector("#toasts");
    if (toasts) document.body.append(toasts);
    dialog.remove();
  });
  dialog.addEventListener("pointerdown", (event) => event.target === dialog && isOutside(dialog, event) && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** @param {HTMLElement} node @param {PointerEvent} event */
function isOutside(node, event) {
  const box = node.getBoundingClientRect();
  return event.clientX < box.left || event.clientX > box.right || event.clientY < box.top || event.clientY > box.bottom;
}

/**
 * A dialog around one form: `submit` runs with the values; while it runs the form is locked, when it
 * fails its words are shown, with what the error offers instead, and nothing typed is lost.
 * @param {{
 *   title: string, testid: string, submitLabel: string, busyLabel?: string, danger?: boolean,
 *   fields: (Node | null)[], submit: (values: FormData) => Promise<unknown>, words?: Record<string, string>,
 * }} options
 */
export function openForm({ title, testid, submitLabel, busyLabel = submitLabel, danger = false, fields, submit, words }) {
  const problem = el("p.problem", { role: "alert", testid: `${testid}-error`, hidden: true });
  const button = el(
    "button.primary",
    { type: "submit", testid: `${testid}-submit`, class: danger ? "danger" : "" },
    submitLabel,
  );
  const form = el(
    "form.dialog-body",
    { method: "dialog" },
    ...fields,
    problem,
    el(
      "footer.dialog-foot",
      {},
      el("button.quiet", { type: "button", onclick: () => dialog.close() }, "Cancel"),
      button,
    ),
  );
  // What was wrong is being mended; the browser's own refusals do not come as far as a submit.
  form.addEventListener("input", () => (problem.hidden = true));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!button.disabled) void attempt(() => submit(new FormData(form)));
  });
  /** @param {() => Promise<unknown>} act */
  const attempt = async (act) => {
    problem.hidden = true;
    button.disabled = true;
    button.replaceChildren(busyLabel);
    try {
      await act();
      dialog.close();
    } catch (error) {
      const { offer } = /** @type {import("../lib/toast.js").Offering} */ (error);
      fill(
        problem, icon("alert"), errorText(error, words), " ",
        offer && el("button.quiet.small", { type: "button", testid: offer.testid, onclick: () => attempt(offer.act) }, offer.label),
      );
      problem.hidden = false;
    } finally {
      button.disabled = false;
      button.replaceChildren(submitLabel);
    }
  };
  const dialog = openDialog({ title, testid: `${testid}-dialog` }, form);
  const first = /** @type {HTMLElement | null} */ (form.querySelector("input, .dialog-foot button"));
  first?.focus();
  return dialog;
}

/**
 * Asks before something that cannot be taken back.
 * @param {{ title: string, testid: string, submitLabel: string, text: string, act: () => Promise<unknown> }} options
 */
export function confirm({ title, testid, submitLabel, text, act }) {
  return openForm({ title, testid, submitLabel, danger: true, fields: [el("p", { dir: "auto" }, text)], submit: act });
}

/**
 * A labelled text field.
 * @param {string} label
 * @param {Record<string, any>} attributes of the input; `hint` becomes its description
 */
export function field(label, { hint, ...attributes }) {
  const id = uniqueId("field");
  const hintId = `${id}-hint`;
  return el(
    "div.field",
    {},
    el("label", { for: id }, label),
    el("input", { id, type: "text", dir: "auto", autocomplete: "off", "aria-describedby": hint && hintId, ...attributes }),
    hint && el("p.hint", { id: hintId }, hint),
  );
}

/**
 * A labelled choice of one.
 * @param {string} label
 * @param {{ options: [value: string, text: string][], value: string, hint?: string, [attribute: string]: any }} attributes of the select
 */
export function choice(label, { options, value, hint, ...attributes }) {
  const id = uniqueId("choice");
  const hintId = `${id}-hint`;
  return el(
    "div.field",
    {},
    el("label", { for: id, dir: "auto" }, label),
    el(
      "select",
      { id, "aria-describedby": hint && hintId, ...attributes },
      ...options.map(([key, text]) => el("option", { value: key, selected: key === value, dir: "auto" }, text)),
    ),
    hint && el("p.hint", { id: hintId }, hint),
  );
}

/** A labelled switch. @param {string} label @param {Record<string, any>} attributes of the checkbox */
export function toggle(label, { hint, ...attributes }) {
  return el(
    "label.toggle",
    {},
    el("span.toggle-text", {}, el("span", { dir: "auto" }, label), hint && el("span.hint", {}, hint)),
    el("input", { type: "checkbox", role: "switch", ...attributes }),
  );
}
