// Several tabs with one session: who signs out in one has signed out in all, whether the server could be told or not.

/**
 * Calls back when another client of this session, in whatever tab, has logged out. `tell` says that this one has, and
 * `leave` ends it.
 */
export function joinTabs({ baseUrl, userId, deviceId }, onLoggedOut) {
  if (typeof BroadcastChannel !== "function") return { tell() {}, leave() {} };
  const channel = new BroadcastChannel(`pilotlight/${baseUrl}/${userId}/${deviceId}`);
  channel.addEventListener("message", onLoggedOut);
  // In Node it would keep the process.
  channel.unref?.();
  return { tell: () => channel.postMessage("logged out"), leave: () => channel.close() };
}
