// A message's text as DOM: links, `code`, code blocks. Text stays text: no markup of a peer's is ever parsed.

import { el } from "./dom.js";
import { addressOf } from "./links.js";

/** What ends an address; of these, also what would show it in another order than it has. */
const END = String.raw`\s<>"“”\u061C\u200E\u200F\u202A-\u202E\u2066-\u2069`;
const HOST = String.raw`(?:localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?(?![\w-])`;
/** Of pages, of what is in Matrix, and of rooms by name: `#room:server`. */
const ADDRESS = String.raw`(?:https?:\/\/|matrix:(?:u|r|roomid)\/)[^${END}]+|(?<![^\s(\[{,;–—-])#[^:#${END}]+:${HOST}`;
const PARTS = new RegExp("```(?:[\\w+-]*\\n)?([\\s\\S]+?)```|`([^`\\n]+)`|\\*\\*([^\\s*](?:[^*\\n]*[^\\s*])?)\\*\\*|" + `(${ADDRESS})`, "g");
const LINK = new RegExp(ADDRESS, "g");
const LINK_TAIL = /[.,;:!?'’)\]]+$/;
const ONLY_EMOJI = /^(?:\p{RGI_Emoji}\s*){1,6}$/v;

/** @param {string} text @returns {(Node | string)[]} */
export function richText(text) {
  /** @type {(Node | string)[]} */
  const parts = [];
  let at = 0;
  for (const match of text.matchAll(PARTS)) {
    const [whole, block, code, strong, url] = match;
    let used = whole.length;
    parts.push(text.slice(at, match.index));
    if (block !== undefined) parts.push(el("pre", {}, el("code", {}, block.replace(/\n$/, ""))));
    else if (code !== undefined) parts.push(el("code", {}, code));
    else if (strong !== undefined) parts.push(el("strong", {}, strong));
    else if (url !== undefined) {
      const address = trimLink(url);
      used = address.length;
      parts.push(linkTo(address));
    }
    at = match.index + used;
  }
  parts.push(text.slice(at));
  return parts.filter((part) => part !== "");
}

/** Plain words with their links. @param {string} text @returns {(Node | string)[]} */
export function linked(text) {
  /** @type {(Node | string)[]} */
  const parts = [];
  let at = 0;
  for (const match of text.matchAll(LINK)) {
    const address = trimLink(match[0]);
    parts.push(text.slice(at, match.index), linkTo(address));
    at = match.index + address.length;
  }
  parts.push(text.slice(at));
  return parts.filter((part) => part !== "");
}

/** @param {string} address */
function linkTo(address) {
  const href = address.startsWith("#") ? addressOf({ id: address, via: [] }) : address;
  return el("a", { href, target: "_blank", rel: "noopener noreferrer nofollow" }, address);
}

/** Leaves punctuation that ends the sentence out of the link. @param {string} url */
function trimLink(url) {
  const trimmed = url.replace(LINK_TAIL, "");
  return url.startsWith(")", trimmed.length) && trimmed.includes("(") ? `${trimmed})` : trimmed;
}

/** Whether the text is nothing but a few emoji, which are shown large. @param {string} text */
export function isOnlyEmoji(text) {
  return text.length <= 60 && ONLY_EMOJI.test(text.trim());
}

/** The text without the quotation that replies carry for old clients. @param {any} content @returns {string} */
export function bodyOf(content) {
  const body = typeof content?.body === "string" ? content.body : "";
  if (!content?.["m.relates_to"]?.["m.in_reply_to"] || !body.startsWith("> ")) return body;
  return body.replace(/^(?:>.*\n)+\n?/, "");
}
