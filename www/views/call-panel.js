// The call that the person is in: both pictures, how it stands, and what can be done.

import { avatar } from "../lib/avatar.js";
import { duration, mediaText } from "../lib/call-words.js";
import { el, icon, iconButton, setText } from "../lib/dom.js";
import { toast } from "../lib/toast.js";

/** @typedef {import("/pkg/call.js").Call} Call */

const TICK_MS = 1_000;
/** What stays free around the panel. */
const CLEAR_PX = 16;

export class CallPanel {
  /** @param {Call} call @param {string} name */
  constructor(call, name) {
    this.call = call;
    this.other = video("call-other");
    this.own = video("call-own");
    this.own.muted = true;
    this.state = el("span.call-state", { role: "status", testid: "call-state" });
    this.time = el("span.call-time", { testid: "call-time" });
    this.problem = el("p.problem", { role: "alert", testid: "call-problem", hidden: true });
    this.microphone = button("microphone", "Mute the microphone", "call-mute", () => call.muteMicrophone(!call.muted.audio));
    this.camera = button("camera", "Turn the camera on", "call-camera", () => this.#toggleCamera());
    this.hold = button("pause", "Hold the call", "call-hold", () => call.setHold(!call.onHold));
    this.size = button("expand", "Make it large", "call-size", () => this.#resize());
    const end = el("button.call-end", { type: "button", "aria-label": "Hang up", title: "Hang up", testid: "call-hang-up", onclick: () => call.hangUp() }, icon("hang-up"));
    this.node = el(
      "section.call-panel",
      {
        "aria-label": `Call with ${name}`, testid: "call", tabindex: "-1",
        onkeydown: (/** @type {KeyboardEvent} */ event) => event.key === "Escape" && this.node.classList.contains("large") && this.#resize(),
      },
      el("div.call-stage", {}, avatar(call.userId ?? call.roomId, name, "round"), this.other, this.own),
      el("div.call-foot", {}, el("div.call-text", {}, el("strong", { dir: "auto" }, name), el("span.muted", {}, this.state, " ", this.time))),
      this.problem,
      el("div.call-acts", { role: "group", "aria-label": "Call" }, this.microphone, this.camera, this.hold, this.size, end),
    );
    this.timer = setInterval(() => this.#showTime(), TICK_MS);
    this.resized = new ResizeObserver(() => this.#makeRoom());
    this.resized.observe(this.node);
    this.update();
  }

  update() {
    const { call, node } = this;
    node.dataset.state = call.state;
    node.dataset.callId = call.callId;
    attach(this.other, call.remoteStream);
    attach(this.own, call.localStream);
    this.other.hidden = call.otherMuted.video || !hasPicture(call.remoteStream);
    this.own.hidden = call.muted.video;
    node.classList.toggle("pictured", !this.other.hidden);
    setText(this.state, stateText(call));
    press(this.microphone, call.muted.audio, call.muted.audio ? "microphone-off" : "microphone", call.muted.audio ? "Unmute the microphone" : "Mute the microphone");
    press(this.camera, !call.muted.video, call.muted.video ? "camera-off" : "camera", call.muted.video ? "Turn the camera on" : "Turn the camera off");
    press(this.hold, call.onHold, "pause", call.onHold ? "Go on with the call" : "Hold the call");
    this.hold.disabled = !call.canChange;
    this.camera.disabled = !call.localStream;
    this.microphone.disabled = !call.localStream;
    this.problem.hidden = !call.error;
    if (call.error) this.problem.replaceChildren(icon("alert"), `${mediaText(call.error, call.localStream ? "camera" : "microphone")}`);
    this.#showTime();
  }

  async #toggleCamera() {
    try {
      await this.call.setCamera(this.call.muted.video);
    } catch (error) {
      toast(mediaText(/** @type {Error} */ (error), "camera"), "error");
    }
  }

  #resize() {
    const large = this.node.classList.toggle("large");
    press(this.size, large, "expand", large ? "Make it small" : "Make it large");
  }

  #showTime() {
    const { connectedAt } = this.call;
    setText(this.time, connectedAt === undefined ? "" : duration(Date.now() - connectedAt));
  }

  /** What the panel floats over can be scrolled out from under it. */
  #makeRoom() {
    if (!this.node.classList.contains("large")) document.documentElement.style.setProperty("--call-height", `${Math.ceil(this.node.offsetHeight) + CLEAR_PX}px`);
  }

  dispose() {
    clearInterval(this.timer);
    this.resized.disconnect();
    document.documentElement.style.removeProperty("--call-height");
    attach(this.other, undefined);
    attach(this.own, undefined);
    this.node.remove();
  }
}

/** @param {Call} call */
function stateText(call) {
  if (call.state === "connected" && call.reconnecting) return "Looking for the connection…";
  if (call.onHold) return "On hold";
  if (call.heldByOther) return "Held by the other";
  switch (call.state) {
    case "preparing":
    case "answering":
      return call.localStream ? "Getting ready…" : "Waiting for the microphone…";
    case "calling":
      return "Calling…";
    case "connecting":
      return "Connecting…";
    default:
      return call.otherMuted.audio ? "Their microphone is off" : "";
  }
}

/** @param {string} name */
function video(name) {
  return el("video", { class: name, autoplay: true, playsinline: true, testid: name });
}

/** @param {HTMLVideoElement} node @param {MediaStream | undefined} stream */
function attach(node, stream) {
  if (node.srcObject !== (stream ?? null)) node.srcObject = stream ?? null;
}

/** @param {MediaStream | undefined} stream */
function hasPicture(stream) {
  return stream?.getVideoTracks().some((track) => !track.muted && track.readyState === "live") ?? false;
}

/** @param {string} glyph @param {string} label @param {string} testid @param {() => void} onclick */
function button(glyph, label, testid, onclick) {
  return iconButton(glyph, label, { testid, "aria-pressed": "false", onclick });
}

/** @param {HTMLButtonElement} node @param {boolean} pressed @param {string} glyph @param {string} label */
function press(node, pressed, glyph, label) {
  node.setAttribute("aria-pressed", String(pressed));
  if (node.title === label) return;
  node.title = label;
  node.setAttribute("aria-label", label);
  node.replaceChildren(icon(glyph));
}
