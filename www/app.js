// The web client's beginning: a session remembered or asked for, then the rooms.

import { Client } from "./pkg/index.js";
import { startClock } from "./lib/clock.js";
import { forgetDrafts } from "./lib/drafts.js";
import { errorText } from "./lib/errors.js";
import { idleMinutes } from "./lib/settings.js";
import { toast } from "./lib/toast.js";
import { forgetSession, loadSession, saveSession } from "./session.js";
import { createShell } from "./views/shell.js";
import { createSignIn } from "./views/sign-in.js";

/** @typedef {import("/pkg/index.js").Session} Session */

const root = /** @type {HTMLElement} */ (document.getElementById("app"));

const NOT_TOLD =
  "Signed out here. The server could not be told: this device stays in its list until you remove it there.";

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
  const client = await Client.create(session, { idleTimeoutMs: idleMinutes() * 60_000 });
  saveSession(session);
  let left = false;

  /** Takes the rooms down, then ends the client by `end`. @param {() => Promise<void>} end @param {() => void} next */
  async function leave(end, next) {
    if (left) return;
    left = true;
    shell.dispose();
    next();
    try {
      await end();
    } catch (error) {
      toast(errorText(error), "error");
    } finally {
      client.free();
    }
  }

  const shell = createShell(client, {
    onSignOut() {
      forgetSession();
      forgetDrafts(session.userId);
      void leave(() => client.logout().catch(() => Promise.reject(new Error(NOT_TOLD))), showSignIn);
    },
    onRestart() {
      void leave(() => client.stop(), () => root.replaceChildren()).then(() => enter(session));
    },
  });
  client.on("connection", (state) => {
    // After signing out here there may be a new session already, which is not to be forgotten.
    if (state !== "logged_out" || left) return;
    forgetSession();
    void leave(() => client.stop(), () => showSignIn("You were signed out. Please log in again."));
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
