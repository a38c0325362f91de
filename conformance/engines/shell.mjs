// What the library takes for granted in Node and browsers and the bare shell of an engine lacks: events, and text to UTF-8 and
// back. Imported before the library. UTF-8 itself is the engine's own, as it stands in URIs.

globalThis.TextEncoder ??= class {
  encode(text = "") {
    const uri = encodeURIComponent(text.toWellFormed());
    const bytes = uri.replace(/%(..)/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
    return Uint8Array.from(bytes, (char) => char.charCodeAt(0));
  }
  encodeInto(text, room) {
    const bytes = this.encode(text);
    room.set(bytes);
    return { read: text.length, written: bytes.length };
  }
};

globalThis.TextDecoder ??= class {
  /** Throws on malformed text and keeps a byte order mark, which is what the library asks for. */
  decode(bytes = []) {
    return decodeURIComponent(Array.from(bytes, (byte) => `%${byte.toString(16).padStart(2, "0")}`).join(""));
  }
};

// Spaces are EventTargets; none is opened here.
globalThis.EventTarget ??= class {};
