// About a room: its name and topic, to be changed by those who may, and its addresses.

import { el } from "../lib/dom.js";
import { field, openDialog, openForm } from "./dialog.js";
import { pictureField } from "./picture-field.js";

const EDITOR_LEVEL = 50;

/** @param {import("./shell.js").Context} context @param {import("/pkg/index.js").Room} room */
export function openRoomSettings(context, room) {
  const { people } = context;
  const level = people.member(room.roomId, people.myId)?.powerLevel ?? 0;
  if (level < EDITOR_LEVEL) {
    openDialog({ title: room.name, testid: "room-settings-dialog" }, el("div.dialog-body", {}, el("p", {}, room.topic || "No topic."), facts(room)));
    return;
  }
  const picture = pictureField({ id: room.roomId, name: room.name, shape: "square", uri: room.avatarUrl, label: "Choose a picture", testid: "room-picture" });
  openForm({
    title: "About this room",
    testid: "room-settings",
    submitLabel: "Save",
    fields: [
      picture.node,
      field("Name", { name: "name", testid: "room-settings-name", value: room.name, maxlength: "255" }),
      field("Topic", { name: "topic", testid: "room-settings-topic", value: room.topic ?? "" }),
      facts(room),
    ],
    submit: (values) => save(context, room, String(values.get("name")).trim(), String(values.get("topic")).trim(), picture),
  });
}

/** @param {import("./shell.js").Context} context @param {import("/pkg/index.js").Room} room @param {string} name @param {string} topic @param {ReturnType<typeof pictureField>} picture */
async function save({ client }, room, name, topic, picture) {
  /** @param {string} type @param {object} content */
  const set = (type, content) =>
    client.request("PUT", `/_matrix/client/v3/rooms/${encodeURIComponent(room.roomId)}/state/${type}/`, content);
  if (name !== room.name) await set("m.room.name", { name });
  if (topic !== (room.topic ?? "")) await set("m.room.topic", { topic });
  const uri = await picture.upload(client);
  if (uri !== undefined) await set("m.room.avatar", uri === null ? {} : { url: uri });
}

/** @param {import("/pkg/index.js").Room} room */
function facts(room) {
  return el(
    "dl.facts",
    {},
    el("dt", {}, "Address"),
    el("dd", {}, room.alias ?? el("span.muted", {}, "none")),
    el("dt", {}, "Room ID"),
    el("dd", {}, el("code", {}, room.roomId)),
  );
}
