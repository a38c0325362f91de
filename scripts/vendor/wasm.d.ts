/** A WASM module, a character for each byte. */
declare const text: string;
export default text;
