// The web client's beginning: a session remembered or asked for, then the rooms.

import { Client } from "/pkg/index.js";
import { startClock } from "./lib/clock.js";
import { errorText } from "./lib/errors.js";
import { forgetSession, loadSession, saveSession } from "./session.js";
import { createShell } from "./views/shell.js";
import { createSignIn } from "./views/sign-in.js";

/** @typedef {import("/pkg/index.js").Session} Session */

const root = /** @type {HTMLElement} */ (document.getElementById("app"));

/** @param {string} [notice] why the person has to sign in again */
function showSignIn(notice) {
  document.title = "Pilotlight";
  root.replaceChildren(createSignIn({ onSession: enter, notice }));
}

/**
 * Shows the client for a session and starts it.
 * @param {Session} session
 */
async function enter(session) {
  const client = await Client.create(session);
  saveSession(session);
  const shell = createShell(client, { onSignOut: () => leave("logout") });
  let left = false;

  /** @param {"logout" | "expired"} how */
  async function leave(how) {
    if (left) return;
    left = true;
    forgetSession();
    shell.dispose();
    showSignIn(how === "expired" ? "You were signed out. Please log in again." : undefined);
    try {
      await (how === "logout" ? client.logout() : client.stop());
    } finally {
      client.free();
    }
  }

  client.on("connection", (state) => {
    if (state === "logged_out") void leave("expired");
  });
  root.replaceChildren(shell.node);
  client.start();
}

async function begin() {
  startClock();
  const session = loadSession();
  if (!session) {
    showSignIn();
    return;
  }
  try {
    await enter(session);
  } catch (error) {
    showSignIn(errorText(error));
  }
}

void begin();
