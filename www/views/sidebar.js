// The sidebar: rooms or contacts, what can be begun, and my own presence at its foot.

import { el, icon, iconButton, setText } from "../lib/dom.js";
import { routeHref } from "../lib/router.js";
import { createContacts } from "./contacts.js";
import { createMe } from "./me.js";
import { openCreateRoom, openJoinRoom } from "./room-dialogs.js";
import { createRoomList } from "./room-list.js";
import { openSearch } from "./search.js";

/** @param {import("./shell.js").Context} context */
export function createSidebar(context) {
  const rooms = createRoomList(context);
  const contacts = createContacts(context);
  const me = createMe(context);
  const unread = createUnread(context);
  const tabs = {
    rooms: el("a.tab", { href: routeHref({ pane: "rooms" }), testid: "tab-rooms" }, icon("chat"), "Chats", unread.node),
    contacts: el("a.tab", { href: routeHref({ pane: "contacts" }), testid: "tab-contacts" }, icon("people"), "People", contacts.badge),
  };
  const node = el(
    "nav.sidebar",
    { "aria-label": "Rooms and people" },
    el(
      "header.sidebar-head",
      {},
      el("span.brand.small", {}, icon("flame"), "Pilotlight"),
      iconButton("search", "Search messages", { testid: "search", onclick: () => openSearch(context) }),
      iconButton("compass", "Join or find a room", { testid: "join-room", onclick: () => openJoinRoom(context) }),
      iconButton("plus", "Create a room", { testid: "create-room", onclick: () => openCreateRoom(context) }),
    ),
    el("div.tabs", {}, tabs.rooms, tabs.contacts),
    rooms.node,
    contacts.node,
    me.node,
  );

  return {
    node,
    /** @param {import("../lib/router.js").Route} route */
    setRoute(route) {
      const tab = route.pane === "contacts" ? "contacts" : "rooms";
      for (const [id, link] of Object.entries(tabs)) {
        if (id === tab) link.setAttribute("aria-current", "page");
        else link.removeAttribute("aria-current");
      }
      rooms.node.hidden = tab !== "rooms";
      contacts.node.hidden = tab !== "contacts";
      rooms.select("roomId" in route ? route.roomId : undefined);
    },
    dispose() {
      unread.dispose();
      rooms.dispose();
      contacts.dispose();
      me.dispose();
    },
  };
}

/** What waits in the chats, also while another tab is looked at. @param {import("./shell.js").Context} context */
function createUnread({ client, rooms }) {
  const node = el("span.badge", { testid: "unread-badge", hidden: true });
  const update = () => {
    const count = rooms.unread();
    node.hidden = count === 0;
    setText(node, count > 99 ? "99+" : String(count));
    node.setAttribute("aria-label", `${count} unread`);
  };
  const dispose = client.on("rooms", update);
  update();
  return { node, dispose };
}
