// Writes address.json: digests by `b3sum`, base32 by arithmetic on one large integer.
import { b3sum } from "./b3sum.mjs";
import { writeVectors } from "./write-vectors.mjs";

const ALPHABET = "abcdefghijklmnopqrstuvwxyz234567";
const contents = [
  "",
  "00",
  "616263",
  "ff".repeat(64),
  "00".repeat(1025),
  Buffer.from("dreamdb.lsh-cosine/4/3").toString("hex"),
  // The Genesis of spec/0001 §3.
  "a5646b696e646f647265616d64622e67656e65736973646e616d656474696e79656e6f6e636550000102030405060708090a0b0c0d0e0f666f726967696e1b17979cfe362a00006776657273696f6e01",
];
const cases = contents.map((bytes) => {
  const hash = b3sum(Buffer.from(bytes, "hex"));
  const multihash = `1e20${hash}`;
  const address = base32(multihash);
  const key = `objects/${address[4]}${address[5]}/${address}`;
  return { bytes, hash, multihash, address, key, cbor: `d9fff15822${multihash}` };
});

const { address, multihash } = cases[2];
const foreign = base32(`1220${"00".repeat(32)}`);
const refused = [
  ["", "no text"],
  [address.toUpperCase(), "capitals"],
  [address.slice(0, -1), "54 characters"],
  [`${address}a`, "56 characters"],
  [`${address}======`, "padding"],
  [`${address}\n`, "a line feed"],
  [address.slice(0, -1) + "j", "a spare bit set"],
  [address.slice(0, -1) + "7", "all spare bits set"],
  [address.slice(0, 20) + "1" + address.slice(21), "a character outside the alphabet"],
  [foreign, "a SHA-256 multihash"],
  ["a" + address.slice(1), "another multihash code"],
].map(([text, why]) => ({ text, why, code: "InvalidAddress" }));

const refusedCbor = [
  ["d9fff14100", "one byte", "InvalidAddress"],
  [`d9fff15821${multihash.slice(0, -2)}`, "33 bytes", "InvalidAddress"],
  [`d9fff158221220${"00".repeat(32)}`, "a SHA-256 multihash", "InvalidAddress"],
  [`5822${multihash}`, "no tag", "Corrupt"],
  [`d9fff45822${multihash}`, "another tag", "Corrupt"],
  [`d9fff1${"7837"}${Buffer.from(address).toString("hex")}`, "text", "Corrupt"],
  ["d9fff100", "a number", "Corrupt"],
].map(([hex, why, code]) => ({ hex, why, code }));

writeVectors("address.json", {
  about: "Objects and their addresses in every form; texts that are no address; CBOR items that are none.",
  cases,
  refused,
  refusedCbor,
});

/** RFC 4648 base32 of hexadecimal bytes, lower case, without padding. */
function base32(hex) {
  const bits = (hex.length / 2) * 8;
  const chars = Math.ceil(bits / 5);
  let number = BigInt(`0x${hex}`) << BigInt(chars * 5 - bits);
  let text = "";
  for (let i = 0; i < chars; i++) {
    text = ALPHABET[Number(number & 31n)] + text;
    number >>= 5n;
  }
  return text;
}
