import load from "blake3-wasm/browser-async";
import wasm from "blake3-wasm/dist/wasm/web/blake3_js_bg.wasm";

// Buffer decodes ten times as fast where there is one.
const bytes =
  typeof Buffer === "function"
    ? Buffer.from(wasm, "latin1")
    : Uint8Array.from(wasm, (char) => char.charCodeAt(0));
const blake3 = await load(bytes);
export const hash = blake3.hash;
export const createHash = blake3.createHash;
