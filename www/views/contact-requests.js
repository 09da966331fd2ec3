// Who asks to see my presence, to be answered.

import { avatar } from "../lib/avatar.js";
import { el, fill, icon, setText } from "../lib/dom.js";
import { orToast, toast } from "../lib/toast.js";
import { openChatWith } from "./room-dialogs.js";

/** @param {import("./shell.js").Context} context */
export function createRequests(context) {
  const { contacts } = context;
  const badge = el("span.badge", { hidden: true, testid: "requests-badge" });
  const items = el("ul.invites", { "aria-label": "Requests", testid: "request-list" });
  const node = el("section.requests", { hidden: true }, el("h3.section-title", {}, "Wants to see when you are there"), items);
  const unseen = createUnseen(context);
  /** @type {Map<string, HTMLElement>} */
  const shown = new Map();
  /** What takes the offer to add somebody away, by whom I accepted. @type {Map<string, () => void>} */
  const offers = new Map();

  const update = () => {
    const asking = new Set(contacts.requests());
    for (const [userId, item] of shown) {
      if (asking.has(userId)) continue;
      item.remove();
      shown.delete(userId);
    }
    for (const userId of asking) {
      if (shown.has(userId)) continue;
      const item = createRequest(context, userId, offers);
      shown.set(userId, item);
      items.append(item);
    }
    node.hidden = shown.size === 0;
    badge.hidden = shown.size === 0;
    setText(badge, String(shown.size));
    badge.setAttribute("aria-label", `${shown.size} requests`);
    unseen.update();
    for (const [userId, withdraw] of offers) {
      if (!contacts.entry(userId)) continue;
      withdraw();
      offers.delete(userId);
    }
  };

  const unsubscribe = contacts.subscribe(update);
  update();
  const dispose = () => {
    unsubscribe();
    for (const withdraw of offers.values()) withdraw();
  };
  return { node, badge, unseen: unseen.node, dispose };
}

/**
 * Those who see me and whom I do not see: to accept somebody is half of what most people want.
 * @param {import("./shell.js").Context} context
 */
function createUnseen(context) {
  const { contacts } = context;
  const items = el("ul.invites", { "aria-label": "See you, not on your list" });
  const node = el("section.requests", { hidden: true, testid: "unseen" }, el("h3.section-title", {}, "See you, not on your list"), items);
  let shown = "";
  const update = () => {
    const them = contacts.accepted().filter((userId) => !contacts.entry(userId));
    node.hidden = them.length === 0;
    if (them.join() === shown) return;
    shown = them.join();
    fill(items, ...them.map((userId) => createUnseenItem(context, userId)));
  };
  return { node, update };
}

/** @param {import("./shell.js").Context} context @param {string} userId */
function createUnseenItem(context, userId) {
  const name = context.people.name(userId);
  return el(
    "li.invite",
    { testid: "unseen-item", "data-user-id": userId },
    avatar(userId, name, "round"),
    el("span.invite-text", {}, el("strong", { dir: "auto" }, name), el("span.muted", { title: userId }, userId)),
    el(
      "span.invite-actions",
      {},
      el("button.primary.small", { type: "button", testid: "unseen-add", onclick: () => add(context, userId) }, icon("person-add"), "Add to my list"),
      el("button.quiet.small", { type: "button", testid: "unseen-chat", onclick: () => orToast(() => openChatWith(context, userId)) }, icon("chat"), "Chat"),
    ),
  );
}

/** @param {import("./shell.js").Context} context @param {string} userId */
async function add({ client, people }, userId) {
  if (await orToast(() => client.addContact(userId))) toast(`${people.name(userId)} is on your list.`);
}

/** @param {import("./shell.js").Context} context @param {string} userId @param {Map<string, () => void>} offers */
function createRequest(context, userId, offers) {
  const { client, people, contacts } = context;
  const name = people.name(userId);
  const accept = async () => {
    if (!(await orToast(() => client.answerRequest(userId, "accept"))) || contacts.entry(userId)) return;
    // To be seen is not to see: who accepts may expect the other on the own list.
    offers.set(userId, toast(`${name} may see when you are there, but is not on your own list.`, "info", {
      label: "Add them too", testid: "toast-add", act: () => add(context, userId),
    }));
  };
  const deny = () => orToast(() => client.answerRequest(userId, "deny"));
  return el(
    "li.invite",
    { testid: "request-item", "data-user-id": userId },
    avatar(userId, name, "round"),
    el("span.invite-text", {}, el("strong", { dir: "auto" }, name), el("span.muted", { title: userId }, userId)),
    el(
      "span.invite-actions",
      {},
      el("button.primary.small", { type: "button", testid: "request-accept", onclick: accept }, icon("check"), "Accept"),
      el("button.quiet.small", { type: "button", testid: "request-deny", onclick: deny }, "Deny"),
    ),
  );
}
