// Relative times that keep themselves right: one timer for the page, and only texts that changed are touched.

import { ago } from "./format.js";
import { el, setText } from "./dom.js";

const EVERY_MS = 10_000;

/**
 * A `<time>` that reads `5 min ago` and goes on reading right.
 * @param {number} ts ms since the epoch
 * @param {string} [prefix] words before it
 */
export function since(ts, prefix = "") {
  const node = el("time", { datetime: new Date(ts).toISOString(), "data-since": ts, "data-prefix": prefix });
  refresh(node);
  return node;
}

/** @param {HTMLElement} node */
function refresh(node) {
  setText(node, (node.dataset.prefix ?? "") + ago(Number(node.dataset.since)));
}

/** Starts the page's one timer; the returned function stops it. */
export function startClock() {
  const tick = () => {
    for (const node of document.querySelectorAll("time[data-since]")) refresh(/** @type {HTMLElement} */ (node));
  };
  const timer = setInterval(tick, EVERY_MS);
  const onVisible = () => document.visibilityState === "visible" && tick();
  document.addEventListener("visibilitychange", onVisible);
  return () => {
    clearInterval(timer);
    document.removeEventListener("visibilitychange", onVisible);
  };
}
