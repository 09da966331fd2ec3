// Short notices that come and go by themselves.

import { el } from "./dom.js";
import { errorText } from "./errors.js";

const SHOWN_MS = 6000;

/** @typedef {{ label: string, testid: string, act: () => Promise<unknown> }} Offer what to do about something */
/** @typedef {{ offer?: Offer }} Offering an error that knows what can be done instead */

/**
 * Shows one, and gives back what takes it away before its time.
 * @param {string} text
 * @param {"info" | "error"} [kind]
 * @param {{ label: string, testid: string, act: () => unknown }} [offer] what to do about it
 */
export function toast(text, kind = "info", offer) {
  const region = document.getElementById("toasts");
  if (!region) return () => {};
  // What is not in the topmost dialog lies under its backdrop, and cannot be clicked.
  const top = [...document.querySelectorAll("dialog[open]")].at(-1) ?? document.body;
  if (region.parentElement !== top) top.append(region);
  const node = el("p.toast", { class: kind, testid: "toast", dir: "auto" }, text);
  if (offer) node.append(" ", el("button.quiet.small", { type: "button", testid: offer.testid, onclick: offer.act }, offer.label));
  node.addEventListener("click", () => node.remove());
  region.append(node);
  setTimeout(() => node.remove(), SHOWN_MS);
  return () => node.remove();
}

/**
 * Runs something that may fail and tells the person when it does; whether it succeeded.
 * @param {() => Promise<unknown>} attempt
 * @param {Record<string, string>} [words]
 */
export async function orToast(attempt, words) {
  try {
    await attempt();
    return true;
  } catch (error) {
    const { offer } = /** @type {Offering} */ (error);
    toast(errorText(error, words), "error", offer && { ...offer, act: () => orToast(offer.act, words) });
    return false;
  }
}
