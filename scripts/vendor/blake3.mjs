import load from "blake3-wasm/browser-async";
import wasm from "blake3-wasm/dist/wasm/web/blake3_js_bg.wasm";

const blake3 = await load(wasm);
export const hash = blake3.hash;
export const createHash = blake3.createHash;
