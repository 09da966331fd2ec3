// A picture of oneself or of a room, to be chosen in a form: cut to a square, and made small, before it is sent. So nothing goes
// with it that the camera noted, such as the place.

import { avatar, pictureAvatar } from "../lib/avatar.js";
import { el, icon } from "../lib/dom.js";

/** As large as any is shown, in pixels. */
const SIDE = 512;
const QUALITY = 0.9;

/**
 * @param {{ id: string, name: string, shape: "round" | "square", uri: string | undefined, label: string, testid: string }} options
 */
export function pictureField({ id, name, shape, uri, label, testid }) {
  /** @type {Blob | null | undefined} what is chosen; `null`: none; `undefined`: as it is */
  let chosen;
  const shown = avatar(id, name, shape);
  pictureAvatar(shown, uri);
  const problem = el("p.problem", { role: "alert", hidden: true });
  const input = el("input", { type: "file", accept: "image/png,image/jpeg,image/gif,image/webp,image/avif", hidden: true, testid: `${testid}-input` });
  const remove = el("button.quiet.small", { type: "button", testid: `${testid}-remove`, hidden: !uri, onclick: () => choose(null) }, "Remove");
  const node = el(
    "div.field.picture-field", { role: "group", "aria-label": label },
    shown,
    el("button.quiet.small", { type: "button", testid, onclick: () => input.click() }, icon("image"), label),
    remove, input, problem,
  );

  /** @param {Blob | null} picture */
  const choose = (picture) => {
    chosen = picture;
    problem.hidden = true;
    remove.hidden = picture === null;
    shown.dataset.picture = "chosen";
    shown.querySelector("img")?.remove();
    if (picture === null) return;
    const url = URL.createObjectURL(picture);
    shown.append(el("img", { src: url, alt: "", onload: () => URL.revokeObjectURL(url) }));
  };
  input.addEventListener("change", async () => {
    const file = input.files?.[0];
    input.value = "";
    if (!file) return;
    try {
      choose(await squareOf(file));
    } catch {
      problem.hidden = false;
      problem.replaceChildren(icon("alert"), "This file is not a picture that can be shown.");
    }
  });

  return {
    node,
    /** Brings what was chosen to the server; `undefined`: nothing was, `null`: none. @param {import("/pkg/index.js").Client} client */
    async upload(client) {
      if (!chosen) return chosen;
      return client.upload(chosen, { name: `picture.${chosen.type === "image/png" ? "png" : "jpg"}` });
    },
  };
}

/** The middle of a picture. @param {File} file @returns {Promise<Blob>} */
async function squareOf(file) {
  const picture = await createImageBitmap(file);
  const side = Math.min(picture.width, picture.height);
  const canvas = Object.assign(document.createElement("canvas"), { width: Math.min(SIDE, side), height: Math.min(SIDE, side) });
  const paper = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  paper.drawImage(picture, (picture.width - side) / 2, (picture.height - side) / 2, side, side, 0, 0, canvas.width, canvas.height);
  picture.close();
  // A photograph has nothing to be seen through.
  const type = file.type === "image/jpeg" ? "image/jpeg" : "image/png";
  return new Promise((resolve, reject) => canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("no picture"))), type, QUALITY));
}
