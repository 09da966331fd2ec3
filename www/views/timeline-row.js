// One row of the timeline: a message with its way to its place, or a line about what happened.

import { avatar, renameAvatar } from "../lib/avatar.js";
import { liveTime } from "../lib/clock.js";
import { isMessage, stateLine } from "../lib/describe.js";
import { el, fill, icon, iconButton, setText } from "../lib/dom.js";
import { clockTime, fullTime } from "../lib/format.js";
import { bodyOf, isOnlyEmoji, richText } from "../lib/rich-text.js";
import { orToast, toast } from "../lib/toast.js";
import { openPerson } from "./person-dialog.js";

/** @typedef {import("/pkg/index.js").TimelineItem} TimelineItem */
/** @typedef {import("/pkg/index.js").EchoState} EchoState */

/** @type {Record<EchoState, string>} */
const ECHO = {
  queued: "Waiting to be sent",
  sending: "Sending",
  sent: "Sent",
  placed: "Delivered to the room",
  failed: "Not sent",
};

const REDACTOR_LEVEL = 50;

export class TimelineRow {
  /**
   * @param {import("./shell.js").Context} context
   * @param {string} roomId
   * @param {TimelineItem} item
   */
  constructor(context, roomId, item) {
    this.context = context;
    this.roomId = roomId;
    this.item = item;
    /** The item before any edit. */
    this.original = item;
    this.isMessage = isMessage(item);
    this.own = item.sender === context.people.myId;
    /** @type {HTMLElement | undefined} */
    this.day = undefined;
    this.node = el("li.row", {
      class: `${this.isMessage ? "message" : "event"} ${this.own ? "own" : "other"}`, testid: "timeline-item", "data-key": item.key,
      "data-sender": item.sender, "data-type": item.type,
    });
    if (this.isMessage) this.#buildMessage();
    else this.node.append((this.text = el("p.event-line")));
    this.#show(undefined);
  }

  /** @param {TimelineItem} item */
  update(item) {
    const before = this.item;
    this.item = item;
    this.#show(before);
  }

  /** Shows the sender's name as it is. */
  rename() {
    if (!this.isMessage) return;
    const name = this.#senderName();
    setText(/** @type {Element} */ (this.name), name);
    if (this.picture) renameAvatar(this.picture, name);
  }

  /** @param {{ newDay: boolean, starts: boolean, ends: boolean }} place */
  arrange({ newDay, starts, ends }) {
    this.node.classList.toggle("starts", starts);
    this.node.classList.toggle("ends", ends);
    if (newDay && !this.day) {
      this.day = el("div.day", { role: "separator" }, liveTime("day", this.item.ts));
      this.node.prepend(this.day);
    } else if (!newDay) {
      this.day?.remove();
      this.day = undefined;
    }
  }

  #buildMessage() {
    const { sender } = this.item;
    const open = () => openPerson(this.context, sender, this.roomId);
    this.name = el("button.sender", { type: "button", onclick: open, tabindex: "-1" });
    this.picture = this.own ? undefined : avatar(sender, this.#senderName(), "round");
    this.text = el("div.body");
    this.time = el("time.stamp");
    this.echo = el("span.echo");
    this.tools = el("div.tools");
    this.failure = el("p.failure", { hidden: true });
    this.node.append(
      el(
        "article.line",
        { tabindex: "-1" },
        this.picture ?? "",
        el("div.stack", {}, this.name, el("div.bubble", {}, this.text, el("span.meta", {}, this.time, this.echo), this.tools), this.failure),
      ),
    );
    this.rename();
  }

  /** @param {TimelineItem | undefined} before */
  #show(before) {
    const { item, node } = this;
    node.dataset.echo = item.echo;
    if (item.eventId) node.dataset.eventId = item.eventId;
    if (!this.isMessage) {
      setText(/** @type {Element} */ (this.text), stateLine(item, (userId) => this.#nameOf(userId)) ?? "");
      /** @type {HTMLElement} */ (this.text).title = fullTime(item.ts);
      return;
    }
    if (before?.ts !== item.ts) this.#showTime();
    if (before?.content !== item.content || before?.redacted !== item.redacted) this.#showBody();
    if (before?.echo !== item.echo || before?.error !== item.error) this.#showEcho();
    if (before?.eventId !== item.eventId || before?.redacted !== item.redacted || !before) this.#showTools();
  }

  #showTime() {
    const time = /** @type {HTMLTimeElement} */ (this.time);
    setText(time, clockTime(this.item.ts));
    time.dateTime = new Date(this.item.ts).toISOString();
    time.title = fullTime(this.item.ts);
  }

  #showBody() {
    const { item, node } = this;
    const text = /** @type {HTMLElement} */ (this.text);
    const body = bodyOf(item.content);
    node.classList.toggle("redacted", item.redacted === true);
    node.classList.toggle("emote", item.content?.msgtype === "m.emote");
    node.classList.toggle("notice", item.content?.msgtype === "m.notice");
    node.classList.toggle("only-emoji", !item.redacted && isOnlyEmoji(body));
    if (item.redacted) fill(text, "Message deleted");
    else if (item.type === "m.room.encrypted") fill(text, icon("lock"), "Encrypted message, which this client cannot read");
    else if (item.content?.msgtype === "m.emote") fill(text, `${this.#senderName()} `, richText(body));
    else fill(text, richText(body));
  }

  #showEcho() {
    const { item } = this;
    const failed = item.echo === "failed";
    const failure = /** @type {HTMLElement} */ (this.failure);
    if (this.own) fill(/** @type {Element} */ (this.echo), icon(`echo-${item.echo}`, ECHO[item.echo]));
    failure.hidden = !failed;
    if (!failed || item.actionId === undefined) return;
    const { client } = this.context;
    const { actionId } = item;
    fill(
      failure,
      el("span", {}, item.error || "Not sent."),
      el("button.link", { type: "button", testid: "retry", onclick: () => client.retry(actionId) }, "Try again"),
      el("button.link", { type: "button", testid: "cancel", onclick: () => client.cancel(actionId) }, "Discard"),
    );
  }

  #showTools() {
    const { item, context } = this;
    const tools = /** @type {Element} */ (this.tools);
    const { eventId } = item;
    if (eventId === undefined || item.redacted) {
      tools.replaceChildren();
      return;
    }
    const mayDelete = this.own || (this.#member(context.people.myId)?.powerLevel ?? 0) >= REDACTOR_LEVEL;
    fill(
      tools,
      iconButton("copy", "Copy text", { testid: "copy", onclick: () => this.#copy() }),
      mayDelete && iconButton("trash", "Delete message", {
        testid: "delete", onclick: () => orToast(() => context.client.redact(this.roomId, eventId)),
      }),
    );
  }

  async #copy() {
    if (await orToast(() => navigator.clipboard.writeText(bodyOf(this.item.content)))) toast("Copied.");
  }

  #senderName() {
    return this.#nameOf(this.item.sender);
  }

  /** @param {string} userId */
  #nameOf(userId) {
    return this.context.people.name(userId, this.#member(userId));
  }

  /** @param {string} userId */
  #member(userId) {
    return this.context.people.member(this.roomId, userId);
  }
}
