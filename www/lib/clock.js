// Times in words that keep themselves right: one timer for the page, and only texts that changed are touched.

import { ago, dayLabel, lasting, listTime } from "./format.js";
import { el, setText } from "./dom.js";

const EVERY_MS = 10_000;

/** Up to when somebody who is there needs no word about when they were active. */
const LATELY_MS = 5 * 60_000;

/** @type {Record<string, (ts: number) => string>} */
const WORDS = {
  ago: (ts) => ago(ts),
  for: (ts) => lasting(ts),
  while: (ts) => (Date.now() - ts < LATELY_MS ? "" : ago(ts)),
  day: (ts) => dayLabel(ts),
  list: (ts) => listTime(ts),
};

/**
 * A `<time>` whose words follow the clock: `20 min` (for), `5 min ago` (ago), the same but nothing while it
 * is short (while), `Yesterday` (day), `14:05` or a day (list).
 * @param {"for" | "ago" | "while" | "day" | "list"} words
 * @param {number} [ts] ms since the epoch
 * @param {string} [prefix] words before it, where there are any
 */
export function liveTime(words, ts, prefix = "") {
  const node = el("time", { "data-words": words, "data-prefix": prefix });
  setLiveTime(node, ts);
  return node;
}

/** @param {HTMLElement} node made by `liveTime` @param {number | undefined} ts ms since the epoch; none empties it */
export function setLiveTime(node, ts) {
  if (ts === undefined) {
    delete node.dataset.ts;
    setText(node, "");
    return;
  }
  node.dataset.ts = String(ts);
  node.setAttribute("datetime", new Date(ts).toISOString());
  refresh(node);
}

/** @param {HTMLElement} node */
function refresh(node) {
  const { words = "ago", prefix = "", ts } = node.dataset;
  const text = WORDS[words](Number(ts));
  setText(node, text && prefix + text);
}

/** Starts the page's one timer; the returned function stops it. */
export function startClock() {
  const tick = () => {
    for (const node of document.querySelectorAll("time[data-ts]")) refresh(/** @type {HTMLElement} */ (node));
  };
  const timer = setInterval(tick, EVERY_MS);
  const onVisible = () => document.visibilityState === "visible" && tick();
  document.addEventListener("visibilitychange", onVisible);
  return () => {
    clearInterval(timer);
    document.removeEventListener("visibilitychange", onVisible);
  };
}
