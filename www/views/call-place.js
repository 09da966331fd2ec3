// Where calls are shown: cards of those that ring, and the one that the person is in.

import { Calls } from "../pkg/call.js";
import { avatar } from "../lib/avatar.js";
import { endText, mediaText } from "../lib/call-words.js";
import { el, icon, iconButton } from "../lib/dom.js";
import { startTone } from "../lib/tone.js";
import { toast } from "../lib/toast.js";
import { CallPanel } from "./call-panel.js";

/** @typedef {import("/pkg/call.js").Call} Call */

/** Ends that are nobody's trouble. */
const MILD = ["other_hung_up", "missed", "answered_elsewhere", "rejected", "busy", "no_answer"];

/** @param {import("./shell.js").Context} context @param {HTMLElement} node */
export function createCallPlace(context, node) {
  const { client, people, rooms } = context;
  const calls = Calls.of(client);
  /** Those that ring, by their ID. @type {Map<string, HTMLElement>} */
  const cards = new Map();
  const spoken = el("p.visually-hidden", { "aria-live": "assertive", testid: "call-spoken" });
  /** @type {CallPanel | undefined} */
  let panel;
  /** @type {(() => void) | undefined} */
  let stopTone;
  node.append(spoken);

  /** @param {Call} call */
  const nameOf = (call) => (call.userId === undefined ? rooms.get(call.roomId)?.name ?? "Somebody" : people.name(call.userId, people.member(call.roomId, call.userId)));

  /** @param {Call} call */
  function update(call) {
    const isLive = !["ringing", "ended"].includes(call.state);
    if (call.state === "ringing") ring(call);
    else takeAway(call);
    if (isLive && panel?.call !== call) {
      panel?.dispose();
      panel = new CallPanel(call, nameOf(call));
      node.append(panel.node);
      panel.node.focus();
    } else if (panel?.call === call && !isLive) {
      panel.dispose();
      panel = undefined;
    } else {
      panel?.update();
    }
    if (call.state === "ended") tellEnd(call);
    listenForRinging();
  }

  /** @param {Call} call */
  function ring(call) {
    if (!call.rings) return;
    const known = cards.get(call.callId);
    const card = createCard(call, nameOf(call), panel !== undefined, () => dismiss(call));
    if (known) {
      known.replaceWith(card);
    } else {
      node.append(card);
      spoken.textContent = `${nameOf(call)} calls you.`;
      // Who writes goes on writing.
      if (!document.activeElement?.matches("input, textarea, select, [contenteditable]")) card.querySelector("button")?.focus();
    }
    cards.set(call.callId, card);
  }

  /** The other devices go on ringing. @param {Call} call */
  function dismiss(call) {
    takeAway(call);
    listenForRinging();
  }

  /** @param {Call} call */
  function takeAway(call) {
    cards.get(call.callId)?.remove();
    cards.delete(call.callId);
  }

  function listenForRinging() {
    // Who is in a call hears that.
    if (cards.size > 0 && !panel) {
      stopTone ??= startTone();
      return;
    }
    stopTone?.();
    stopTone = undefined;
    if (cards.size === 0) spoken.textContent = "";
  }

  /** @param {Call} call */
  function tellEnd(call) {
    const isMine = call.direction === "outgoing";
    const words = call.reason === "no_media" && call.error ? mediaText(call.error) : call.rings || isMine ? endText(call.reason, nameOf(call)) : undefined;
    if (!words) return;
    const again = ["no_answer", "no_path", "path_lost", "failed"].includes(call.reason ?? "");
    const offer = again ? { label: "Call again", testid: "call-again", act: () => context.phone.call(call.roomId, call.video) } : undefined;
    toast(words, MILD.includes(call.reason ?? "") ? "info" : "error", offer);
  }

  const stop = calls.on("call", update);
  for (const call of calls.all()) update(call);
  return {
    /** @param {string} roomId @param {boolean} video */
    call(roomId, video) {
      update(calls.place(roomId, { video }));
    },
    dispose() {
      stop();
      stopTone?.();
      panel?.dispose();
      calls.close();
      node.replaceChildren();
    },
  };
}

/** @param {Call} call @param {string} name @param {boolean} isSecond whether the person is in a call @param {() => void} onDismiss */
function createCard(call, name, isSecond, onDismiss) {
  const answer = (/** @type {boolean} */ video) => () => call.answer({ video });
  const problem = call.error && el("p.problem", { role: "alert", testid: "call-problem" }, icon("alert"), mediaText(call.error));
  return el(
    "section.call-card",
    {
      role: "alertdialog", "aria-label": `${name} calls you`, testid: "incoming-call", "data-call-id": call.callId,
      onkeydown: (/** @type {KeyboardEvent} */ event) => event.key === "Escape" && onDismiss(),
    },
    el("div.call-who", {}, avatar(call.userId ?? call.roomId, name, "round"), el("div.call-text", {}, el("strong", { dir: "auto" }, name), el("span.muted", {}, `${call.video ? "Video call" : "Call"}${isSecond ? ": answering it ends the one you are in" : ""}`)), iconButton("close", "Ignore on this device", { testid: "call-ignore", onclick: onDismiss })),
    problem,
    el(
      "div.call-acts",
      {},
      call.video && el("button.primary", { type: "button", testid: "call-answer-video", onclick: answer(true) }, icon("camera"), "Answer with video"),
      el("button.primary", { type: "button", testid: "call-answer", onclick: answer(false) }, icon("phone"), call.video ? "Voice only" : "Answer"),
      el("button.danger", { type: "button", testid: "call-decline", onclick: () => call.hangUp() }, icon("hang-up"), "Decline"),
    ),
  );
}
