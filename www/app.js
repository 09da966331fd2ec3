// The web client's beginning: a session remembered or asked for, then the rooms.

import { Client } from "./pkg/index.js";
import { startClock } from "./lib/clock.js";
import { forgetDrafts } from "./lib/drafts.js";
import { errorText } from "./lib/errors.js";
import { forgetPlace, idleMinutes } from "./lib/settings.js";
import { toast } from "./lib/toast.js";
import { forgetSession, isRemembered, loadSession, saveSession } from "./session.js";
import { createShell } from "./views/shell.js";
import { createSignIn } from "./views/sign-in.js";

/** @typedef {import("/pkg/index.js").Session} Session */

const root = /** @type {HTMLElement} */ (document.getElementById("app"));

const NOT_TOLD =
  "Signed out here. The server could not be told: this device stays in its list until you log in again and change your password with “Sign out my other devices”.";

/** @param {string} [notice] why the person has to sign in again */
function showSignIn(notice) {
  document.title = "Pilotlight";
  root.replaceChildren(createSignIn({ onSession: enter, notice }));
}

/** Keeps a new session, and follows it. @param {Session} session */
async function enter(session) {
  saveSession(session);
  await follow(session);
}

/**
 * Shows the client for a session that is kept, and starts it.
 * @param {Session} session
 */
async function follow(session) {
  const client = await Client.create(session, { idleTimeoutMs: idleMinutes() * 60_000 });
  if (!isRemembered(session)) {
    // Signed out in another tab meanwhile.
    client.free();
    showSignIn();
    return;
  }
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
      forget(session);
      void leave(() => client.logout().catch(() => Promise.reject(new Error(NOT_TOLD))), showSignIn);
    },
    onRestart() {
      void leave(() => client.stop(), () => root.replaceChildren()).then(() => follow(session));
    },
  });
  client.on("connection", (state, error) => {
    if (state !== "logged_out" || left) return;
    // Without an error it was the person, in another tab; else what is unfinished waits for them to come back.
    if (error) forgetSession(session);
    else forget(session);
    const notice = error ? "You were signed out. Please log in again." : "You signed out in another tab.";
    void leave(() => client.stop(), () => showSignIn(notice));
  });
  root.replaceChildren(shell.node);
  client.start();
}

/** Nothing of a session stays. @param {Session} session */
function forget(session) {
  forgetSession(session);
  if (loadSession()?.userId !== session.userId) forgetDrafts(session.userId);
  forgetPlace();
}

async function begin() {
  startClock();
  const session = loadSession();
  if (!session) {
    showSignIn();
    return;
  }
  try {
    await follow(session);
  } catch (error) {
    showSignIn(errorText(error));
  }
}

void begin();
