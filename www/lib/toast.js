// Short notices that come and go by themselves.

import { el } from "./dom.js";
import { errorText } from "./errors.js";

const SHOWN_MS = 6000;

/** @param {string} text @param {"info" | "error"} [kind] */
export function toast(text, kind = "info") {
  const region = document.getElementById("toasts");
  if (!region) return;
  const node = el("p.toast", { class: kind, testid: "toast", dir: "auto" }, text);
  node.addEventListener("click", () => node.remove());
  region.append(node);
  setTimeout(() => node.remove(), SHOWN_MS);
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
    toast(errorText(error, words), "error");
    return false;
  }
}
