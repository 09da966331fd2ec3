// Building DOM. Text always becomes a text node, so nothing a peer wrote is ever parsed as markup.

/** @typedef {Node | string | number | null | undefined | false} Child */

const SVG = "http://www.w3.org/2000/svg";
/** Beside this very copy of the client, which the address names. */
const SPRITE = new URL("../icons.svg", import.meta.url).pathname;

/**
 * Creates an element: `el("button.primary", { type: "button", testid: "send", onclick }, "Send")`.
 * Functions under `on…` become listeners, `testid` becomes `data-testid`, `true` an empty attribute;
 * `false`, `null` and `undefined` leave the attribute out.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K | `${K}.${string}`} tag
 * @param {Record<string, any>} [attributes]
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function el(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const node = /** @type {HTMLElementTagNameMap[K]} */ (document.createElement(name));
  if (classes.length > 0) node.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) setAttribute(node, key, value);
  append(node, children);
  return node;
}

/**
 * @param {HTMLElement} node
 * @param {string} key
 * @param {any} value
 */
function setAttribute(node, key, value) {
  if (value === undefined || value === null || value === false) return;
  if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
  else if (key === "class") node.classList.add(...value.split(" ").filter(Boolean));
  else if (key === "testid") node.dataset.testid = value;
  else if (key === "value") /** @type {HTMLInputElement} */ (node).value = value;
  else node.setAttribute(key, value === true ? "" : String(value));
}

/**
 * @param {Node} node
 * @param {(Child | Child[])[]} children
 */
function append(node, children) {
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue;
    node.appendChild(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/**
 * Replaces the children, leaving absent ones out.
 * @param {Element} node
 * @param {...(Child | Child[])} children
 */
export function fill(node, ...children) {
  node.replaceChildren();
  append(node, children);
}

/**
 * An icon of the sprite: decorative unless it has a label.
 * @param {string} name
 * @param {string} [label]
 */
export function icon(name, label) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", `icon icon-${name}`);
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `${SPRITE}#${name}`);
  svg.append(use);
  if (label) {
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", label);
  } else {
    svg.setAttribute("aria-hidden", "true");
  }
  return svg;
}

/**
 * A button that shows only an icon; the label is its accessible name and its tooltip.
 * @param {string} name
 * @param {string} label
 * @param {Record<string, any>} [attributes]
 */
export function iconButton(name, label, attributes = {}) {
  return el("button.icon-button", { type: "button", "aria-label": label, title: label, ...attributes }, icon(name));
}

/**
 * Sets the text only where it differs, so that an unchanged label costs no layout and no announcement.
 * @param {Element} node
 * @param {string} text
 */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Text for screen readers only. @param {string} text */
export function hiddenText(text) {
  return el("span.visually-hidden", {}, text);
}

let lastId = 0;

/** A document-wide unique id, to tie labels and descriptions to controls. @param {string} prefix */
export function uniqueId(prefix) {
  lastId += 1;
  return `${prefix}-${lastId}`;
}
