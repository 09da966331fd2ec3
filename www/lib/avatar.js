// Avatars: a picture, where there is one, else initials on one of eight hues. Round for people, square for rooms.

import { el } from "./dom.js";
import { hueOf, initials } from "./format.js";
import { media } from "./media.js";

/** As large as any avatar is on a screen of two pixels to one. */
const SIZE = /** @type {const} */ ({ width: 96, height: 96, method: "crop" });

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

/** When a picture that did not come is asked for again: the server may only have been busy. */
const AGAIN_MS = [1_000, 3_000, 9_000];

/** Shows the picture at an address, or none; until it is there, and where it cannot be shown, the letters. @param {HTMLElement} node @param {string | undefined} uri */
export function pictureAvatar(node, uri) {
  const wanted = uri || "";
  if ((node.dataset.picture ?? "") === wanted) return;
  node.dataset.picture = wanted;
  node.querySelector("img")?.remove();
  if (wanted !== "") void showPicture(node, wanted);
}

/** @param {HTMLElement} node @param {string} wanted */
async function showPicture(node, wanted) {
  for (const wait of [...AGAIN_MS, undefined]) {
    const url = await media()?.show(wanted, "image", SIZE).catch(() => undefined);
    if (node.dataset.picture !== wanted) return;
    if (url !== undefined) {
      node.querySelector(".letters")?.after(el("img", { src: url, alt: "", draggable: "false" }));
      return;
    }
    if (wait === undefined) break;
    await new Promise((resolve) => setTimeout(resolve, wait));
    if (node.dataset.picture !== wanted) return;
    if (!node.isConnected) break;
  }
  // Asked for again when it is shown again.
  node.dataset.picture = "";
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
