// Several tabs with one session: who signs out in one has signed out in all, whether the server could be told or not; and
// one of them has the stream from the server, and tells the others what it is told.

/** Where a session may be shared: in pages and their workers. Elsewhere a client has it to itself. */
const shared = typeof document === "object" || typeof WorkerGlobalScope === "function";

/**
 * Ties a client to the others of its session, in whatever tab; `call` calls a method of it. `tell` says that it has logged
 * out, `post` tells the others what it is told, `follow` and `rest` say whether it follows the server, `leave` ends it.
 */
export function joinTabs({ baseUrl, userId, deviceId }, call) {
  const nothing = () => {};
  if (typeof BroadcastChannel !== "function") return { tell: nothing, post: nothing, follow: nothing, rest: nothing, leave: nothing };
  const name = `pilotlight/${baseUrl}/${userId}/${deviceId}`;
  const open = (path, listener) => {
    const channel = new BroadcastChannel(path);
    channel.addEventListener("message", listener);
    // In Node it would keep the process.
    channel.unref?.();
    return channel;
  };
  const channel = open(name, () => call("handleLoggedOutElsewhere"));
  let stream = shared ? open(`${name}/stream`, ({ data }) => call("handleTab", String(data))) : undefined;
  let ended;
  const rest = () => {
    ended?.abort();
    ended = undefined;
  };
  if (shared) call("lead", false);
  return {
    tell: () => channel.postMessage("logged out"),
    post: (message) => stream?.postMessage(message),
    follow() {
      // Without locks, as in pages that came without TLS, each follows the server by itself.
      if (!shared || ended || !navigator.locks) return;
      const { signal } = (ended = new AbortController());
      const over = new Promise((resolve) => signal.addEventListener("abort", resolve));
      const lead = () => {
        if (!signal.aborted) call("lead", true);
        return over;
      };
      navigator.locks.request(`${name}/stream`, { signal }, lead).catch(nothing);
    },
    rest() {
      if (ended) call("lead", false);
      rest();
    },
    leave() {
      rest();
      channel.close();
      stream?.close();
      stream = undefined;
    },
  };
}
