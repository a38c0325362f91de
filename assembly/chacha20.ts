// ChaCha20 as a random stream (RFC 8439 section 2.3 and 2.4): the source of the hyperplanes.

/**
 * `blocks` × 64 bytes of keystream to `out`, from block `counter` on, which wraps at 2^32.
 * key: 32 bytes, nonce: 12 bytes; no alignment needed.
 */
export function keystream(key: usize, nonce: usize, counter: u32, out: usize, blocks: u32): void {
  for (; blocks != 0; blocks--) {
    block(key, nonce, counter++, out);
    out += 64;
  }
}

function block(key: usize, nonce: usize, counter: u32, out: usize): void {
  let a0: u32 = 0x61707865, a1: u32 = 0x3320646e, a2: u32 = 0x79622d32, a3: u32 = 0x6b206574;
  let b0 = load<u32>(key), b1 = load<u32>(key, 4), b2 = load<u32>(key, 8), b3 = load<u32>(key, 12);
  let c0 = load<u32>(key, 16), c1 = load<u32>(key, 20), c2 = load<u32>(key, 24), c3 = load<u32>(key, 28);
  let d0 = counter, d1 = load<u32>(nonce), d2 = load<u32>(nonce, 4), d3 = load<u32>(nonce, 8);
  for (let round = 0; round < 10; round++) {
    // columns
    a0 += b0; d0 = rotl(d0 ^ a0, 16); c0 += d0; b0 = rotl(b0 ^ c0, 12); a0 += b0; d0 = rotl(d0 ^ a0, 8); c0 += d0; b0 = rotl(b0 ^ c0, 7);
    a1 += b1; d1 = rotl(d1 ^ a1, 16); c1 += d1; b1 = rotl(b1 ^ c1, 12); a1 += b1; d1 = rotl(d1 ^ a1, 8); c1 += d1; b1 = rotl(b1 ^ c1, 7);
    a2 += b2; d2 = rotl(d2 ^ a2, 16); c2 += d2; b2 = rotl(b2 ^ c2, 12); a2 += b2; d2 = rotl(d2 ^ a2, 8); c2 += d2; b2 = rotl(b2 ^ c2, 7);
    a3 += b3; d3 = rotl(d3 ^ a3, 16); c3 += d3; b3 = rotl(b3 ^ c3, 12); a3 += b3; d3 = rotl(d3 ^ a3, 8); c3 += d3; b3 = rotl(b3 ^ c3, 7);
    // diagonals
    a0 += b1; d3 = rotl(d3 ^ a0, 16); c2 += d3; b1 = rotl(b1 ^ c2, 12); a0 += b1; d3 = rotl(d3 ^ a0, 8); c2 += d3; b1 = rotl(b1 ^ c2, 7);
    a1 += b2; d0 = rotl(d0 ^ a1, 16); c3 += d0; b2 = rotl(b2 ^ c3, 12); a1 += b2; d0 = rotl(d0 ^ a1, 8); c3 += d0; b2 = rotl(b2 ^ c3, 7);
    a2 += b3; d1 = rotl(d1 ^ a2, 16); c0 += d1; b3 = rotl(b3 ^ c0, 12); a2 += b3; d1 = rotl(d1 ^ a2, 8); c0 += d1; b3 = rotl(b3 ^ c0, 7);
    a3 += b0; d2 = rotl(d2 ^ a3, 16); c1 += d2; b0 = rotl(b0 ^ c1, 12); a3 += b0; d2 = rotl(d2 ^ a3, 8); c1 += d2; b0 = rotl(b0 ^ c1, 7);
  }
  store<u32>(out, a0 + 0x61707865);
  store<u32>(out, a1 + 0x3320646e, 4);
  store<u32>(out, a2 + 0x79622d32, 8);
  store<u32>(out, a3 + 0x6b206574, 12);
  store<u32>(out, b0 + load<u32>(key), 16);
  store<u32>(out, b1 + load<u32>(key, 4), 20);
  store<u32>(out, b2 + load<u32>(key, 8), 24);
  store<u32>(out, b3 + load<u32>(key, 12), 28);
  store<u32>(out, c0 + load<u32>(key, 16), 32);
  store<u32>(out, c1 + load<u32>(key, 20), 36);
  store<u32>(out, c2 + load<u32>(key, 24), 40);
  store<u32>(out, c3 + load<u32>(key, 28), 44);
  store<u32>(out, d0 + counter, 48);
  store<u32>(out, d1 + load<u32>(nonce), 52);
  store<u32>(out, d2 + load<u32>(nonce, 4), 56);
  store<u32>(out, d3 + load<u32>(nonce, 8), 60);
}
