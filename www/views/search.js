// Looking for messages by their words, in one room or in all, and going to what was found.

import { avatar } from "../lib/avatar.js";
import { el, fill, hiddenText } from "../lib/dom.js";
import { errorText } from "../lib/errors.js";
import { excerpt, find } from "../lib/find.js";
import { counted, fullTime, listTime } from "../lib/format.js";
import { navigate } from "../lib/router.js";
import { roving } from "../lib/roving.js";
import { openDialog } from "./dialog.js";

/** @typedef {import("./shell.js").Context} Context */
/** @typedef {import("../lib/find.js").Found} Found */
/** @typedef {import("../lib/find.js").Page} Page */

const DELAY_MS = 250;

/** What was looked for last, for who comes back to it. */
let lastTerm = "";

/** @param {Context} context @param {string} [roomId] the room that is looked at: looked through first */
export function openSearch(context, roomId) {
  const { client, rooms } = context;
  const room = roomId === undefined ? undefined : rooms.get(roomId);
  const input = el("input", { type: "search", testid: "search-term", "aria-label": "Words to search for", placeholder: "Search messages", autocomplete: "off", dir: "auto", value: lastTerm });
  const scope = el(
    "select",
    { testid: "search-scope", "aria-label": "Where to search" },
    room && el("option", { value: "room" }, `In ${room.name}`),
    el("option", { value: "all" }, "In all rooms"),
  );
  const status = el("p.search-status", { role: "status", testid: "search-status" });
  const list = el("ul.search-results", { testid: "search-results", "aria-label": "Messages found" });
  const more = el("button.quiet", { type: "button", hidden: true, testid: "search-more", onclick: () => void load(page?.next) }, "Show more");
  const dialog = openDialog(
    { title: "Search messages", testid: "search-dialog", wide: true },
    el("div.dialog-body.search", {}, el("div.search-for", {}, el("div.field", {}, input), el("div.field", { hidden: !room }, scope)), status, list, more),
  );
  const refreshRoving = roving(list, "button");
  let asked = 0;
  /** @type {Page | undefined} */
  let page;

  /** @param {Found} one @param {string[]} highlights */
  function item(one, highlights) {
    const nameOf = (/** @type {string} */ userId) => context.people.name(userId, context.people.member(one.roomId, userId));
    const name = nameOf(one.sender);
    const where = scope.value === "all" ? rooms.get(one.roomId)?.name : undefined;
    const around = (/** @type {import("../lib/find.js").Line | undefined} */ line) =>
      line && el("span.search-around", { dir: "auto" }, `${nameOf(line.sender)}: ${excerpt(line.text, [], 90)[0]}`);
    const words = excerpt(one.text, highlights).map((part, n) => (n % 2 === 1 ? el("mark", {}, part) : part));
    const go = () => {
      dialog.close();
      navigate({ pane: "room", roomId: one.roomId, eventId: one.eventId });
    };
    return el(
      "li",
      {},
      el(
        "button.search-result",
        { type: "button", tabindex: "-1", testid: "search-result", "data-event-id": one.eventId, onclick: go },
        avatar(one.sender, name, "round"),
        el(
          "span.search-text",
          {},
          el("span.search-head", {}, el("strong", { dir: "auto" }, name), where && el("span.muted", { dir: "auto" }, where), el("time.muted", { title: fullTime(one.ts) }, listTime(one.ts))),
          around(one.before),
          el("span.search-words", { dir: "auto" }, words),
          around(one.after),
          hiddenText("Go to this message"),
        ),
      ),
    );
  }

  /** @param {string} [next] */
  async function load(next) {
    asked += 1;
    const mine = asked;
    const term = input.value.trim();
    lastTerm = term;
    if (next === undefined) {
      fill(list);
      page = undefined;
      more.hidden = true;
    }
    if (term === "") return void fill(status, roomId !== undefined && room?.encrypted ? "What is encrypted is not found here." : "");
    list.setAttribute("aria-busy", "true");
    more.disabled = true;
    try {
      const got = await find(client, term, { roomId: scope.value === "room" ? roomId : undefined, next });
      if (mine !== asked) return;
      page = got;
      // Rooms that one has left cannot be opened here.
      const shown = got.found.filter((one) => rooms.isJoined(one.roomId));
      list.append(...shown.map((one) => item(one, got.highlights)));
      const none = room?.encrypted && scope.value === "room" ? "Nothing found: what is encrypted cannot be searched." : "Nothing found.";
      fill(status, list.childElementCount === 0 && !got.next ? none : `${counted(got.count, "message", "messages")} found`);
      more.hidden = got.next === undefined;
      refreshRoving();
    } catch (error) {
      if (mine === asked) fill(status, errorText(error));
    } finally {
      if (mine === asked) {
        list.setAttribute("aria-busy", "false");
        more.disabled = false;
      }
    }
  }

  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => void load(), DELAY_MS);
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") {
      clearTimeout(timer);
      void load();
    } else if (event.key === "ArrowDown") {
      event.preventDefault();
      /** @type {HTMLElement | null} */ (list.querySelector("button"))?.focus();
    }
  });
  scope.addEventListener("change", () => void load());
  list.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowUp" || document.activeElement !== list.querySelector("button")) return;
    event.preventDefault();
    event.stopPropagation();
    input.focus();
  }, { capture: true });
  input.select();
  if (lastTerm !== "") void load();
}
