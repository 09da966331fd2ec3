// The HTML of a peer's message as DOM. It is parsed into a document that runs and loads nothing, and what is shown is
// built anew: of the elements that Matrix allows, with the attributes that are named here and no others.

import { el } from "./dom.js";
import { matrixLink } from "./links.js";
import { bodyOf, linked, richText } from "./rich-text.js";

/** @typedef {(target: import("./links.js").MatrixLink, text: string) => Node | undefined} Pill how a link to somebody or something in Matrix is shown */

const MAX_CHARACTERS = 65_536;
const MAX_DEPTH = 40;
const MAX_NODES = 4_000;

/** What stays what it is. */
const KEPT = new Set([
  "b", "blockquote", "br", "caption", "code", "del", "details", "div", "em", "hr", "i", "li", "ol", "p", "pre", "s", "span", "strong", "sub",
  "summary", "sup", "table", "tbody", "td", "th", "thead", "tr", "u", "ul",
]);
/** What is gone with everything in it. */
const DROPPED = new Set([
  "applet", "audio", "embed", "frame", "frameset", "iframe", "link", "math", "meta", "mx-reply", "noembed", "noframes", "noscript", "object",
  "option", "script", "select", "style", "svg", "template", "textarea", "title", "video", "xmp",
]);
const SCHEMES = new Set(["https:", "http:", "mailto:", "ftp:", "magnet:", "matrix:"]);

/**
 * The message as nodes; nothing where it is none, or says nothing.
 * @param {any} content
 * @param {Pill} pill
 * @returns {HTMLElement | undefined}
 */
export function formatted(content, pill) {
  const html = content?.formatted_body;
  if (content?.format !== "org.matrix.custom.html" || typeof html !== "string" || html.length > MAX_CHARACTERS) return undefined;
  const { body } = new DOMParser().parseFromString(html, "text/html");
  const left = { nodes: MAX_NODES };
  const node = el("div.formatted", {}, ...children(body, { pill, left, depth: 0, inLink: false, inCode: false }));
  return node.textContent?.trim() === "" ? undefined : node;
}

/** Behind these, and before them, there is a space where a message is one line. */
const BLOCKS = "blockquote, br, details, div, hr, li, p, pre, summary, td, th, tr";
/** What was made of the contents that were asked for, which lists ask for again and again. @type {WeakMap<object, string>} */
const plain = new WeakMap();

/** The words of a message on one line, without its marks and the quotation that old replies carry. @param {any} content */
export function plainText(content) {
  if (typeof content !== "object" || content === null) return "";
  const known = plain.get(content);
  if (known !== undefined) return known;
  const node = formatted(content, () => undefined) ?? el("div", {}, ...richText(bodyOf(content)));
  for (const hidden of node.querySelectorAll(".spoiler-words")) hidden.remove();
  for (const block of node.querySelectorAll(BLOCKS)) {
    block.before(" ");
    block.after(" ");
  }
  const text = (node.textContent ?? "").replace(/\s+/g, " ").trim();
  plain.set(content, text);
  return text;
}

/** @typedef {{ pill: Pill, left: { nodes: number }, depth: number, inLink: boolean, inCode: boolean }} Place */

/** @param {Node} parent @param {Place} place @returns {(Node | string)[]} */
function children(parent, place) {
  if (place.depth > MAX_DEPTH) return [];
  const within = { ...place, depth: place.depth + 1 };
  /** @type {(Node | string)[]} */
  const out = [];
  for (const child of parent.childNodes) {
    place.left.nodes -= 1;
    if (place.left.nodes < 0) break;
    if (child.nodeType === Node.TEXT_NODE) out.push(...text(child.nodeValue ?? "", place));
    else if (child instanceof Element || child.nodeType === Node.ELEMENT_NODE) out.push(...element(/** @type {Element} */ (child), within));
  }
  return out;
}

/** @param {string} words @param {Place} place */
function text(words, { inLink, inCode }) {
  return inLink || inCode ? [words] : linked(words);
}

/** @param {Element} node @param {Place} place @returns {(Node | string)[]} */
function element(node, place) {
  const name = node.localName;
  if (DROPPED.has(name)) return [];
  if (name === "img") return [node.getAttribute("alt") ?? node.getAttribute("title") ?? ""];
  if (name === "a") return link(node, place);
  if (/^h[1-6]$/.test(name)) return [el("p.heading", {}, ...children(node, place))];
  if (name === "span" && node.hasAttribute("data-mx-spoiler")) return [spoiler(node, place)];
  if (!KEPT.has(name)) return children(node, place);
  const code = place.inCode || name === "code" || name === "pre";
  const made = el(/** @type {"div"} */ (name), attributes(name, node), ...children(node, { ...place, inCode: code }));
  return [made];
}

/** @param {string} name @param {Element} node @returns {Record<string, any>} */
function attributes(name, node) {
  const start = node.getAttribute("start") ?? "";
  if (name === "ol" && /^\d{1,9}$/.test(start)) return { start };
  if (name === "details") return { open: node.hasAttribute("open") };
  return {};
}

/** @param {Element} node @param {Place} place @returns {(Node | string)[]} */
function link(node, place) {
  const inside = () => children(node, { ...place, inLink: true });
  const url = URL.parse(node.getAttribute("href") ?? "");
  if (place.inLink || !url || !SCHEMES.has(url.protocol)) return inside();
  const target = matrixLink(url.href);
  const pill = target && place.pill(target, node.textContent ?? "");
  if (pill) return [pill];
  return [el("a", { href: url.href, target: "_blank", rel: "noopener noreferrer nofollow", title: url.href }, ...inside())];
}

/** Shown when it is wished. @param {Element} node @param {Place} place */
function spoiler(node, place) {
  const words = el("span.spoiler-words", { inert: true, "aria-hidden": "true" }, ...children(node, place));
  const reason = node.getAttribute("data-mx-spoiler");
  const toggle = el("button.spoiler-toggle", { type: "button", "aria-expanded": "false", onclick: () => show() }, reason ? `Spoiler: ${reason.slice(0, 80)}` : "Spoiler");
  const show = () => {
    words.inert = false;
    words.removeAttribute("aria-hidden");
    toggle.setAttribute("aria-expanded", "true");
    toggle.hidden = true;
  };
  return el("span.spoiler", {}, toggle, words);
}
