// What a hostile writer may put into a dataset that anybody opens: read by the page and by Node.

/** Names that a field may have, and that an object has already. */
export const NAMES = [
  "constructor",
  "toString",
  "then",
  "hasOwnProperty",
  "valueOf",
  "onerror",
  "length",
  "url",
];

/** Text that is markup, a script, a name of one, or confuses who reads it. `foreign` is an origin that nobody may ask for anything. */
export function textsOf(foreign) {
  return [
    `<img src=x onerror="pwned=true">`,
    `<img src="${foreign}/img">`,
    `<script>pwned=true</script>`,
    `<script src="${foreign}/script.js"></script>`,
    `"><svg/onload=pwned=true>`,
    `' onfocus='pwned=true' autofocus='`,
    `<iframe srcdoc="<script>parent.pwned=true</script>"></iframe>`,
    `<link rel=stylesheet href="${foreign}/style.css">`,
    `<meta http-equiv=refresh content="0;url=${foreign}/refresh">`,
    `<base href="${foreign}/">`,
    `<form action="${foreign}/form"><input name=x autofocus onfocus=pwned=true></form>`,
    `<!--`,
    `</textarea></title></style></script><script>pwned=true</script>`,
    `javascript:pwned=true`,
    ` \u0001JaVa\tScRiPt:alert(1)//`,
    `data:text/html,<script>parent.pwned=true</script>`,
    `vbscript:msgbox(1)`,
    `${foreign}/link`,
    `//${foreign.split("//")[1]}/link`,
    "{{constructor.constructor('pwned=true')()}}",
    ["$", "{pwned=true}"].join(""),
    "__proto__",
    "constructor",
    "toString",
    '=HYPERLINK("http://example.org")',
    "../../refs/main",
    "%2e%2e%2f%00",
    "\u202egnp.exe\u202c",
    "\u2066\u2069\u200f\u200e\u061c",
    "a\u0000b",
    "\u0000",
    "\ufeff\u2028\u2029\u0085",
    "\ufffe\uffff\ufdd0",
    "\ud83d\udc69".repeat(50),
    "e" + "\u0301".repeat(2000),
    "ﷺ".repeat(500),
    "long ".repeat(20_000),
    "\u001b[31m\u0007\r\n",
    "",
  ];
}

const HTML = `<!doctype html><html><body><script>parent.pwned=true;alert(1)</script>`;

/**
 * Bytes under a field of media: [what, kind, bytes, the type that they may be shown as, or undefined]. Those that may be shown
 * begin as such a format does, and go on as something that runs where a browser took them for it.
 */
export function mediaOf(foreign, png) {
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" onload="parent.pwned=true"><image href="${foreign}/svg"/><script>parent.pwned=true;alert(1)</script></svg>`;
  const utf16 = Uint8Array.from([0xff, 0xfe, ...[...HTML].flatMap((each) => [each.charCodeAt(0), 0])]);
  return [
    ["an SVG", "image", svg, undefined],
    ["an SVG after a byte order mark", "image", `\ufeff${svg}`, undefined],
    ["an SVG after much space", "image", `${" \n".repeat(500)}${svg}`, undefined],
    [
      "an SVG after a prolog",
      "image",
      `<?xml version="1.0"?><!DOCTYPE svg SYSTEM "${foreign}/dtd">${svg}`,
      undefined,
    ],
    [
      "a style sheet's XML",
      "image",
      `<?xml version="1.0"?><?xml-stylesheet href="${foreign}/xsl"?><x/>`,
      undefined,
    ],
    ["an SVG, compressed", "image", [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3], undefined],
    ["HTML", "image", HTML, undefined],
    ["HTML after a comment", "image", `<!-- ${"x".repeat(600)} -->${HTML}`, undefined],
    ["HTML in UTF-16", "image", utf16, undefined],
    ["HTML in UTF-7", "image", `+ADw-script+AD4-parent.pwned=true+ADw-/script+AD4-`, undefined],
    [
      "XHTML",
      "image",
      `<html xmlns="http://www.w3.org/1999/xhtml"><script>parent.pwned=true</script></html>`,
      undefined,
    ],
    ["a web archive", "image", `MIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n${HTML}`, undefined],
    ["a PDF", "image", `%PDF-1.7\n1 0 obj<</OpenAction<</S/JavaScript/JS(app.alert(1))>>>>endobj`, undefined],
    ["a script", "image", `import("${foreign}/module.js"); parent.pwned = true`, undefined],
    ["WebAssembly", "image", [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0], undefined],
    ["text that begins as a bitmap", "image", `BM<script>parent.pwned=true</script>${HTML}`, undefined],
    ["an icon", "image", [0, 0, 1, 0, 1, 0, 16, 16], undefined],
    ["no bytes", "image", [], undefined],
    ["half a signature", "image", [0x89, 0x50, 0x4e], undefined],
    ["RIFF of nothing", "image", `RIFF....${HTML}`, undefined],
    ["Matroska that is no WebM", "video", [0x1a, 0x45, 0xdf, 0xa3, ...new Array(70).fill(0x41)], undefined],
    ["a brand of no film", "video", `\u0000\u0000\u0000\u0018ftypevil${HTML}`, undefined],
    ["HTML under sound", "audio", HTML, undefined],
    ["an SVG under film", "video", svg, undefined],
    ["a picture", "image", png, "image/png"],
    ["a picture with HTML behind it", "image", [...png, ...bytesOf(HTML)], "image/png"],
    [
      "a GIF that is a script",
      "image",
      `GIF89a/*\u0001\u0001*/=1;parent.pwned=true;alert(1)//${HTML}`,
      "image/gif",
    ],
    ["a JPEG that is HTML", "image", [0xff, 0xd8, 0xff, 0xe0, ...bytesOf(HTML)], "image/jpeg"],
    ["a WebP that is HTML", "image", `RIFF\u0000\u0000\u0000\u0000WEBPVP8 ${HTML}`, "image/webp"],
    ["a film that is HTML", "video", `\u0000\u0000\u0000\u0018ftypmp42${HTML}`, "video/mp4"],
    ["a film under a picture", "image", `\u0000\u0000\u0000\u0018ftypisom${HTML}`, "video/mp4"],
    ["sound under a picture", "image", `ID3\u0004${HTML}`, "audio/mpeg"],
    ["a picture under sound", "audio", png, "image/png"],
    ["sound that is HTML", "audio", `OggS${HTML}`, "audio/ogg"],
  ].map(([what, kind, bytes, type]) => [
    what,
    kind,
    typeof bytes === "string" ? bytesOf(bytes) : Uint8Array.from(bytes),
    type,
  ]);
}

/** Bytes of text: where it has characters of Latin-1 alone, one byte for each, as signatures want it; else UTF-8. */
function bytesOf(text) {
  if (/^[\0-\x7f]*$/.test(text)) return Uint8Array.from(text, (each) => each.charCodeAt(0));
  return new TextEncoder().encode(text);
}
