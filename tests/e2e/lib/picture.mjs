// Pictures to send: PNGs of four colours, made here, and what a PNG or JPEG says of its size.
import { crc32, deflateSync } from "node:zlib";

/** A PNG: red, blue, and below them yellow, green. */
export function picture(width, height) {
  const row = (y) => Buffer.from([0, ...Array.from({ length: width }, (_, x) => [x * 2 < width ? 220 : 40, y * 2 < height ? 60 : 200, (x * 255) / width, 255]).flat()]);
  const chunk = (kind, data) => {
    const body = Buffer.concat([Buffer.from(kind), data]);
    const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    sum.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, sum]);
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 6, 0, 0, 0], 8);
  const rows = Buffer.concat(Array.from({ length: height }, (_, y) => row(y)));
  return Buffer.concat([Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), chunk("IHDR", head), chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))]);
}

/** Width and height of a PNG. */
export function sizeOf(png) {
  const bytes = Buffer.from(png);
  return [bytes.readUInt32BE(16), bytes.readUInt32BE(20)];
}
