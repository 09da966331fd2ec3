// Avatars: initials on one of eight hues. Round for people, square for rooms.

import { el } from "./dom.js";
import { hueOf, initials } from "./format.js";

/**
 * @param {string} id decides the hue
 * @param {string} name decides the letters
 * @param {"round" | "square"} shape round for people, square for rooms
 * @param {...Node} marks laid over its corner
 */
export function avatar(id, name, shape, ...marks) {
  return el(
    "span.avatar",
    { class: `${shape} hue-${hueOf(id)}`, "aria-hidden": marks.length === 0 ? "true" : undefined },
    el("span.letters", { "aria-hidden": "true" }, initials(name)),
    marks,
  );
}

/** Gives it the colour of somebody: one person has one, wherever they are shown. @param {HTMLElement} node @param {string} id */
export function recolourAvatar(node, id) {
  const hue = `hue-${hueOf(id)}`;
  if (node.classList.contains(hue)) return;
  node.classList.remove(...[...node.classList].filter((name) => name.startsWith("hue-")));
  node.classList.add(hue);
}

/** @param {HTMLElement} node @param {"round" | "square"} shape */
export function reshapeAvatar(node, shape) {
  node.classList.toggle("round", shape === "round");
  node.classList.toggle("square", shape === "square");
}

/** @param {HTMLElement} node @param {string} name */
export function renameAvatar(node, name) {
  const letters = node.querySelector(".letters");
  const text = initials(name);
  if (letters && letters.textContent !== text) letters.textContent = text;
}
