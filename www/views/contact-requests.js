// Who asks to see my presence, to be answered.

import { avatar } from "../lib/avatar.js";
import { el, icon, setText } from "../lib/dom.js";
import { orToast, toast } from "../lib/toast.js";

/** @param {import("./shell.js").Context} context */
export function createRequests(context) {
  const { contacts } = context;
  const badge = el("span.badge", { hidden: true, testid: "requests-badge" });
  const items = el("ul.invites", { "aria-label": "Requests", testid: "request-list" });
  const node = el("section.requests", { hidden: true }, el("h3.section-title", {}, "Wants to see when you are there"), items);
  /** @type {Map<string, HTMLElement>} */
  const shown = new Map();

  const update = () => {
    const asking = new Set(contacts.requests());
    for (const [userId, item] of shown) {
      if (asking.has(userId)) continue;
      item.remove();
      shown.delete(userId);
    }
    for (const userId of asking) {
      if (shown.has(userId)) continue;
      const item = createRequest(context, userId);
      shown.set(userId, item);
      items.append(item);
    }
    node.hidden = shown.size === 0;
    badge.hidden = shown.size === 0;
    setText(badge, String(shown.size));
    badge.setAttribute("aria-label", `${shown.size} requests`);
  };

  const dispose = contacts.subscribe(update);
  update();
  return { node, badge, dispose };
}

/** @param {import("./shell.js").Context} context @param {string} userId */
function createRequest({ client, people, contacts }, userId) {
  const name = people.name(userId);
  const accept = async () => {
    if (!(await orToast(() => client.answerRequest(userId, "accept"))) || contacts.entry(userId)) return;
    // To be seen is not to see: who accepts may expect the other on the own list.
    toast(`${name} may see when you are there, but is not on your own list.`, "info", {
      label: "Add them too", testid: "toast-add", act: () => orToast(() => client.addContact(userId)),
    });
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
