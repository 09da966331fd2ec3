// What a person types, as a message: the text as it is, and, where it has any form, the same as the HTML that Matrix
// allows. Every character of the text is escaped; the only markup is what is written here.

/** @typedef {{ userId: string, name: string }} Mention somebody whose `@name` stands in the text */

const INLINE = /`([^`\n]+)`|(https?:\/\/[^\s<>"“”]+)|\[([^\]\n]+)\]\((https?:\/\/[^\s()]+)\)|\*\*(?=\S)([^\n]*?\S)\*\*|~~(?=\S)([^\n]*?\S)~~|\|\|(?=\S)([^\n]*?\S)\|\||(?<![\w*])\*(?=[^\s*])([^*\n]*?[^\s*])\*(?![\w*])|(?<!\w)_(?=[^\s_])([^_\n]*?[^\s_])_(?!\w)/;
const MAX_DEPTH = 8;

/**
 * The content of a message.
 * @param {string} text
 * @param {{ mentions?: Mention[], room?: boolean }} [told] who may be mentioned: whoever's `@name` is in the text is
 * @returns {{ msgtype: string, body: string, [field: string]: unknown }}
 */
export function compose(text, { mentions = [], room = false } = {}) {
  const emote = text.startsWith("/me ");
  const body = emote ? text.slice(4) : text;
  const named = mentions.filter(({ name }) => body.includes(`@${name}`));
  const html = blocks(body, named);
  const ids = [...new Set(named.map(({ userId }) => userId))];
  return {
    msgtype: emote ? "m.emote" : "m.text",
    body,
    ...(html !== plain(body) && { format: "org.matrix.custom.html", formatted_body: html }),
    "m.mentions": { ...(ids.length > 0 && { user_ids: ids }), ...(room && /(?:^|\s)@room\b/.test(body) && { room: true }) },
  };
}

/** @param {string} text */
function plain(text) {
  return escape(text).replace(/\n/g, "<br>");
}

/** @param {string} text @param {Mention[]} mentions */
function blocks(text, mentions) {
  const inner = (/** @type {string} */ part) => inline(part, mentions, 0);
  /** @type {string[]} */
  const out = [];
  /** @type {string[]} */
  let lines = [];
  const flush = () => {
    if (lines.length > 0) out.push(lines.map(inner).join("<br>"));
    lines = [];
  };
  const all = text.split("\n");
  for (let at = 0; at < all.length; at++) {
    const fence = /^```\s*([\w+-]*)\s*$/.exec(all[at]);
    const end = fence ? all.indexOf("```", at + 1) : -1;
    if (fence && end > at) {
      flush();
      const language = fence[1] ? ` class="language-${fence[1]}"` : "";
      out.push(`<pre><code${language}>${escape(all.slice(at + 1, end).join("\n"))}\n</code></pre>`);
      at = end;
      continue;
    }
    const kind = KINDS.find(({ line }) => line.test(all[at]));
    if (!kind) {
      lines.push(all[at]);
      continue;
    }
    flush();
    const run = [];
    for (; at < all.length && kind.line.test(all[at]); at++) run.push(all[at].replace(kind.line, ""));
    out.push(kind.html(run.map(inner), all[at - run.length]));
    at -= 1;
  }
  flush();
  return out.join("");
}

/** Lines that make a block together. @type {{ line: RegExp, html: (lines: string[], first: string) => string }[]} */
const KINDS = [
  { line: /^> ?/, html: (lines) => `<blockquote>${lines.join("<br>")}</blockquote>` },
  { line: /^[-*] (?=\S)/, html: (lines) => `<ul>${lines.map((line) => `<li>${line}</li>`).join("")}</ul>` },
  { line: /^\d{1,9}[.)] (?=\S)/, html: (lines, first) => `<ol${startOf(first)}>${lines.map((line) => `<li>${line}</li>`).join("")}</ol>` },
];

/** @param {string} first a list's first line */
function startOf(first) {
  const number = parseInt(first, 10);
  return number === 1 ? "" : ` start="${number}"`;
}

/** @param {string} text @param {Mention[]} mentions @param {number} depth @returns {string} */
function inline(text, mentions, depth) {
  let out = "";
  let rest = text;
  for (;;) {
    const match = depth < MAX_DEPTH ? INLINE.exec(rest) : null;
    const before = match ? rest.slice(0, match.index) : rest;
    out += pills(before, mentions);
    if (!match) return out;
    const [whole, code, url, label, href, strong, del, spoiler, em, em2] = match;
    const within = (/** @type {string} */ part) => inline(part, mentions, depth + 1);
    if (code !== undefined) out += `<code>${escape(code)}</code>`;
    else if (url !== undefined) out += escape(url);
    else if (label !== undefined) out += `<a href="${escape(href)}">${escape(label)}</a>`;
    else if (strong !== undefined) out += `<strong>${within(strong)}</strong>`;
    else if (del !== undefined) out += `<del>${within(del)}</del>`;
    else if (spoiler !== undefined) out += `<span data-mx-spoiler>${within(spoiler)}</span>`;
    else out += `<em>${within(em ?? em2)}</em>`;
    rest = rest.slice(match.index + whole.length);
  }
}

/** @param {string} text @param {Mention[]} mentions */
function pills(text, mentions) {
  const next = mentions.map((one) => ({ ...one, at: text.indexOf(`@${one.name}`) })).filter(({ at }) => at >= 0);
  if (next.length === 0) return escape(text);
  // The first; of names that begin alike the longest.
  const { at, name, userId } = next.reduce((a, b) => (b.at < a.at || (b.at === a.at && b.name.length > a.name.length) ? b : a));
  const pill = `<a href="https://matrix.to/#/${encodeURIComponent(userId)}">${escape(name)}</a>`;
  /** @type {string} */
  const after = pills(text.slice(at + name.length + 1), mentions);
  return escape(text.slice(0, at)) + pill + after;
}

/** @param {string} text */
function escape(text) {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
