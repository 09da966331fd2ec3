// A picture by itself, as large as there is space for.

import { sizeText } from "../lib/attachments.js";
import { el, fill, icon } from "../lib/dom.js";
import { errorText } from "../lib/errors.js";
import { media } from "../lib/media.js";
import { fileNameNode } from "../lib/names.js";
import { orToast } from "../lib/toast.js";
import { openDialog } from "./dialog.js";

/** @param {import("../lib/attachments.js").Attachment} attachment @param {string} uri */
export function openPicture({ name, size, width, height }, uri) {
  const place = el("div.large-picture", { "data-state": "loading", testid: "large-picture" }, el("p.muted", { role: "status" }, "Loading…"));
  const facts = [width && height && `${width} × ${height}`, size && sizeText(size)].filter(Boolean).join(" · ");
  const save = el("button.quiet", { type: "button", testid: "large-download", onclick: () => orToast(async () => media()?.save(uri, name)) }, icon("download"), "Download");
  const dialog = openDialog({ title: fileNameNode(name), testid: "picture-dialog", wide: true }, place, el("footer.large-foot", {}, el("span.muted", {}, facts), save));
  dialog.classList.add("picture-dialog");
  media()?.show(uri, "image").then(async (url) => {
    const image = el("img", { src: url, alt: name });
    await image.decode();
    place.dataset.state = "shown";
    fill(place, image);
  }).catch((error) => {
    place.dataset.state = "failed";
    fill(place, el("p.problem", { role: "alert" }, icon("alert"), errorText(error)));
  });
}
