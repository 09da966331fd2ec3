// One row of the timeline: a message with its way to its place, or a line about what happened.

import { avatar, renameAvatar } from "../lib/avatar.js";
import { liveTime } from "../lib/clock.js";
import { comingsLine, isMessage, stateLine } from "../lib/describe.js";
import { el, fill, icon, iconButton, setText } from "../lib/dom.js";
import { errorText } from "../lib/errors.js";
import { clockTime, fullTime, hueOf } from "../lib/format.js";
import { bodyOf, isOnlyEmoji, richText } from "../lib/rich-text.js";
import { orToast, toast } from "../lib/toast.js";
import { confirm } from "./dialog.js";
import { openPerson } from "./person-dialog.js";

/** @typedef {import("/pkg/index.js").TimelineItem} TimelineItem */
/** @typedef {import("/pkg/index.js").EchoState} EchoState */

/** @type {Record<EchoState, string>} */
const ECHO = {
  queued: "Waiting to be sent",
  sending: "Sending",
  sent: "Sent",
  placed: "Sent",
  failed: "Not sent",
};

/** One tick: the server has it; two: somebody has read it. @type {Record<EchoState, string>} */
const MARKS = { queued: "echo-queued", sending: "echo-sending", sent: "echo-sent", placed: "echo-sent", failed: "echo-failed" };

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
    /** Whether a run of comings and goings is shown in full, as the person wished at one of its rows. */
    this.open = false;
    /** @type {HTMLElement | undefined} */
    this.fold = undefined;
    this.node = el("li.row", {
      class: `${this.isMessage ? "message" : "event"} ${this.own ? "own" : "other"}`, testid: "timeline-item", "data-key": item.key,
      "data-sender": item.sender, "data-type": item.type,
    });
    if (this.isMessage) this.#buildMessage();
    else this.node.append((this.text = el("p.event-line", { dir: "auto" })));
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

  /**
   * Shows the row in a run of comings and goings: not while that is folded, but for its head, which says what
   * happened and opens it.
   * @param {{ hidden: boolean, head: TimelineRow[] | undefined, open: boolean }} place
   */
  showInRun({ hidden, head, open }) {
    this.node.hidden = hidden && head === undefined;
    /** @type {HTMLElement} */ (this.text).hidden = hidden;
    this.fold?.remove();
    this.fold = undefined;
    if (head === undefined) return;
    const toggle = () => {
      for (const row of head) row.open = !open;
      for (const row of head) row.showInRun({ hidden: open, head: row === this ? head : undefined, open: !open });
    };
    const words = open ? "" : comingsLine(head.map((row) => row.item), (userId) => this.#nameOf(userId));
    const button = el("button.link", { type: "button", testid: "fold", "aria-expanded": String(open), onclick: toggle }, open ? "Show less" : `Show all ${head.length}`);
    this.fold = el("p.event-line.fold", {}, el("bdi", {}, words), " ", button);
    this.node.append(this.fold);
  }

  #buildMessage() {
    const { sender } = this.item;
    const open = () => openPerson(this.context, sender, this.roomId);
    this.name = el("button.sender", { type: "button", class: `hue-${hueOf(sender)}`, dir: "auto", onclick: open, tabindex: "-1" });
    this.picture = this.own ? undefined : avatar(sender, this.#senderName(), "round");
    this.text = el("div.body", { dir: "auto" });
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
    node.dataset.read = String(item.read === true);
    if (item.eventId) node.dataset.eventId = item.eventId;
    if (!this.isMessage) {
      setText(/** @type {Element} */ (this.text), stateLine(item, (userId) => this.#nameOf(userId)) ?? "");
      /** @type {HTMLElement} */ (this.text).title = fullTime(item.ts);
      return;
    }
    if (before?.ts !== item.ts) this.#showTime();
    if (before?.content !== item.content || before?.redacted !== item.redacted) this.#showBody();
    if (before?.echo !== item.echo || before?.error !== item.error || before?.read !== item.read) this.#showEcho();
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
    const [mark, words] = item.read ? ["echo-read", "Read"] : [MARKS[item.echo], ECHO[item.echo]];
    if (this.own) fill(/** @type {Element} */ (this.echo), icon(mark, words));
    failure.hidden = !failed;
    if (!failed || item.actionId === undefined) return;
    const { client } = this.context;
    const { actionId } = item;
    fill(
      failure,
      el("span", {}, failureText(item.error)),
      el("button.link", { type: "button", testid: "retry", onclick: () => client.retry(actionId) }, "Try again"),
      el("button.link", { type: "button", testid: "cancel", onclick: () => this.#discard(actionId) }, "Discard"),
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
        testid: "delete", onclick: () => this.#delete(eventId),
      }),
    );
  }

  /** @param {string} eventId */
  #delete(eventId) {
    confirm({
      title: "Delete this message?", testid: "delete", submitLabel: "Delete", text: "It is taken away for everybody in the room, and cannot be brought back.",
      act: () => this.context.client.redact(this.roomId, eventId),
    });
  }

  /** @param {number} actionId */
  #discard(actionId) {
    confirm({
      title: "Discard this message?", testid: "discard", submitLabel: "Discard", text: bodyOf(this.item.content),
      act: async () => this.context.client.cancel(actionId),
    });
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

/** Why a message failed, in words: the code stands before them. @param {string | undefined} error */
function failureText(error) {
  const [, code, words] = /^([A-Z_]+): (.*)$/s.exec(error ?? "") ?? [];
  return code === undefined ? error || "Not sent." : errorText(Object.assign(new Error(words), { code }));
}
