// The line that says when the server is out of reach.

import { el, icon, setText } from "../lib/dom.js";

const PATIENCE_MS = 1500;

/** @param {import("/pkg/index.js").Client} client */
export function createBanner(client) {
  const text = el("span");
  const node = el("div.banner", { role: "status", testid: "connection", "data-connection": client.connection });
  const retry = el("button.link", { type: "button", testid: "try-now", onclick: () => client.reconnect() }, "Try now");
  const line = el("p", {}, icon("offline"), text, retry);
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;

  /** @param {string} words */
  const show = (words) => {
    setText(text, words);
    retry.hidden = client.connection !== "offline";
    if (!line.isConnected) node.append(line);
  };

  /** @param {import("/pkg/index.js").Connection} state */
  const update = (state) => {
    node.dataset.connection = state;
    clearTimeout(timer);
    switch (state) {
      case "offline":
        show(navigator.onLine ? "The server is out of reach. Trying again…" : "You are offline. Messages wait and go out when you are back.");
        break;
      case "connecting":
        timer = setTimeout(() => show("Connecting…"), PATIENCE_MS);
        break;
      case "online":
      case "stopped":
      case "logged_out":
        line.remove();
        break;
    }
  };

  const stop = client.on("connection", update);
  return {
    node,
    dispose() {
      clearTimeout(timer);
      stop();
    },
  };
}
