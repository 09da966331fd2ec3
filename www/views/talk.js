// What the parts of one conversation share: who speaks, what is quoted, and what a message can be asked to do.

import { addressOf } from "../lib/links.js";
import { serverOf } from "../lib/format.js";
import { orToast, toast } from "../lib/toast.js";
import { bodyOf } from "../lib/rich-text.js";
import { confirm } from "./dialog.js";

/** @typedef {import("/pkg/index.js").TimelineItem} TimelineItem */

/** The most quoted messages that are kept beside the timeline. */
const MOST_QUOTED = 200;

export class Talk {
  /** Quoted messages that the timeline has not. @type {Map<string, Promise<TimelineItem | undefined>>} */
  #quoted = new Map();
  /** What became of the calls that were placed here: set by the timeline. @type {Map<string, import("../lib/call-words.js").Outcome>} */
  calls = new Map();
  /** Whether a stretch of the past is shown: set by the timeline. */
  inPast = false;
  /** What the views do: set by them. */
  onReply = (/** @type {TimelineItem} */ _item) => {};
  onEdit = (/** @type {TimelineItem} */ _item) => {};
  onJump = (/** @type {string} */ _eventId) => {};
  onMenu = (/** @type {TimelineItem} */ _item, /** @type {HTMLElement} */ _anchor) => {};
  /** @type {(eventId: string) => TimelineItem | undefined} */
  find = () => undefined;

  /** @param {import("./shell.js").Context} context @param {string} roomId */
  constructor(context, roomId) {
    this.context = context;
    this.roomId = roomId;
    this.me = context.people.myId;
  }

  get room() {
    return this.context.rooms.get(this.roomId);
  }

  /** @param {string} userId */
  member(userId) {
    return this.context.people.member(this.roomId, userId);
  }

  /** @param {string} userId */
  nameOf(userId) {
    return this.context.people.name(userId, this.member(userId));
  }

  /** @param {string} userId */
  powerOf(userId) {
    return this.member(userId)?.powerLevel ?? 0;
  }

  /** Whether a message is for me by name: mentions me, or everybody where its sender may do so. @param {TimelineItem} item */
  namesMe(item) {
    const { user_ids: users, room } = item.content?.["m.mentions"] ?? {};
    if (item.sender === this.me || item.redacted) return false;
    if (Array.isArray(users) && users.includes(this.me)) return true;
    return room === true && this.powerOf(item.sender) >= (this.room?.mentionRoomLevel ?? 50);
  }

  /** A message that is quoted, from the timeline or the server. @param {string} eventId @returns {Promise<TimelineItem | undefined>} */
  quoted(eventId) {
    const known = this.find(eventId);
    if (known) return Promise.resolve(known);
    let asked = this.#quoted.get(eventId);
    if (!asked) {
      asked = this.context.client.event(this.roomId, eventId).catch(() => undefined);
      this.#quoted.set(eventId, asked);
      if (this.#quoted.size > MOST_QUOTED) this.#quoted.delete(/** @type {string} */ (this.#quoted.keys().next().value));
    }
    return asked;
  }

  get canSpeak() {
    return this.room?.membership === "join" && !this.room.encrypted;
  }

  /** @param {TimelineItem} item */
  canEdit(item) {
    return this.canSpeak && item.sender === this.me && this.canAnswer(item) && ["m.text", "m.emote", "m.notice"].includes(item.content?.msgtype) && item.type === "m.room.message";
  }

  /** @param {TimelineItem} item */
  canAnswer(item) {
    return this.canSpeak && item.eventId !== undefined && !item.redacted;
  }

  /** @param {TimelineItem} item */
  canDelete(item) {
    return item.eventId !== undefined && !item.redacted && (item.sender === this.me || this.powerOf(this.me) >= (this.room?.redactLevel ?? 50));
  }

  /** Gives a reaction, or takes mine back. @param {TimelineItem} item @param {string} key */
  toggleReaction({ eventId, reactions }, key) {
    const { client } = this.context;
    const mine = reactions?.find((reaction) => reaction.key === key)?.mine;
    void orToast(async () => {
      if (!mine) client.react(this.roomId, /** @type {string} */ (eventId), key);
      else if (mine.actionId !== undefined && (mine.echo === "queued" || mine.echo === "failed")) client.cancel(mine.actionId);
      else if (mine.eventId !== undefined && !mine.removing) void client.redact(this.roomId, mine.eventId).catch(() => {});
    });
  }

  /** @param {TimelineItem} item */
  delete({ eventId }) {
    confirm({
      title: "Delete this message?", testid: "delete", submitLabel: "Delete", text: "It is taken away for everybody in the room, and cannot be brought back.",
      // How it goes is shown at the message, and a refusal is told by itself.
      act: async () => void this.context.client.redact(this.roomId, /** @type {string} */ (eventId)).catch(() => {}),
    });
  }

  /** @param {TimelineItem} item */
  async copyText(item) {
    if (await orToast(() => navigator.clipboard.writeText(bodyOf(item.content)))) toast("Copied.");
  }

  /** @param {TimelineItem} item */
  async copyLink({ eventId = "" }) {
    const link = addressOf({ id: this.roomId, eventId, via: [serverOf(this.me)] });
    if (await orToast(() => navigator.clipboard.writeText(link))) toast("Link copied.");
  }
}
