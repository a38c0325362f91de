import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { mediaTypeOf } from "../../src/space/media-type.ts";

const ascii = (text: string) => Uint8Array.from(text, (char) => char.charCodeAt(0));
const bytes = (...values: (number | string)[]) =>
  Uint8Array.from(values.flatMap((value) => (typeof value === "number" ? [value] : [...ascii(value)])));

const BMP = new Uint8Array(60);
BMP.set(ascii("BM"));
BMP[2] = 60;

const KNOWN: [string, Uint8Array, "image" | "video" | "audio", string][] = [
  ["JPEG", bytes(0xff, 0xd8, 0xff, 0xe0, "xxJFIF"), "image", "image/jpeg"],
  ["PNG", bytes(0x89, "PNG\r\n", 0x1a, "\n"), "image", "image/png"],
  ["GIF", ascii("GIF89a......"), "image", "image/gif"],
  ["WebP", bytes("RIFF", 1, 2, 3, 4, "WEBPVP8 "), "image", "image/webp"],
  ["AVIF", bytes(0, 0, 0, 28, "ftypavif"), "image", "image/avif"],
  ["BMP", BMP, "image", "image/bmp"],
  ["WAV", bytes("RIFF", 1, 2, 3, 4, "WAVEfmt "), "audio", "audio/wav"],
  ["FLAC", ascii("fLaC...."), "audio", "audio/flac"],
  ["MP3 with a tag", bytes("ID3", 4, 0), "audio", "audio/mpeg"],
  ["MP3 without", bytes(0xff, 0xfb, 0x90, 0x64), "audio", "audio/mpeg"],
  ["Ogg sound", ascii("OggS...."), "audio", "audio/ogg"],
  ["Ogg film", ascii("OggS...."), "video", "video/ogg"],
  ["MP4", bytes(0, 0, 0, 24, "ftypisom"), "video", "video/mp4"],
  ["MP4 sound", bytes(0, 0, 0, 24, "ftypisom"), "audio", "audio/mp4"],
  ["M4A", bytes(0, 0, 0, 24, "ftypM4A "), "video", "audio/mp4"],
  ["CMAF", bytes(0, 0, 0, 24, "ftypcmfc"), "video", "video/mp4"],
  ["QuickTime", bytes(0, 0, 0, 20, "ftypqt  "), "video", "video/quicktime"],
  ["WebM", bytes(0x1a, 0x45, 0xdf, 0xa3, 0x9f, 0x42, 0x82, 0x84, "webm"), "video", "video/webm"],
];

test.each(KNOWN)("%s is known by its first bytes", (_name, found, kind, type) => {
  expect(mediaTypeOf(found, kind)).toBe(type);
});

test.each([
  ["SVG", ascii("<svg xmlns='http://www.w3.org/2000/svg'>")],
  ["SVG after an XML declaration", ascii("<?xml version='1.0'?><svg>")],
  ["HTML", ascii("<!doctype html><script>alert(1)</script>")],
  ["HTML after a byte order mark", bytes(0xef, 0xbb, 0xbf, "<html>")],
  ["PDF", ascii("%PDF-1.7")],
  ["a script", ascii("alert(1)")],
  ["text that begins like a bitmap", ascii("BM<script>alert(1)</script>")],
  ["Matroska of another kind", bytes(0x1a, 0x45, 0xdf, 0xa3, 0x9f, 0x42, 0x82, 0x88, "matroska")],
  ["HEIC, which browsers don't show", bytes(0, 0, 0, 24, "ftypheic")],
  ["UTF-16 text", bytes(0xff, 0xfe, 0x3c, 0)],
  ["nothing", new Uint8Array()],
])("%s is not shown", (_name, found) => {
  for (const kind of ["image", "video", "audio"] as const) expect(mediaTypeOf(found, kind)).toBeUndefined();
});

test("only types of the list come out, whatever goes in, and never of text", () => {
  const allowed =
    /^(image\/(jpeg|png|gif|webp|avif|bmp)|(audio|video)\/(mp4|ogg|webm)|video\/quicktime|audio\/(wav|flac|mpeg))$/;
  const heads = fc.oneof(
    fc.uint8Array({ maxLength: 80 }),
    fc
      .tuple(fc.constantFrom(...KNOWN.map(([, known]) => known)), fc.nat(12), fc.nat(255))
      .map(([known, at, to]) => {
        const changed = known.slice();
        changed[at % changed.length] = to;
        return changed;
      }),
  );
  fc.assert(
    fc.property(
      heads,
      fc.constantFrom("image" as const, "video" as const, "audio" as const),
      (head, kind) => {
        const type = mediaTypeOf(head, kind);
        if (type !== undefined) expect(type).toMatch(allowed);
      },
    ),
  );
  fc.assert(
    fc.property(fc.string(), (text) => {
      expect(mediaTypeOf(ascii(`<${text}`), "image")).toBeUndefined();
    }),
  );
});

test("a view into a larger buffer is looked at where it begins", () => {
  const larger = bytes(0, 0, 0, 0x89, "PNG\r\n", 0x1a, "\n");
  expect(mediaTypeOf(larger.subarray(3), "image")).toBe("image/png");
  expect(mediaTypeOf(larger, "image")).toBeUndefined();
});
