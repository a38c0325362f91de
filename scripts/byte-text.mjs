// Bytes as a JavaScript string literal with a character, U+0000 to U+00FF, for each. Compressed, as servers send scripts, it is a
// fourth smaller than base64, whose characters hide where bytes begin.

/** Source text of the literal. */
export function byteText(bytes) {
  const ESCAPES = { 10: "\\n", 13: "\\r", 34: '\\"', 92: "\\\\" };
  let text = "";
  for (const [i, byte] of bytes.entries()) {
    const isDigitNext = bytes[i + 1] >= 0x30 && bytes[i + 1] <= 0x39;
    if (byte === 0) text += isDigitNext ? "\\x00" : "\\0";
    else text += ESCAPES[byte] ?? String.fromCharCode(byte);
  }
  return `"${text}"`;
}
