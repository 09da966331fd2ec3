// The place in the client as the address's fragment, so that back, forward and reload do what they say.

/**
 * @typedef {{ pane: "rooms" | "contacts" }
 *   | { pane: "room" | "people", roomId: string, eventId?: string }} Route
 */

/** @param {string} hash @returns {Route} */
export function parseRoute(hash) {
  const [, kind, id, sub] = hash.split("/");
  if (kind === "room" && id && sub && sub !== "people") return { pane: "room", roomId: safeDecode(id), eventId: safeDecode(sub) };
  if (kind === "room" && id) return { pane: sub === "people" ? "people" : "room", roomId: safeDecode(id) };
  return { pane: kind === "contacts" ? "contacts" : "rooms" };
}

/** @param {Route} route */
export function routeHref(route) {
  switch (route.pane) {
    case "rooms":
      return "#/";
    case "contacts":
      return "#/contacts";
    case "room":
      return `#/room/${encodeURIComponent(route.roomId)}${route.eventId ? `/${encodeURIComponent(route.eventId)}` : ""}`;
    case "people":
      return `#/room/${encodeURIComponent(route.roomId)}/people`;
  }
}

/** @param {string} text */
function safeDecode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** @param {Route} route @param {"push" | "replace"} [how] */
export function navigate(route, how = "push") {
  const href = routeHref(route);
  if (how === "replace") location.replace(href);
  else location.hash = href;
}

/** Calls back with the current route, then at each change; the returned function stops it. @param {(route: Route) => void} listener */
export function watchRoute(listener) {
  const onChange = () => listener(parseRoute(location.hash));
  addEventListener("hashchange", onChange);
  onChange();
  return () => removeEventListener("hashchange", onChange);
}
