// Files of the homeserver as the page shows them. What is shown was fetched with the access token, lies in a blob, and is of a
// kind that cannot run; a bounded number of them is kept.

/** @typedef {import("/pkg/index.js").Client} Client */
/** @typedef {{ width: number, height: number, method: "scale" | "crop" }} Size */

/** Pictures that are kept, and their bytes, at most. */
const MOST = 300;
const MOST_BYTES = 96 << 20;

/** Kinds of files that are shown where they are; whatever else it is said to be is only saved. */
const SHOWN = {
  image: ["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/apng"],
  video: ["video/mp4", "video/webm", "video/ogg", "video/quicktime"],
  audio: ["audio/mp4", "audio/webm", "audio/aac", "audio/mpeg", "audio/ogg", "audio/wave", "audio/wav", "audio/x-wav", "audio/flac", "audio/x-flac"],
};

/** The code of what came and is not shown. */
export const NOT_SHOWN = "NOT_SHOWN";

/** @typedef {keyof typeof SHOWN} Shown */

/** As what a file of this type is shown, if it is. @param {unknown} type @returns {Shown | undefined} */
export function shownAs(type) {
  const plain = String(type ?? "").split(";")[0].trim().toLowerCase();
  return /** @type {Shown[]} */ (Object.keys(SHOWN)).find((kind) => SHOWN[kind].includes(plain));
}

/** The files of whoever is signed in. */
export class Media {
  /** Those used last stand last. @type {Map<string, { url: Promise<string>, bytes: number }>} */
  #kept = new Map();
  #bytes = 0;

  /** @param {Client} client */
  constructor(client) {
    this.client = client;
  }

  /** Where a file is to be shown from, as a `kind`, or its thumbnail. @param {string} uri @param {Shown} kind @param {Size} [size] */
  show(uri, kind, size) {
    const key = size ? `${uri} ${size.width}x${size.height} ${size.method}` : uri;
    const known = this.#kept.get(key);
    if (known) {
      this.#kept.delete(key);
      this.#kept.set(key, known);
      return known.url;
    }
    return this.#keep(key, (size ? this.client.thumbnail(uri, size) : this.client.download(uri)).then((blob) => checked(blob, kind)));
  }

  /** Keeps a file that is at hand and has just got its address. @param {string} uri @param {Blob} file */
  remember(uri, file) {
    void this.#keep(uri, shownAs(file.type) === "image" ? checked(file, "image") : Promise.resolve(file));
  }

  /** @param {string} key @param {Promise<Blob>} coming */
  #keep(key, coming) {
    const entry = { bytes: 0, url: coming.then((blob) => {
      entry.bytes = blob.size;
      this.#bytes += blob.size;
      this.#trim(key);
      return URL.createObjectURL(blob);
    }) };
    this.#kept.set(key, entry);
    // What did not come is asked for again.
    entry.url.catch(() => this.#kept.get(key) === entry && this.#kept.delete(key));
    return entry.url;
  }

  /** What is shown stays shown: a picture is not read again. @param {string} but */
  #trim(but) {
    for (const [key, { url, bytes }] of this.#kept) {
      if (this.#kept.size <= MOST && this.#bytes <= MOST_BYTES) return;
      if (key === but) continue;
      this.#kept.delete(key);
      this.#bytes -= bytes;
      void url.then(URL.revokeObjectURL, () => {});
    }
  }

  /** Has the browser save a file under its name. @param {string} uri @param {string} name */
  async save(uri, name) {
    const file = await this.client.download(uri);
    // As bytes: whatever it is, it is not opened in this page's name.
    const url = URL.createObjectURL(new Blob([file], { type: "application/octet-stream" }));
    const link = Object.assign(document.createElement("a"), { href: url, download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }

  dispose() {
    for (const { url } of this.#kept.values()) void url.then(URL.revokeObjectURL, () => {});
    this.#kept.clear();
    this.#bytes = 0;
  }
}

/** The same, if it is of this kind, and a picture that is whole. @param {Blob} blob @param {Shown} kind */
async function checked(blob, kind) {
  if (shownAs(blob.type) !== kind) throw notShown("This file is not of a kind that is shown here.");
  if (kind !== "image") return blob;
  // An image element shows what there is of a picture, which may be nothing, and calls that loaded.
  const decoded = await createImageBitmap(blob).catch(() => {
    throw notShown("This picture is damaged and cannot be shown.");
  });
  decoded.close();
  return blob;
}

/** A refusal that stands however often it is tried. @param {string} words */
function notShown(words) {
  return Object.assign(new Error(words), { code: NOT_SHOWN });
}

/** @type {Media | undefined} */
let current;

/** The files of whoever is signed in, for what shows pictures without being told of them. */
export const media = () => current;

/** @param {Media | undefined} next */
export function setMedia(next) {
  current?.dispose();
  current = next;
}
