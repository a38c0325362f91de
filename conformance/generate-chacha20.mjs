// Writes chacha20.json: the block vectors of RFC 8439 (§2.3.2 and appendix A.1), checked here against the
// implementation of OpenSSL that Node brings; and longer streams by that one.
import { createCipheriv } from "node:crypto";
import { writeVectors } from "./write-vectors.mjs";

const zeros = (bytes) => "00".repeat(bytes);
const COUNTING = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

const published = [
  [
    "RFC 8439 §2.3.2",
    COUNTING,
    "000000090000004a00000000",
    1,
    "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4ed2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e",
  ],
  [
    "RFC 8439 A.1 #1",
    zeros(32),
    zeros(12),
    0,
    "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586",
  ],
  [
    "RFC 8439 A.1 #2",
    zeros(32),
    zeros(12),
    1,
    "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f",
  ],
  [
    "RFC 8439 A.1 #3",
    `${zeros(31)}01`,
    zeros(12),
    1,
    "3aeb5224ecf849929b9d828db1ced4dd832025e8018b8160b82284f3c949aa5a8eca00bbb4a73bdad192b5c42f73f2fd4e273644c8b36125a64addeb006c13a0",
  ],
  [
    "RFC 8439 A.1 #4",
    `00ff${zeros(30)}`,
    zeros(12),
    2,
    "72d54dfbf12ec44b362692df94137f328fea8da73990265ec1bbbea1ae9af0ca13b25aa26cb4a648cb9b9d1be65b2c0924a66c54d545ec1b7374f4872e99f096",
  ],
  [
    "RFC 8439 A.1 #5",
    zeros(32),
    `${zeros(11)}02`,
    0,
    "c2c64d378cd536374ae204b9ef933fcd1a8b2288b3dfa49672ab765b54ee27c78a970e0e955c14f3a88e741b97c286f75f8fc299e8148362fa198a39531bed6d",
  ],
].map(([source, key, nonce, counter, keystream]) => {
  if (openssl(key, nonce, counter, 1) !== keystream) throw new Error(`${source} is copied wrong`);
  return { source, key, nonce, counter, keystream };
});

const longer = [
  [COUNTING, zeros(12), 0, 2],
  [COUNTING, `01000000${zeros(8)}`, 0, 3],
  [COUNTING, zeros(12), 0, 9],
  ["ff".repeat(32), "ff".repeat(12), 1000, 5],
  [COUNTING, zeros(12), 0xfffffffe, 1],
  [COUNTING, zeros(12), 0xffffffff, 1],
].map(([key, nonce, counter, blocks]) => {
  return { source: "OpenSSL", key, nonce, counter, keystream: openssl(key, nonce, counter, blocks) };
});

writeVectors("chacha20.json", {
  about:
    "ChaCha20 of RFC 8439: 32-byte key, 12-byte nonce, 32-bit counter of the first block; whole 64-byte blocks of keystream. Hexadecimal.",
  cases: [...published, ...longer],
});

/** OpenSSL's initial vector is the counter, little-endian, and then the nonce. */
function openssl(key, nonce, counter, blocks) {
  const iv = Buffer.alloc(16);
  iv.writeUInt32LE(counter);
  iv.write(nonce, 4, "hex");
  return createCipheriv("chacha20", Buffer.from(key, "hex"), iv)
    .update(Buffer.alloc(64 * blocks))
    .toString("hex");
}
