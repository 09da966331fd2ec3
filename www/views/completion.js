// Completes `@name` while one writes: a list above the field that the keyboard moves through.

import { avatar } from "../lib/avatar.js";
import { el, fill, uniqueId } from "../lib/dom.js";

/** @typedef {import("../lib/markdown.js").Mention} Mention */

const MOST = 6;
const BEFORE = /(?:^|[\s(])@([^\s@]{0,40})$/u;

/**
 * @param {import("./talk.js").Talk} talk
 * @param {HTMLTextAreaElement} input
 * @param {(chosen: Mention | "room") => void} onChosen
 */
export function createCompletion(talk, input, onChosen) {
  const id = uniqueId("completion");
  const node = el("ul.completion", { id, role: "listbox", "aria-label": "People to mention", testid: "completion", hidden: true });
  /** @type {(Mention | "room")[]} */
  let found = [];
  let active = 0;
  input.setAttribute("aria-controls", id);
  input.setAttribute("aria-autocomplete", "list");

  const typed = () => (input.selectionStart === input.selectionEnd ? BEFORE.exec(input.value.slice(0, input.selectionStart))?.[1] : undefined);

  const close = () => {
    found = [];
    node.hidden = true;
    input.removeAttribute("aria-activedescendant");
  };

  const show = () => {
    fill(node, ...found.map((one, at) => option(one, at)));
    node.hidden = found.length === 0;
    if (node.hidden) input.removeAttribute("aria-activedescendant");
    else input.setAttribute("aria-activedescendant", `${id}-${active}`);
  };

  /** @param {Mention | "room"} one @param {number} at */
  function option(one, at) {
    const [userId, name] = one === "room" ? [talk.roomId, "room"] : [one.userId, one.name];
    const words = one === "room" ? "Everybody in this room" : userId;
    return el(
      "li.completion-item",
      {
        id: `${id}-${at}`, role: "option", "aria-selected": String(at === active), testid: "completion-item", "data-user-id": userId,
        onpointerdown: (/** @type {Event} */ event) => (event.preventDefault(), choose(at)),
      },
      avatar(userId, name, one === "room" ? "square" : "round"),
      el("bdi", {}, name),
      el("span.muted", {}, words),
    );
  }

  /** @param {number} at */
  function choose(at) {
    const one = found[at];
    const words = typed();
    if (one === undefined || words === undefined) return;
    const name = one === "room" ? "room" : one.name;
    const end = input.selectionStart;
    input.setRangeText(`@${name} `, end - words.length - 1, end, "end");
    onChosen(one);
    close();
    input.dispatchEvent(new Event("input"));
  }

  return {
    node,
    close,
    /** What fits what was typed. */
    update() {
      const words = typed();
      if (words === undefined) return close();
      found = matching(talk, words.toLowerCase());
      active = 0;
      show();
    },
    /** Whether the key was meant for the list. @param {KeyboardEvent} event */
    handleKey(event) {
      if (node.hidden || event.isComposing) return false;
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step !== undefined) {
        active = (active + step + found.length) % found.length;
        show();
      } else if (event.key === "Enter" || event.key === "Tab") choose(active);
      else if (event.key === "Escape") close();
      else return false;
      event.preventDefault();
      return true;
    },
  };
}

/** Those whose name or address has these words at the beginning of a word. @param {import("./talk.js").Talk} talk @param {string} words */
function matching(talk, words) {
  const fits = (/** @type {string} */ text) => text.toLowerCase().split(/[\s._@-]+/).some((part) => part.startsWith(words)) || text.toLowerCase().startsWith(words);
  const members = [...talk.context.people.members(talk.roomId)].filter(({ userId, membership }) => membership === "join" && userId !== talk.me);
  const people = members.map(({ userId }) => ({ userId, name: talk.nameOf(userId) })).filter(({ userId, name }) => fits(name) || fits(userId.slice(1)));
  people.sort((a, b) => a.name.localeCompare(b.name));
  /** @type {(Mention | "room")[]} */
  const found = people.slice(0, MOST);
  const mayTellAll = talk.powerOf(talk.me) >= (talk.room?.mentionRoomLevel ?? 50);
  if (mayTellAll && words !== "" && "room".startsWith(words)) found.push("room");
  return found;
}
