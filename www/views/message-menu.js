// What can be done with a message: one menu for all of them, opened at a message's button or by the keyboard.

import { el, fill, icon } from "../lib/dom.js";
import { roving } from "../lib/roving.js";

/** @typedef {import("/pkg/index.js").TimelineItem} TimelineItem */

const QUICK = ["👍", "❤️", "😂", "🎉", "😮", "👀"];
const MARGIN_PX = 8;

/** @param {import("./talk.js").Talk} talk */
export function createMessageMenu(talk) {
  const node = el("div.menu.message-menu", { popover: "auto", testid: "message-menu", role: "group", "aria-label": "Message actions" });
  const refreshRoving = roving(node, "button");
  /** @type {HTMLElement | undefined} */
  let anchor;
  node.addEventListener("toggle", (event) => {
    if (/** @type {ToggleEvent} */ (event).newState === "open") return;
    // Where the focus has gone nowhere else it returns, to a message that is still there. Its button shows as long as this is open.
    if (anchor?.isConnected && (document.activeElement === document.body || node.contains(document.activeElement))) anchor.focus();
    anchor?.setAttribute("aria-expanded", "false");
  });

  /** @param {TimelineItem} item */
  function parts(item) {
    const entry = (/** @type {string} */ glyph, /** @type {string} */ label, /** @type {string} */ testid, /** @type {() => unknown} */ act) =>
      el("button.menu-item", { type: "button", tabindex: "-1", testid, onclick: () => (node.hidePopover(), act()) }, icon(glyph), label);
    const react = (/** @type {string} */ key) => {
      node.hidePopover();
      talk.toggleReaction(item, key);
    };
    const mine = new Set(item.reactions?.filter((reaction) => reaction.mine).map((reaction) => reaction.key));
    const quick = QUICK.map((key) =>
      el("button.quick-reaction", { type: "button", tabindex: "-1", testid: "react", "aria-label": `React with ${key}`, "aria-pressed": String(mine.has(key)), onclick: () => react(key) }, key));
    const other = el("input.other-reaction", { type: "text", maxlength: "32", placeholder: "Any emoji", "aria-label": "React with any emoji", testid: "react-other", autocomplete: "off" });
    other.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing || other.value.trim() === "") return;
      event.preventDefault();
      react(other.value.trim());
    });
    const answers = talk.canAnswer(item);
    return [
      answers && el("div.quick-reactions", {}, ...quick),
      answers && other,
      answers && entry("reply", "Reply", "reply", () => talk.onReply(item)),
      talk.canEdit(item) && entry("pencil", "Edit", "edit", () => talk.onEdit(item)),
      entry("copy", "Copy text", "copy", () => talk.copyText(item)),
      item.eventId !== undefined && entry("link", "Copy link", "copy-link", () => talk.copyLink(item)),
      talk.canDelete(item) && entry("trash", "Delete message", "delete", () => talk.delete(item)),
    ];
  }

  return {
    node,
    /** @param {TimelineItem} item @param {HTMLElement} at */
    open(item, at) {
      anchor = at;
      fill(node, ...parts(item));
      node.showPopover();
      anchor.setAttribute("aria-expanded", "true");
      place(node, at);
      refreshRoving();
      node.querySelector("button")?.focus();
    },
  };
}

/** Below its button, or above where there is no space; within the window. @param {HTMLElement} node @param {HTMLElement} at */
function place(node, at) {
  const box = at.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = node;
  const below = box.bottom + 4 + height <= innerHeight - MARGIN_PX;
  const top = below ? box.bottom + 4 : Math.max(MARGIN_PX, box.top - 4 - height);
  const left = Math.min(Math.max(MARGIN_PX, box.right - width), innerWidth - width - MARGIN_PX);
  node.style.top = `${top}px`;
  node.style.left = `${left}px`;
}
