// Files in messages: what is said of one that is sent, and what is read of one that came.

import { shownAs } from "./media.js";
import { fileName } from "./names.js";

/** @typedef {{ name: string, uri: string | undefined, type: string | undefined, size: number | undefined, width: number | undefined, height: number | undefined, kind: import("./media.js").Shown | "file", hasCaption: boolean }} Attachment */

const KINDS = /** @type {const} */ ({ "m.image": "image", "m.video": "video", "m.audio": "audio", "m.file": "file" });
/** How long is waited until a browser has said how large a picture is. */
const MEASURED_MS = 10_000;
const UNITS = ["B", "KB", "MB", "GB"];

/** A size as people say it. @param {number} bytes */
export function sizeText(bytes) {
  let [value, unit] = [bytes, 0];
  while (value >= 999.5 && unit < UNITS.length - 1) [value, unit] = [value / 1024, unit + 1];
  return `${value.toLocaleString(undefined, { maximumFractionDigits: value < 10 && unit > 0 ? 1 : 0 })} ${UNITS[unit]}`;
}

/** The file in a message, if there is one. @param {any} content @returns {Attachment | undefined} */
export function attachmentOf(content) {
  const kind = Object.hasOwn(KINDS, content?.msgtype) ? KINDS[/** @type {keyof typeof KINDS} */ (content.msgtype)] : undefined;
  if (kind === undefined) return undefined;
  const { body, filename, url, info } = content;
  const number = (/** @type {unknown} */ value) => (typeof value === "number" && value > 0 && value < 1e12 ? value : undefined);
  const text = (/** @type {unknown} */ value) => (typeof value === "string" && value !== "" ? value : undefined);
  const type = text(info?.mimetype);
  return {
    name: fileName(text(filename) ?? text(body) ?? ""),
    uri: /^mxc:\/\/[^/]+\/[\w-]+$/.test(url) ? url : undefined,
    type,
    size: number(info?.size),
    width: number(info?.w),
    height: number(info?.h),
    // What is said to be a picture and is of a kind that could run is a file.
    kind: kind === "file" || (type !== undefined && shownAs(type) !== kind) ? "file" : kind,
    hasCaption: text(filename) !== undefined && text(body) !== undefined && filename !== body,
  };
}

/** What is said of a file: all but its address. @param {File} file @returns {Promise<{ msgtype: string, filename: string, info: Record<string, unknown> }>} */
export async function describeFile(file) {
  const kind = shownAs(file.type) ?? "file";
  const info = { mimetype: file.type || "application/octet-stream", size: file.size };
  const measured = kind === "image" || kind === "video" ? await measure(file, kind) : undefined;
  return { msgtype: `m.${kind}`, filename: fileName(file.name), info: { ...info, ...measured } };
}

/** How large a picture is, as it is seen. @param {Blob} file @param {"image" | "video"} kind @returns {Promise<{ w: number, h: number } | undefined>} */
function measure(file, kind) {
  const url = URL.createObjectURL(file);
  return new Promise((/** @type {(size?: { w: number, h: number }) => void} */ resolve) => {
    const end = setTimeout(resolve, MEASURED_MS);
    const done = (/** @type {number} */ w, /** @type {number} */ h) => {
      clearTimeout(end);
      resolve(w > 0 && h > 0 ? { w, h } : undefined);
    };
    const fail = () => done(0, 0);
    if (kind === "image") {
      const image = new Image();
      Object.assign(image, { onload: () => done(image.naturalWidth, image.naturalHeight), onerror: fail, src: url });
    } else {
      const video = document.createElement("video");
      Object.assign(video, { preload: "metadata", onloadedmetadata: () => done(video.videoWidth, video.videoHeight), onerror: fail, src: url });
    }
  }).finally(() => URL.revokeObjectURL(url));
}
