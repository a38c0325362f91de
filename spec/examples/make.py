#!/usr/bin/env python3
"""Computes every worked example of the specification, from the text of the specification alone.

    make.py            print all examples
    make.py NAME...    print some
    make.py --write    paste them into ../*.md and write tiny.json
    make.py --check    verify that ../*.md and tiny.json hold exactly what is computed here

Needs python3-cbor2 and b3sum (apt-get install -y python3-cbor2 b3sum). Nothing of the library is used, so that an
error in the library cannot hide in the examples.
"""
import base64
import json
import math
import re
import struct
import subprocess
import sys
from pathlib import Path

import cbor2

SPEC = Path(__file__).resolve().parent.parent
TINY = SPEC / "examples" / "tiny.json"

# ---------------------------------------------------------------- hashes and addresses (0002)


def blake3(data):
    out = subprocess.run(["b3sum", "--no-names"], input=data, capture_output=True, check=True).stdout
    return bytes.fromhex(out.decode().strip())


def multihash(data):
    return b"\x1e\x20" + blake3(data)


def text_address(mh):
    return base64.b32encode(mh).decode().rstrip("=").lower()


def object_key(data):
    text = text_address(multihash(data))
    return f"objects/{text[4:6]}/{text}"


# ---------------------------------------------------------------- deterministic CBOR (0002)


class Address:
    """An address, tag 65521 over the 34-byte multihash."""

    def __init__(self, data, name):
        self.multihash, self.name = multihash(data), name


class Anchor:
    """A time anchor, tag 65524 over an unsigned integer."""

    def __init__(self, ticks):
        self.ticks = ticks


def head(major, n):
    if n < 24:
        return bytes([major << 5 | n])
    for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if n < 1 << 8 * size:
            return bytes([major << 5 | info]) + n.to_bytes(size, "big")
    raise ValueError(n)


def shorten(text):
    return text if len(text) <= 46 else text[:43] + "..."


def cbor_lines(value, depth=0, label=""):
    """The encoding, as (depth, bytes, comment) lines; leaves are encoded by cbor2."""
    note = f"{label}: " if label else ""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda k: cbor2.dumps(k, canonical=True))
        lines = [(depth, head(5, len(value)), f"{note}map of {len(value)}")]
        for key in keys:
            if isinstance(key, str) and not isinstance(value[key], (dict, list, tuple, Address, Anchor)):
                lines.append((depth + 1, cbor2.dumps(key) , f'"{key}"'))
                lines += cbor_lines(value[key], depth + 1)
            else:
                lines.append((depth + 1, cbor2.dumps(key), json.dumps(key)))
                lines += cbor_lines(value[key], depth + 1)
        return lines
    if isinstance(value, (list, tuple)):
        lines = [(depth, head(4, len(value)), f"{note}array of {len(value)}")]
        for item in value:
            lines += cbor_lines(item, depth + 1)
        return lines
    if isinstance(value, Address):
        return [(depth, head(6, 65521), f"{note}tag 65521: address of {value.name}"), (depth + 1, cbor2.dumps(value.multihash), "34 bytes")]
    if isinstance(value, Anchor):
        return [(depth, head(6, 65524), f"{note}tag 65524: time anchor"), (depth + 1, cbor2.dumps(value.ticks), str(value.ticks))]
    encoded = cbor2.dumps(value, canonical=True)
    shown = f"{len(value)} bytes" if isinstance(value, bytes) else shorten(json.dumps(value))
    return [(depth, encoded, note + shown)]


def plain(value):
    """The value as cbor2 should give it back."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, Address):
        return cbor2.CBORTag(65521, value.multihash)
    if isinstance(value, Anchor):
        return cbor2.CBORTag(65524, value.ticks)
    return value


def cbor(value):
    data = b"".join(line[1] for line in cbor_lines(value))
    assert cbor2.loads(data) == plain(value)
    return data


def cbor_dump(value, data=None):
    """An annotated listing: one item a line, long strings cut in rows of 16 bytes."""
    out = []
    for depth, data, comment in cbor_lines(value):
        for i in range(0, len(data), 18):
            out.append(("  " * depth + data[i : i + 18].hex(), comment if i == 0 else ""))
    return "\n".join(f"{left:<44}{('  # ' + right) if right else ''}".rstrip() for left, right in out)


def summary(data):
    return f"{len(data)} bytes, BLAKE3 {blake3(data).hex()}\naddress {text_address(multihash(data))}"


# ---------------------------------------------------------------- byte listings


class Bytes:
    """Bytes under construction, each piece with its note."""

    def __init__(self):
        self.pieces, self.length = [], 0

    def add(self, data, note):
        if len(data):
            self.pieces.append((self.length, bytes(data), note))
            self.length += len(data)

    def pad(self, multiple):
        self.add(bytes(-self.length % multiple), "zero padding")

    @property
    def data(self):
        return b"".join(piece[1] for piece in self.pieces)

    def dump(self):
        lines = []
        for at, data, note in self.pieces:
            if not any(data) and len(data) > 8:
                lines.append(f"{at:5}  {'00 x ' + str(len(data)):<50}{note}")
                continue
            for i in range(0, len(data), 16):
                lines.append(f"{at + i:5}  {data[i:i + 16].hex(' '):<50}{note if i == 0 else ''}".rstrip())
        return "\n".join(lines)


def u16(n):
    return struct.pack("<H", n)


def u32(n):
    return struct.pack("<I", n)


def u64(n):
    return struct.pack("<Q", n)


def round_up(n, multiple):
    return n + -n % multiple


# ---------------------------------------------------------------- column container (0007)

BLOCK = 65536
FIXED = {1: ("<B", 1), 2: ("<q", 8), 3: ("<d", 8), 5: ("<I", 4), 6: ("<q", 8), 9: ("<Q", 8)}
TYPE_NAMES = {1: "bool", 2: "i64", 3: "f64", 4: "utf8", 5: "categorical", 6: "timestamp", 7: "f32 vector", 8: "bytes", 9: "u64 offset"}
KIND_NAMES = {1: "ScalarBucket", 2: "VectorStorage", 3: "Fragment", 4: "Anchors"}


def raw(type_, value, width):
    if value is None:
        return bytes(width)
    if type_ == 7:
        return struct.pack(f"<{width // 4}f", *value)
    if type_ == 4:
        return value.encode()
    if type_ == 8:
        return value
    return struct.pack(FIXED[type_][0], value)


def split_rows(type_, values, width):
    """First rows of the blocks."""
    if width:
        return list(range(0, len(values), max(1, BLOCK // width)))
    firsts, held = [0], 0
    for row, value in enumerate(values):
        size = len(raw(type_, value, 0))
        if row > firsts[-1] and held + size > BLOCK:
            firsts.append(row)
            held = 0
        held += size
    return firsts


def block_pieces(type_, values, width, bitmaps):
    pieces = []
    if bitmaps:
        bits = sum(1 << i for i, v in enumerate(values) if v is not None)
        size = (len(values) + 7) // 8
        pieces.append((bits.to_bytes(size, "little").ljust(round_up(size, 8), b"\0"), "presence bitmap"))
    parts = [raw(type_, v, width) for v in values]
    if width:
        pieces += [(p, f"row {i}: {shown(type_, values[i])}") for i, p in enumerate(parts)]
        return pieces
    ends = [0]
    for part in parts:
        ends.append(ends[-1] + len(part))
    pieces.append((struct.pack(f"<{len(ends)}I", *ends), f"{len(ends)} offsets: {ends}"))
    return pieces + [(p, f"row {i}: {shown(type_, values[i])}") for i, p in enumerate(parts)]


def shown(type_, value):
    if value is None:
        return "absent"
    if type_ == 8:
        return f"{len(value)} bytes"
    return json.dumps(value if type_ != 7 else list(value), ensure_ascii=False)


def column(kind, type_, values, dim=0):
    """A column container; None is an absent value. Returns a Bytes and the length of its head."""
    dictionary = []
    if type_ == 5:
        dictionary = sorted({v for v in values if v is not None}, key=lambda s: s.encode())
        words, values = values, [None if v is None else dictionary.index(v) for v in values]
    width = 4 * dim if type_ == 7 else FIXED[type_][1] if type_ in FIXED else 0
    bitmaps = any(v is None for v in values)
    firsts = split_rows(type_, values, width)
    blocks = [block_pieces(type_, values[a:b], width, bitmaps) for a, b in zip(firsts, firsts[1:] + [len(values)])]
    entries = b"".join(u32(len(w.encode())) + w.encode() for w in dictionary)
    head_bytes = round_up(48 + 48 * len(blocks) + len(entries), 64)
    offsets, at = [], head_bytes
    for block in blocks:
        offsets.append(at)
        end = at + sum(len(p) for p, _ in block)
        at = round_up(end, 64)
    out = Bytes()
    out.add(b"DDBC", 'magic "DDBC"')
    out.add(u16(1), "version 1")
    out.add(bytes([kind]), f"kind {kind}: {KIND_NAMES[kind]}")
    out.add(bytes([type_]), f"type {type_}: {TYPE_NAMES[type_]}")
    out.add(u32(len(values)), f"rows {len(values)}")
    out.add(u32(width), f"width {width}")
    out.add(u32(len(blocks)), f"blocks {len(blocks)}")
    out.add(u32(len(entries)), f"dictionaryBytes {len(entries)}")
    out.add(u32(len(dictionary)), f"dictionaryCount {len(dictionary)}")
    out.add(u32(int(bitmaps)), f"flags {int(bitmaps)}: {'presence bitmaps' if bitmaps else 'no presence bitmaps'}")
    out.add(u64(head_bytes), f"headBytes {head_bytes}")
    out.add(u64(end), f"totalBytes {end}")
    for i, block in enumerate(blocks):
        data = b"".join(p for p, _ in block)
        out.add(u64(offsets[i]), f"block {i}: offset {offsets[i]}")
        out.add(u32(len(data)), f"block {i}: bytes {len(data)}")
        out.add(u32(firsts[i]), f"block {i}: firstRow {firsts[i]}")
        out.add(blake3(data), f"block {i}: hash")
    for i, word in enumerate(dictionary):
        out.add(u32(len(word.encode())), f"dictionary {i}: length {len(word.encode())}")
        out.add(word.encode(), f"dictionary {i}: {json.dumps(word, ensure_ascii=False)}")
    for block in blocks:
        out.pad(64)
        for data, note in block:
            out.add(data, note)
    assert len(out.data) == end
    return out, head_bytes


def container_ref(container, name):
    out, head_bytes = container
    blocks = struct.unpack_from("<I", out.data, 20 if out.data[3:4] == b"S" else 16)[0]
    short = [Address(out.data, name), len(out.data)]
    return short if blocks == 1 else short + [head_bytes, blake3(out.data[:head_bytes])]


# ---------------------------------------------------------------- ScalarIndex (0011)


def roaring(rows):
    """A portable Roaring bitmap of ascending rows below 65,536."""
    runs = [[rows[0], 0]]
    for row in rows[1:]:
        if row == sum(runs[-1]) + 1:
            runs[-1][1] += 1
        else:
            runs.append([row, 0])
    key = struct.pack("<HH", 0, len(rows) - 1)
    plain = struct.pack(f"<{len(rows)}H", *rows) if len(rows) <= 4096 else sum(1 << r for r in rows).to_bytes(8192, "little")
    if 2 + 4 * len(runs) >= len(plain):
        return u32(12346) + u32(1) + key + u32(16) + plain
    return u32(12347) + b"\x01" + key + u16(len(runs)) + b"".join(struct.pack("<HH", *run) for run in runs)


def scalar_key(type_, value):
    if type_ in (4, 5):
        return value.encode()
    if type_ == 1:
        return bytes([value])
    if type_ == 3:
        bits = struct.unpack(">Q", struct.pack(">d", value + 0.0))[0]
        return (bits ^ (2**64 - 1 if bits >> 63 else 2**63)).to_bytes(8, "big")
    return (value + 2**63).to_bytes(8, "big")


def counted(keys):
    """Keys of differing length behind their offsets."""
    ends = [0]
    for key in keys:
        ends.append(ends[-1] + len(key))
    return struct.pack(f"<{len(ends)}I", *ends), f"{len(ends)} key offsets: {ends}"


def index_tree(field, type_, values):
    """A tree of one page. Returns its form, entries, present rows, presence bitmap, first key and the page's pieces."""
    pairs = sorted((scalar_key(type_, v), row) for row, v in enumerate(values) if v is not None)
    keys = sorted({key for key, _ in pairs})
    rows = {key: [r for k, r in pairs if k == key] for key in keys}
    name = lambda key: json.dumps(key.decode()) if type_ in (4, 5) else str(values[rows[key][0]])
    form = 1 if type_ in (1, 5) or 16 * len(keys) <= len(pairs) else 2
    if form == 1:
        bitmaps = [roaring(rows[key]) for key in keys]
        pieces = [(struct.pack(f"<{len(keys)}I", *map(len, bitmaps)), f"lengths of {len(keys)} bitmaps")]
        listed = keys
        tail = [(b, f"bitmap of {name(k)}: rows {', '.join(map(str, rows[k]))}") for k, b in zip(keys, bitmaps)]
    else:
        pieces = [(struct.pack(f"<{len(pairs)}I", *(r for _, r in pairs)), f"rows {', '.join(str(r) for _, r in pairs)}")]
        listed, tail = [key for key, _ in pairs], []
    if type_ in (4, 5):
        pieces.append(counted(listed))
    pieces += [(key, f"key {i}: {name(key)}") for i, key in enumerate(listed)] + tail
    here = [row for row, v in enumerate(values) if v is not None]
    presence = roaring(here) if len(here) < len(values) else b""
    return field, type_, form, len(here), len(listed), presence, keys[0], name(keys[0]), pieces


def scalar_index(rows, trees):
    keys = b"".join((u32(len(t[6])) if t[1] in (4, 5) else b"") + t[6] for t in trees)
    head_bytes = at = round_up(48 + (64 + 48) * len(trees) + len(keys), 64)
    placed = []
    for tree in trees:
        spots = []
        for data in (tree[5], b"".join(p for p, _ in tree[8])):
            at = round_up(at, 64) if data else at
            spots.append((at if data else 0, data))
            at += len(data)
        placed.append(spots)
    out = Bytes()
    out.add(b"DDBI", 'magic "DDBI"')
    out.add(u16(1), "version 1")
    out.add(u16(0), "flags 0")
    out.add(u32(rows), f"rows {rows}")
    out.add(u32(len(trees)), f"trees {len(trees)}")
    out.add(u32(len(trees)), f"pages {len(trees)}")
    out.add(u32(len(keys)), f"keyBytes {len(keys)}")
    out.add(u64(head_bytes), f"headBytes {head_bytes}")
    out.add(u64(at), f"totalBytes {at}")
    out.add(bytes(8), "reserved")
    for i, ((field, type_, form, present, entries, presence, _, _, _), ((offset, data), _)) in enumerate(zip(trees, placed)):
        out.add(u32(field), f"tree {i}: field {field}")
        out.add(bytes([type_]), f"tree {i}: type {type_}: {TYPE_NAMES[type_]}")
        out.add(bytes([form]), f"tree {i}: form {form}: {['bitmaps', 'rows'][form - 1]}")
        out.add(bytes(2), "reserved")
        out.add(u32(present), f"tree {i}: present {present}")
        out.add(u32(entries), f"tree {i}: entries {entries}")
        out.add(u32(1), f"tree {i}: pages 1")
        out.add(u32(len(presence)), f"tree {i}: presenceBytes {len(presence)}")
        out.add(u64(offset), f"tree {i}: presence at {offset}")
        out.add(blake3(data) if data else bytes(32), f"tree {i}: presence hash")
    for i, (_, (offset, data)) in enumerate(placed):
        out.add(u64(offset), f"page {i}: offset {offset}")
        out.add(u32(len(data)), f"page {i}: bytes {len(data)}")
        out.add(u32(0), f"page {i}: firstEntry 0")
        out.add(blake3(data), f"page {i}: hash")
    for i, tree in enumerate(trees):
        if tree[1] in (4, 5):
            out.add(u32(len(tree[6])), f"page {i}: length of its first key")
        out.add(tree[6], f"page {i}: first key, {tree[7]}")
    for tree, (_, (_, _)) in zip(trees, placed):
        if tree[5]:
            out.pad(64)
            out.add(tree[5], f"presence of field {tree[0]}")
        out.pad(64)
        for data, note in tree[8]:
            out.add(data, note)
    assert len(out.data) == at
    return out


def scalar_index_example():
    trees = [index_tree(2, 5, ["cat", "dog", "cat", None, "cat"]), index_tree(4, 2, [30, -5, 30, 7, 7])]
    out = scalar_index(5, trees)
    return out.dump() + "\n\n" + summary(out.data)


def keys_example():
    rows = [("type", "value", "key")]
    for type_, value in [(1, False), (1, True), (2, -(2**63)), (2, -1), (2, 0), (2, 1), (3, -1.5), (3, -0.0), (3, 5e-324), (3, 1.5), (4, ""), (4, "\u00e9"), (6, 10**18)]:
        rows.append((TYPE_NAMES[type_], json.dumps(value, ensure_ascii=False), scalar_key(type_, value).hex() or "(empty)"))
    return table(rows)


# ---------------------------------------------------------------- LSH and distance (0004)


def f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def chacha20_block(key, counter, nonce):
    state = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574, *struct.unpack("<8I", key), counter, *struct.unpack("<3I", nonce)]
    w = state[:]

    def quarter(a, b, c, d):
        for x, y, z, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            w[x] = (w[x] + w[y]) & 0xFFFFFFFF
            v = w[z] ^ w[x]
            w[z] = (v << turn | v >> 32 - turn) & 0xFFFFFFFF

    for _ in range(10):
        for a in range(4):
            quarter(a, a + 4, a + 8, a + 12)
        for a in range(4):
            quarter(a, 4 + (a + 1) % 4, 8 + (a + 2) % 4, 12 + (a + 3) % 4)
    return struct.pack("<16I", *((x + y) & 0xFFFFFFFF for x, y in zip(w, state)))


RFC_BLOCK = (
    "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e"
    "d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e"
)
assert chacha20_block(bytes(range(32)), 1, bytes.fromhex("000000090000004a00000000")).hex() == RFC_BLOCK  # RFC 8439, 2.3.2


def keystream(seed, size, table=0):
    return b"".join(chacha20_block(seed, i, u32(table) + bytes(8)) for i in range((size + 63) // 64))[:size]


def integer_plane(stream, dim, j):
    return [sum(struct.unpack_from("<4H", stream, 8 * (j * dim + k))) - 131070 for k in range(dim)]


def planes(seed, dim, bits):
    stream = keystream(seed, 8 * dim * bits)
    out = []
    for j in range(bits):
        g = integer_plane(stream, dim, j)
        norm = math.sqrt(sum(x * x for x in g))
        out.append([f32(x / norm) if norm else 0.0 for x in g])
    return out


def fold(xs, ys):
    acc = 0.0
    for x, y in zip(xs, ys):
        acc = f32(acc + f32(x * y))
    return acc


def margins(hyperplanes, x):
    return [fold(x, h) for h in hyperplanes]


def cell_of(ms):
    return sum(1 << j for j, m in enumerate(ms) if m >= 0)


def probe_order(ms):
    def score(mask):
        total = 0.0
        for j, m in enumerate(ms):
            if mask >> j & 1:
                total += m * m
        return total

    return [(cell_of(ms) ^ mask, mask, score(mask)) for mask in sorted(range(1 << len(ms)), key=lambda mask: (score(mask), mask))]


def inverse_norm(x):
    ss = fold(x, x)
    return f32(1 / f32(math.sqrt(ss)))


def cosine_distance(q, x):
    return f32(1 - f32(f32(fold(q, x) * inverse_norm(x)) * inverse_norm(q)))


def squared_distance(q, x):
    acc = 0.0
    for a, b in zip(q, x):
        d = f32(b - a)
        acc = f32(acc + f32(d * d))
    return acc


def default_seed(dim, bits):
    return blake3(f"dreamdb.lsh-cosine/{dim}/{bits}".encode())


# ---------------------------------------------------------------- trained indexes (0004)


def index_space(metric, exponent, x):
    """y: how a stored vector enters the index."""
    scale = inverse_norm(x) if metric == "cosine" else 2.0**-exponent
    return [f32(v * scale) for v in x]


def least_exponent(rows):
    """The least e with every |x| 2^-e at most 1."""
    longest = max(math.sqrt(sum_f64(v * v for v in x)) for x in rows)
    if not longest:
        return 0
    return min(e for e in range(-126, 150) if longest * 2.0**-e <= 1)


def sum_f64(terms):
    acc = 0.0
    for term in terms:
        acc += term
    return acc


def half_square(c):
    return f32(-0.5 * sum_f64(v * v for v in c))


def centroid_scores(y, centroids):
    return [f32(fold(y, c) + half_square(c)) for c in centroids]


def nearest(y, centroids):
    scores = centroid_scores(y, centroids)
    return scores.index(max(scores))


def drawn_rows(seed, total, count):
    words = struct.unpack(f"<{count}I", keystream(seed, 4 * count, 0x4B4D5341))
    rows = []
    for i, word in enumerate(words):
        first, past = i * total // count, (i + 1) * total // count
        rows.append(first + ((past - first) * word >> 32))
    return rows


def shuffled(seed, count):
    words = struct.unpack(f"<{count}I", keystream(seed, 4 * count, 0x4B4D5348))
    order = list(range(count))
    for i in range(count - 1, 0, -1):
        j = (i + 1) * words[i] >> 32
        order[i], order[j] = order[j], order[i]
    return order


def k_means(sample, k, iterations, seed):
    """Centroids by the reference build; for every round the rows it looks at and their cells."""
    order, history, begin = shuffled(seed, len(sample)), [], k
    centroids = [list(sample[i]) for i in order[:k]]
    for t in range(iterations):
        half = 1 << (iterations - t) // 2
        count = max(min(len(sample), 4 * k), -(-len(sample) // half))
        looked = [order[i % len(sample)] for i in range(begin, begin + count)]
        begin += count
        rows = [sample[i] for i in looked]
        cells = [nearest(y, centroids) for y in rows]
        history.append((looked, cells))
        counts = [cells.count(c) for c in range(k)]
        for c in range(k):
            if counts[c]:
                own = [y for y, cell in zip(rows, cells) if cell == c]
                centroids[c] = [f32(sum_f64(column) / counts[c]) for column in zip(*own)]
        for c in range(k):
            largest = counts.index(max(counts))
            if counts[c] or counts[largest] < 2:
                continue
            counts[c], counts[largest] = counts[largest] // 2, counts[largest] - counts[largest] // 2
            up, down = ([f32(v * (1 + sign / 1024)) for v in centroids[largest]] for sign in (1, -1))
            centroids[c] = [down[j] if j & 1 else up[j] for j in range(len(up))]
            centroids[largest] = [up[j] if j & 1 else down[j] for j in range(len(up))]
    return centroids, history


# ---------------------------------------------------------------- vector compression (0010)


def padded_dim(dim):
    return round_up(dim, 16 if dim <= 128 else 64)


def dense_rotation(seed, dim):
    """The columns of the D x dim matrix, each D f32."""
    size = padded_dim(dim)
    stream = keystream(seed, 8 * size * dim, 0x524F5444)
    columns = []
    for j in range(dim):
        column = [float(g) for g in integer_plane(stream, size, j)]
        for earlier in columns + columns:
            s = sum_f64(a * b for a, b in zip(earlier, column))
            column = [b - s * a for a, b in zip(earlier, column)]
        length = math.sqrt(sum_f64(v * v for v in column))
        columns.append([v / length for v in column])
    return [[f32(v) for v in column] for column in columns]


def rotate_dense(columns, y):
    return [fold([column[t] for column in columns], y) for t in range(len(columns[0]))]


def rotate_hadamard(seed, y):
    size = padded_dim(len(y))
    bits = keystream(seed, size // 2, 0x524F5448)
    h = 1 << size.bit_length() - 1
    scale = f32(1 / math.sqrt(h))
    z = list(y) + [0.0] * (size - len(y))
    for r in range(4):
        for t in range(size):
            i = r * size + t
            if bits[i >> 3] >> (i & 7) & 1:
                z[t] = -z[t]
        start, length = (0 if r % 2 == 0 else size - h), 1
        while length < h:
            for i in range(start, start + h):
                if not (i - start) & length:
                    z[i], z[i + length] = f32(z[i] + z[i + length]), f32(z[i] - z[i + length])
            length *= 2
        z[start : start + h] = [f32(v * scale) for v in z[start : start + h]]
    return z


def sum4(values):
    acc = [0.0] * 4
    for t, v in enumerate(values):
        acc[t % 4] = f32(acc[t % 4] + v)
    return f32(f32(acc[0] + acc[1]) + f32(acc[2] + acc[3]))


STEPS = {2: 0.9957, 3: 0.586, 4: 0.3352, 5: 0.1881, 6: 0.1041, 7: 0.0569, 8: 0.0308}


def half_length(metric, y):
    return f32(0.5 * fold(y, y)) if metric == "l2" else 0.0


def error_of(ff, rn, size):
    return f32(f32(math.sqrt(max(0.0, f32(ff - rn)))) / f32(math.sqrt(size - 1)))


def rabitq(y, z, center, bits, metric):
    """Every number behind the code of y, rotated to z, in the cell whose rotated centroid is `center`."""
    size, level = len(z), 1 << bits - 1
    r = [f32(a - b) for a, b in zip(z, center)]
    rn, cr = sum4(f32(v * v) for v in r), sum4(f32(c * v) for c, v in zip(center, r))
    hy, scale = half_length(metric, y), f32(1 / math.sqrt(size))
    out = {"r": r, "rn": rn, "cr": cr, "hy": hy, "is": scale}
    if rn < 2.0**-96:
        a = f32(cr - hy)
        return {**out, "a1": a, "f1": 0.0, "e1": 0.0, "u": [level] * size, "aB": a, "fB": 0.0, "eB": 0.0}
    signs = [1.0 if v >= 0 else -1.0 for v in r]
    l1, cb = sum4(abs(v) for v in r), sum4(f32(s * c) for s, c in zip(signs, center))
    f1 = f32(rn / f32(l1 * scale)) if l1 > 0 else 0.0
    a1 = f32(f32(cr - f32(f32(f1 * cb) * scale)) - hy)
    out.update({"l1": l1, "cb": cb, "a1": a1, "f1": f1, "e1": error_of(f32(f1 * f1), rn, size)})
    if bits == 1:
        return {**out, "u": [int(s > 0) for s in signs]}
    sigma, best = f32(math.sqrt(f32(rn / size))), None
    out["sigma"] = sigma
    for t in range(8):
        step = f32(sigma * f32(f32(STEPS[bits]) * f32((7 + t) / 10)))
        inv = f32(1 / step)
        g = [s * (min(math.floor(f32(abs(v) * inv)), level - 1) + 0.5) for s, v in zip(signs, r)]
        dot, nn = sum4(f32(a * b) for a, b in zip(g, r)), sum4(f32(a * a) for a in g)
        merit = f32(dot / f32(math.sqrt(nn)))
        if best is None or merit > best[0]:
            best = merit, t, g, dot, nn
    merit, tried, g, dot, nn = best
    cq = sum4(f32(a * c) for a, c in zip(g, center))
    fb = f32(rn / dot) if dot > 0 else 0.0
    ab = f32(f32(cr - f32(fb * cq)) - hy)
    eb = error_of(f32(f32(fb * fb) * nn), rn, size)
    u = [math.floor(v) + level for v in g]
    return {**out, "tried": tried, "merit": merit, "u": u, "dot": dot, "nn": nn, "cq": cq, "aB": ab, "fB": fb, "eB": eb}


def rabitq_parts(code, bits):
    """The stored row, piece by piece with notes."""
    a1, f1 = round(code["a1"] * 16384), round(code["f1"] * 16384)
    if abs(a1) > 32767 or not 0 <= f1 <= 32767:
        a1, f1 = 32767, 0
    e = [min(65535, round(code[name] * 65536)) for name in ("e1", "eB") if name in code] + [0]
    parts = []
    for b in range(bits):
        plane = sum((u >> bits - 1 - b & 1) << t for t, u in enumerate(code["u"]))
        parts.append((plane.to_bytes(len(code["u"]) // 8, "little"), f"plane {b}"))
    parts.append((struct.pack("<hhHH", a1, f1, e[0], e[1] if bits > 1 else 0), f"A1 {a1}, F1 {f1}, E1 {e[0]}, EB {e[1] if bits > 1 else 0}"))
    if bits > 1:
        parts.append((struct.pack("<ff", code["aB"], code["fB"]), f"aB {code['aB']:.9g}, fB {code['fB']:.9g}"))
    return parts


def pq_runs(dim, m):
    """Where the runs begin, and the end."""
    return [j * (dim // m) + min(j, dim % m) for j in range(m + 1)]


def pq_parts(y, centroid, codebooks, m, bits, metric):
    at = pq_runs(len(y), m)
    r = [f32(a - b) for a, b in zip(y, centroid)]
    codes = [nearest(r[a:b], [w[a:b] for w in codebooks]) for a, b in zip(at, at[1:])]
    words = [x for code, a, b in zip(codes, at, at[1:]) for x in codebooks[code][a:b]]
    decoded = [f32(c + w) for c, w in zip(centroid, words)]
    if bits == 4:
        packed = codes + [0] * (len(codes) % 2)
        code = bytes(packed[i] | packed[i + 1] << 4 for i in range(0, len(packed), 2))
    else:
        code = bytes(codes)
    return codes, code + (struct.pack("<f", half_length(metric, decoded)) if metric == "l2" else b"")


def centroids_object(values):
    out = Bytes()
    out.add(b"DDBK", 'magic "DDBK"')
    out.add(u16(1), "version 1")
    out.add(u16(0), "flags 0")
    out.add(u32(len(values)), f"cells {len(values)}")
    out.add(u32(len(values[0])), f"dim {len(values[0])}")
    out.add(bytes(48), "reserved")
    for i, row in enumerate(values):
        out.add(struct.pack(f"<{len(row)}f", *row), f"vector {i}: [{', '.join(f'{v:.9g}' for v in row)}]")
    return out


# ---------------------------------------------------------------- segment container (0007)


def leb128(n):
    out = bytearray()
    while n >= 128:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out + bytes([n]))


def segment_blocks(cell_firsts, rows, limit):
    """First rows of the blocks: a cell that would take its block past the limit begins a new one, and is cut if it must be."""
    firsts, start = [], -math.inf
    for first, end in zip(cell_firsts, cell_firsts[1:] + [rows]):
        if end - start <= limit:
            continue
        start = first
        firsts.append(start)
        while end - start > limit:
            start += limit
            firsts.append(start)
    return firsts


assert segment_blocks([0, 3, 5, 6, 16, 17], 18, 4) == [0, 3, 6, 10, 14]


def segment(spatial_index, rows, dim, base, rerank=True, compressor=None):
    """A segment of (cell, anchor, vector) rows, with the code's pieces as a fourth item when there is a compressor;
    returns a Bytes and the length of its head."""
    rows = sorted(rows, key=lambda r: r[:2])
    width = sum(len(p) for p, _ in rows[0][3]) if compressor else 0
    cells = [(c, next(i for i, r in enumerate(rows) if r[0] == c)) for c in sorted({r[0] for r in rows})]
    firsts = segment_blocks([first for _, first in cells], len(rows), max(1, BLOCK // (4 * dim if rerank else max(8, width))))
    anchors, codes, vectors = [], [], []
    for first, end in zip(firsts, firsts[1:] + [len(rows)]):
        deltas, part = [], rows[first:end]
        for i, (cell, anchor, *_) in enumerate(part):
            before = part[i - 1][1] - base if i and part[i - 1][0] == cell else 0
            deltas.append((leb128(anchor - base - before), f"row {first + i}: cell {cell}, offset {anchor - base}"))
        anchors.append(deltas)
        codes.append([(p, f"row {first + i}: {note}") for i, r in enumerate(part) for p, note in r[3]] if compressor else [])
        vectors.append([(struct.pack(f"<{dim}f", *r[2]), f"row {first + i}: {list(r[2])}") for i, r in enumerate(part)] if rerank else [])
    join = lambda block: b"".join(p for p, _ in block)
    anchor_bytes, vector_bytes = sum(len(join(b)) for b in anchors), sum(len(join(b)) for b in vectors)
    cell_table = 200
    block_table = cell_table + 8 * len(cells)
    head_bytes = round_up(block_table + (104 if compressor else 72) * len(firsts), 64)
    end, code_bytes = head_bytes + anchor_bytes, width * len(rows)
    codes_at = round_up(end, 64) if compressor else 0
    end = codes_at + code_bytes if compressor else end
    vectors_at = round_up(end, 64) if rerank else 0
    total = vectors_at + vector_bytes if rerank else end
    out = Bytes()
    out.add(b"DDBS", 'magic "DDBS"')
    out.add(u16(1), "version 1")
    flags = int(rerank) + 2 * bool(compressor)
    out.add(u16(flags), f"flags {flags}: {'' if rerank else 'no '}vectors section{', codes section' if compressor else ''}")
    for name, n in (("rows", len(rows)), ("dim", dim), ("cells", len(cells)), ("blocks", len(firsts))):
        out.add(u32(n), f"{name} {n}")
    out.add(multihash(spatial_index), "spatial index multihash")
    out.add(multihash(compressor) if compressor else bytes(34), "vector compressor multihash" + ("" if compressor else ": none"))
    out.add(bytes(4), "reserved")
    for name, n in (
        ("headBytes", head_bytes), ("totalBytes", total), ("cell table offset", cell_table), ("block table offset", block_table),
        ("anchors offset", head_bytes), ("anchors bytes", anchor_bytes), ("codes offset", codes_at), ("codes bytes", code_bytes),
        ("reserved", 0), ("reserved", 0), ("vectors offset", vectors_at), ("vectors bytes", vector_bytes), ("reserved", 0),
    ):
        out.add(u64(n), f"{name} {n}" if name != "reserved" else name)
    for cell, first in cells:
        out.add(u32(cell) + u32(first), f"cell {cell} from row {first}")
    at = 0
    for i, first in enumerate(firsts):
        out.add(u32(first), f"block {i}: firstRow {first}")
        out.add(u32(at), f"block {i}: anchorsOffset {at}")
        out.add(blake3(join(anchors[i])), f"block {i}: anchors hash")
        out.add(blake3(join(vectors[i])) if rerank else bytes(32), f"block {i}: vectors hash")
        if compressor:
            out.add(blake3(join(codes[i])), f"block {i}: codes hash")
        at += len(join(anchors[i]))
    out.pad(64)
    for block in anchors:
        for data, note in block:
            out.add(data, "anchors, " + note)
    if compressor:
        out.pad(64)
        for block in codes:
            for data, note in block:
                out.add(data, "codes, " + note)
    if rerank:
        out.pad(64)
        for block in vectors:
            for data, note in block:
                out.add(data, "vectors, " + note)
    assert len(out.data) == total
    return out, head_bytes


# ---------------------------------------------------------------- index lists (0007)


def delta(entries, at):
    """The list as stored: number `at` of each entry as the difference to the entry before."""
    out, before = [], 0
    for entry in entries:
        out.append([*entry[:at], entry[at] - before, *entry[at + 1 :]])
        before = entry[at]
    return out


def index(entries):
    return {"pages": [], "entries": delta(entries, 0), "rows": sum(e[2] for e in entries)}


# ---------------------------------------------------------------- a whole dataset, small

ORIGIN = 1_700_000_000_000_000_000
DIM, BITS = 4, 3
FIELDS = [
    {"id": 0, "name": "photo", "modality": "image.jpeg", "required": False},
    {"id": 1, "name": "embedding", "modality": f"vector.f32;dim={DIM}", "required": True,
     "algorithm": "dreamdb.lsh-cosine", "bits": BITS, "rerank": True},
    {"id": 2, "name": "label", "modality": "scalar.categorical", "required": True},
    {"id": 3, "name": "note", "modality": "scalar.string", "required": False},
]
STORED = {0: (3, 8), 1: (2, 7), 2: (1, 5), 3: (1, 4)}
LATER = [  # anchors from automatic ticks: step 4096
    (8192, {"embedding": (1.0, 0.0, 0.0, 0.0), "label": "cat", "photo": b"\xff\xd8\xff\xd9", "note": "erste"}),
    (12288, {"embedding": (0.5, -0.5, 0.25, 1.0), "label": "dog", "photo": None, "note": None}),
    (16384, {"embedding": (0.75, 0.25, 0.0, 0.5), "label": "cat", "photo": None, "note": "dritte \u00e9t\u00e9"}),
]
EARLIER = [  # explicit anchors, given afterwards: backdated, uneven
    (1000, {"embedding": (-1.0, 2.0, 0.0, 0.5), "label": "bird", "photo": None, "note": None}),
    (9001, {"embedding": (1.0, 0.125, 0.0, 0.0), "label": "dog", "photo": None, "note": None}),
    (9003, {"embedding": (0.0, 0.0, -3.0, 0.0), "label": "cat", "photo": None, "note": None}),
]
QUERY = (1.0, 0.0, 0.0, 0.25)


class Tiny:
    name, genesis_nonce = "tiny", bytes(range(16))
    fields, stored, track_id = FIELDS, STORED, 1

    def __init__(self):
        self.keys = {}
        self.seed = default_seed(DIM, BITS)
        self.planes = planes(self.seed, DIM, BITS)
        self.spatial = {"kind": "dreamdb.spatial-index", "version": 1, "algorithm": "dreamdb.lsh-cosine", "dim": DIM,
                        "bits": BITS, "tables": 1, "seed": self.seed, "parents": []}
        self.spatial_bytes = self.put(cbor(self.spatial))
        self.genesis = {"kind": "dreamdb.genesis", "version": 1, "origin": ORIGIN, "nonce": self.genesis_nonce, "name": self.name}
        self.genesis_bytes = self.put(cbor(self.genesis))
        self.containers = {}
        first = self.manifest([], 0, "create", [], [], 0, 0, 5_000)
        batch_a, segment_a = self.batch("later", LATER, 4096)
        second = self.manifest([first], 1, "append", [batch_a], [segment_a], 3, 16385, 8_200)
        batch_b, segment_b = self.batch("earlier", EARLIER, None)
        third = self.manifest([second], 2, "append", [batch_a, batch_b], [segment_a, segment_b], 6, 16385, 20_000)
        self.manifests = [first, second, third]
        self.tag = self.ref("tag", second, 1, 0xA1)
        self.branch = self.ref("branch", third, 2, 0xB2)
        self.keys["refs/tiny"] = cbor(self.branch)
        self.keys["refs/tiny-v1"] = cbor(self.tag)

    def put(self, data):
        self.keys[object_key(data)] = data
        return data

    def batch(self, name, records, step):
        anchors = [a for a, _ in records]
        base, columns = anchors[0], {}
        for field in self.fields:
            values = [r[field["name"]] for _, r in records]
            if all(v is None for v in values):
                continue
            container = column(*self.stored[field["id"]], values, DIM)
            columns[field["id"]] = self.container(f"{name} {field['name']}", container)
        if step is None:
            step = self.container(f"{name} anchors", column(4, 9, [a - base for a in anchors]))
        span = anchors[-1] - base
        return [base, span, len(records), step, columns], self.segment_of(name, records, base, span)

    def segment_of(self, name, records, base, span):
        rows = [(cell_of(margins(self.planes, r["embedding"])), a, r["embedding"]) for a, r in records]
        packed = segment(self.spatial_bytes, rows, DIM, base)
        return [base, span, len(records), self.container(f"{name} segment", packed)]

    def container(self, name, container):
        self.containers[name] = container
        self.put(container[0].data)
        return container_ref(container, f"the {name} container")

    def track(self, segments):
        return {"spatialIndex": Address(self.spatial_bytes, "the SpatialIndex"), "inline": self.spatial_bytes, "segments": index(segments)}

    def manifest(self, parents, seq, op, batches, segments, rows, auto_high, ts):
        value = {
            "kind": "dreamdb.manifest", "version": 1, "genesis": Address(self.genesis_bytes, "the Genesis"),
            "parents": [Address(p[1], "the parent Manifest") for p in parents], "seq": seq, "ts": Anchor(ts), "writer": "make.py",
            "opId": bytes([seq] * 16), "op": op, "schema": {"fields": self.fields, "nextId": len(self.fields)},
            "rows": rows, "autoHigh": auto_high, "lane": 0, "timeline": index(batches), "tracks": {self.track_id: self.track(segments)},
        }
        return value, self.put(cbor(value))

    def ref(self, type_, manifest, seq, byte):
        return {"kind": "dreamdb.ref", "version": 1, "type": type_, "manifest": Address(manifest[1], "the Manifest"), "seq": seq,
                "writeId": bytes([byte] * 16), "opId": bytes([seq] * 16), "gcEpoch": 0, "ts": ORIGIN + 20_001, "inline": manifest[1]}

    def record(self, anchor, values):
        out = {"_anchor": str(ORIGIN + anchor)}
        for key, value in values.items():
            if value is not None and key in [field["name"] for field in self.fields]:
                out[key] = value.hex() if isinstance(value, bytes) else value
        return out

    def expected(self):
        record = self.record
        hits = sorted((cosine_distance(QUERY, r["embedding"]), a) for a, r in LATER + EARLIER)
        return {
            "records of refs/tiny": [record(*r) for r in sorted(LATER + EARLIER, key=lambda r: r[0])],
            "records of refs/tiny-v1": [record(*r) for r in LATER],
            "query, all cells probed": {"vector": list(QUERY), "hits": [{"_anchor": str(ORIGIN + a), "_distance": d} for d, a in hits]},
        }

    def json(self, trained):
        both = {**self.keys, **trained.keys}
        keys = {k: both[k].hex() for k in sorted(both)}
        about = ("A whole backend, key to value in hexadecimal, and what a reader must find in it. Anchors are Unix ns in decimal, "
                 "images in hexadecimal, distances the f32 value. Made by make.py.")
        return json.dumps({"about": about, "keys": keys, "expected": {**self.expected(), **trained.expected()}}, indent=1, ensure_ascii=True) + "\n"


class TinyIvf(Tiny):
    """The same vectors and labels under a trained index by Euclidean distance, built after both batches were there."""

    name, genesis_nonce = "tiny-ivf", bytes(range(16, 32))
    CELLS, BITS, ITERATIONS = 2, 4, 2
    fields = [
        {"id": 0, "name": "embedding", "modality": f"vector.f32;dim={DIM}", "required": True, "algorithm": "dreamdb.ivf-l2",
         "rerank": True, "compressor": {"algorithm": "dreamdb.rabitq-l2", "bits": BITS}},
        {"id": 1, "name": "label", "modality": "scalar.categorical", "required": True},
    ]
    stored, track_id = {0: (2, 7), 1: (1, 5)}, 0

    def __init__(self):
        self.keys, self.containers, self.compressor_bytes = {}, {}, None
        algorithm = "dreamdb.ivf-l2"
        self.exact = {"kind": "dreamdb.spatial-index", "version": 1, "algorithm": algorithm, "dim": DIM, "cells": 1, "parents": []}
        self.exact_bytes = self.spatial_bytes = self.put(cbor(self.exact))
        self.genesis = {"kind": "dreamdb.genesis", "version": 1, "origin": ORIGIN, "nonce": self.genesis_nonce, "name": self.name}
        self.genesis_bytes = self.put(cbor(self.genesis))
        first = self.manifest([], 0, "create", [], [], 0, 0, 5_000)
        batch_a = self.batch("ivf later", LATER, 4096)[0]
        second = self.manifest([first], 1, "append", [batch_a], [], 3, 16385, 8_200)
        batch_b = self.batch("ivf earlier", EARLIER, None)[0]
        third = self.manifest([second], 2, "append", [batch_a, batch_b], [], 6, 16385, 20_000)
        self.build(algorithm, sorted(LATER + EARLIER, key=lambda r: r[0]))
        fourth = self.manifest([third], 3, "rebuild-ivf", [batch_a, batch_b], [self.whole], 6, 16385, 21_000)
        self.manifests = [first, second, third, fourth]
        self.branch = self.ref("branch", fourth, 3, 0xC3)
        self.keys["refs/tiny-ivf"] = cbor(self.branch)

    def segment_of(self, name, records, base, span):
        return None

    def build(self, algorithm, records):
        vectors = [r["embedding"] for _, r in LATER + EARLIER]  # as they were appended
        self.exponent = least_exponent(vectors)
        self.seed = blake3(f"{algorithm}/{DIM}/{self.CELLS}".encode())
        self.sample = drawn_rows(self.seed, len(vectors), len(vectors))
        rows = [index_space("l2", self.exponent, vectors[i]) for i in self.sample]
        self.centroids, self.history = k_means(rows, self.CELLS, self.ITERATIONS, self.seed)
        self.table = centroids_object(self.centroids)
        self.put(self.table.data)
        self.spatial = {
            "kind": "dreamdb.spatial-index", "version": 1, "algorithm": algorithm, "dim": DIM, "cells": self.CELLS, "exponent": self.exponent,
            "centroids": [Address(self.table.data, "the Centroids object"), len(self.table.data)], "seed": self.seed,
            "sample": len(vectors), "iterations": self.ITERATIONS, "parents": [Address(self.exact_bytes, "the SpatialIndex before")],
        }
        self.spatial_bytes = self.put(cbor(self.spatial))
        self.rotation_seed = blake3(f"dreamdb.rabitq-l2/{DIM}/{self.BITS}".encode())
        self.compressor = {
            "kind": "dreamdb.vector-compressor", "version": 1, "algorithm": "dreamdb.rabitq-l2", "dim": DIM, "padded": padded_dim(DIM),
            "bits": self.BITS, "rotation": "dense", "seed": self.rotation_seed, "parents": [],
        }
        self.compressor_bytes = self.put(cbor(self.compressor))
        self.rotation = dense_rotation(self.rotation_seed, DIM)
        packed = []
        for anchor, record in records:
            y, cell, code = self.code(record["embedding"], self.BITS)
            packed.append((cell, anchor, record["embedding"], rabitq_parts(code, self.BITS)))
        base, span = records[0][0], records[-1][0] - records[0][0]
        made = segment(self.spatial_bytes, packed, DIM, base, True, self.compressor_bytes)
        self.whole = [base, span, len(records), self.container("ivf segment", made)]

    def code(self, x, bits):
        y = index_space("l2", self.exponent, x)
        cell = nearest(y, self.centroids)
        return y, cell, rabitq(y, rotate_dense(self.rotation, y), rotate_dense(self.rotation, self.centroids[cell]), bits, "l2")

    def track(self, segments):
        track = super().track(segments)
        if self.compressor_bytes:
            track.update({"compressor": Address(self.compressor_bytes, "the VectorCompressor"), "compressorInline": self.compressor_bytes})
        return track

    def expected(self):
        hits = sorted((squared_distance(QUERY, r["embedding"]), a) for a, r in LATER + EARLIER)
        return {
            "records of refs/tiny-ivf": [self.record(*r) for r in sorted(LATER + EARLIER, key=lambda r: r[0])],
            "query of tiny-ivf, all cells probed": {"vector": list(QUERY), "hits": [{"_anchor": str(ORIGIN + a), "_distance": d} for d, a in hits]},
        }


# ---------------------------------------------------------------- graph index (0013)


def squared(a, b):
    """d(a, b)."""
    return sum4(f32(f32(x - y) ** 2) for x, y in zip(a, b))


def tag(a, b):
    return 2 * (a - b) - 1 if b < a else 2 * (b - a)


def prune(p, candidates, vectors, degree):
    """Whom p links, of these."""
    linked, left = [], sorted(candidates, key=lambda v: (squared(vectors[p], vectors[v]), tag(p, v)))
    while left and len(linked) < degree:
        u = left.pop(0)
        linked.append(u)
        struck = lambda v: (squared(vectors[u], vectors[v]), tag(v, u)) < (squared(vectors[p], vectors[v]), tag(v, p))
        left = [v for v in left if not struck(v)]
    return linked


def graph_of_one_cell(vectors, centroid, degree):
    """The order of the nodes, by vector, and the lists of a graph that all lie in one cell and are all candidates of each other."""
    nodes = range(len(vectors))
    far = lambda p: fold(*2 * [[f32(a - b) for a, b in zip(vectors[p], centroid)]])
    head = min(nodes, key=lambda p: (far(p), p))
    order = [head] + [p for p in nodes if p != head]
    vectors = [vectors[p] for p in order]
    linked = [prune(p, [v for v in nodes if v != p], vectors, degree) for p in nodes]
    joined = [[v for v in nodes if v in linked[p] or p in linked[v]] for p in nodes]
    lists = [own if len(own) <= degree else sorted(prune(p, own, vectors, degree)) for p, own in zip(nodes, joined)]
    reached = {0}
    while more := {v for p in reached for v in lists[p]} - reached:
        reached |= more
    assert len(reached) == len(vectors), "step 9 of the build has work to do"
    return order, lists


def graph_codes(y):
    """The i8 components of a row, its scale, and half its square."""
    longest = max(map(abs, y))
    half = f32(0.5 * fold(y, y))
    if longest == 0 or math.isinf(inverse := f32(127 / longest)):
        return [0] * len(y), 0.0, half
    return [round(min(127, max(-127, f32(v * inverse)))) for v in y], f32(longest / 127), half


def graph_page(anchors, rows, lists, degree, block_nodes):
    """A GraphPage that is the whole graph, for l2; its block's listing names every node."""
    n, dim, blocks = len(rows), len(rows[0][0]), []
    for first in range(0, n, block_nodes):
        nodes = range(first, min(n, first + block_nodes))
        block = [(u64(anchors[i]), f"node {i}: anchor {anchors[i]}") for i in nodes]
        block += [(struct.pack("<f", rows[i][1]), f"node {i}: scale {rows[i][1]:.9g}") for i in nodes]
        block += [(struct.pack("<f", rows[i][2]), f"node {i}: half {rows[i][2]:.9g}") for i in nodes]
        block += [(struct.pack(f"{dim}b", *rows[i][0]), f"node {i}: codes {rows[i][0]}") for i in nodes]
        for i in nodes:
            steps = [v - u for u, v in zip([i] + lists[i], lists[i])]
            steps[:1] = [2 * v if v >= 0 else -2 * v - 1 for v in steps[:1]]
            block.append((bytes([len(steps)]) + b"".join(map(leb128, steps)), f"node {i}: neighbours {lists[i]}"))
        blocks.append((first, b"".join(data for data, _ in block), block))
    head_bytes = at = round_up(64 + 48 * len(blocks), 64)
    places = []
    for _, data, _ in blocks:
        at = round_up(at, 64)
        places.append(at)
        at += len(data)
    out = Bytes()
    out.add(b"DDBG", 'magic "DDBG"')
    out.add(u16(1), "version 1")
    out.add(u16(1), "flags 1: halves")
    for name, value in (("firstNode", 0), ("nodes", n), ("dim", dim), ("degree", degree), ("rows", n), ("blockNodes", block_nodes), ("blocks", len(blocks))):
        out.add(u32(value), f"{name} {value}")
    out.add(bytes(4), "reserved")
    out.add(u64(head_bytes), f"headBytes {head_bytes}")
    out.add(u64(at), f"totalBytes {at}")
    out.add(bytes(8), "reserved")
    for i, ((first, data, _), place) in enumerate(zip(blocks, places)):
        out.add(u64(place), f"block {i}: offset {place}")
        out.add(u32(len(data)), f"block {i}: bytes {len(data)}")
        out.add(u32(first), f"block {i}: firstNode {first}")
        out.add(blake3(data), f"block {i}: hash")
    for _, _, block in blocks:
        out.pad(64)
        for data, note in block:
            out.add(data, note)
    assert len(out.data) == at
    return out, head_bytes


class GraphExample:
    """The vectors of tiny-ivf as a graph of one cell."""

    DEGREE, CANDIDATES, PROBES, ITERATIONS = 4, 250, 20, 2

    def __init__(self):
        records = sorted(LATER + EARLIER, key=lambda r: r[0])
        vectors = [r["embedding"] for _, r in records]
        exponent = least_exponent(vectors)
        ys = [index_space("l2", exponent, x) for x in vectors]
        seed = blake3(f"dreamdb.vamana-l2/{DIM}/{self.DEGREE}".encode())
        sample = [ys[i] for i in drawn_rows(seed, len(ys), len(ys))]
        centroid = k_means(sample, 1, self.ITERATIONS, seed)[0][0]
        order, lists = graph_of_one_cell(ys, centroid, self.DEGREE)
        records, ys = [records[p] for p in order], [ys[p] for p in order]
        block_nodes = 1 << (65_536 // (DIM + 16 + 2 * self.DEGREE)).bit_length() - 1
        self.page = graph_page([a for a, _ in records], [graph_codes(y) for y in ys], lists, self.DEGREE, block_nodes)
        self.index = {
            "kind": "dreamdb.graph-index", "version": 1, "algorithm": "dreamdb.vamana-l2", "dim": DIM, "exponent": exponent, "rows": len(ys),
            "degree": self.DEGREE, "entries": 1, "heads": 1, "blockNodes": block_nodes, "cells": 1, "iterations": self.ITERATIONS,
            "candidates": self.CANDIDATES, "probes": self.PROBES, "seed": seed, "parents": [],
            "pages": [[Address(self.page[0].data, "the GraphPage"), len(self.page[0].data)]],
        }


# ---------------------------------------------------------------- the examples


def hexes(values):
    return " ".join(struct.pack(">f", v).hex() for v in values)


def floats(values):
    return "[" + ", ".join(f"{v:.9g}" for v in values) + "]"


def metric_example():
    rows = [("x", "dot", "distance by dot", "by l2", "bits")]
    for _, record in LATER + EARLIER:
        x = record["embedding"]
        rows.append((list(x), f"{fold(QUERY, x):.9g}", f"{0 - fold(QUERY, x):.9g}", f"{squared_distance(QUERY, x):.9g}", hexes([squared_distance(QUERY, x)])))
    return f"q = {list(QUERY)}\n\n" + table(rows)


def k_means_example(ivf):
    out = [f'seed = BLAKE3("dreamdb.ivf-l2/{DIM}/{ivf.CELLS}") = {ivf.seed.hex()}', f"exponent {ivf.exponent}"]
    out.append(f"rows drawn, 6 of 6: {drawn_rows(ivf.seed, 6, 6)}; 3 of 1000: {drawn_rows(ivf.seed, 1000, 3)}")
    out.append(f"shuffled: {shuffled(ivf.seed, 6)}")
    vectors = [r["embedding"] for _, r in LATER + EARLIER]
    out += ["", "row  y"] + [f"{i:3}  {floats(index_space('l2', ivf.exponent, x))}" for i, x in enumerate(vectors)]
    for i, (looked, cells) in enumerate(ivf.history):
        out.append(("" if i else "\n") + f"round {i}: rows {looked}, their cells {cells}")
    out += ["", "centroids after it, with their h"]
    out += [f"  {c}  {floats(v)}  {half_square(v):.9g}\n     {hexes(v)}  {hexes([half_square(v)])}" for c, v in enumerate(ivf.centroids)]
    return "\n".join(out)


def assign_example(ivf):
    rows = [("x", "scores of cells 0 and 1", "bits", "cell")]
    for _, record in sorted(LATER + EARLIER, key=lambda r: r[0]):
        scores = centroid_scores(index_space("l2", ivf.exponent, record["embedding"]), ivf.centroids)
        rows.append((list(record["embedding"]), floats(scores), hexes(scores), scores.index(max(scores))))
    return table(rows)


def rotation_example(ivf):
    seed = ivf.rotation_seed
    out = [f'dense: seed = BLAKE3("dreamdb.rabitq-l2/{DIM}/{ivf.BITS}") = {seed.hex()}']
    out += [f"  column {j}, entries 0 to 3: {hexes(c[:4])}" for j, c in enumerate(ivf.rotation)]
    data = b"".join(struct.pack(f"<{len(c)}f", *c) for c in ivf.rotation)
    out.append(f"  BLAKE3 of the {DIM} columns, {len(data)} bytes of f32: {blake3(data).hex()}")
    z = rotate_dense(ivf.rotation, [1.0, -2.0, 0.5, 0.0])
    out.append("  [1, -2, 0.5, 0] becomes")
    out += [f"    {hexes(z[i:i + 8])}" for i in range(0, len(z), 8)]
    dim = 100
    seed = blake3(f"dreamdb.rabitq-cosine/{dim}/4".encode())
    columns = dense_rotation(seed, dim)
    data = b"".join(struct.pack(f"<{len(c)}f", *c) for c in columns)
    x = [f32((k * 37 % 101 - 50) / 64) for k in range(dim)]
    z = rotate_dense(columns, x)
    out += ["", f'dense: seed = BLAKE3("dreamdb.rabitq-cosine/{dim}/4") = {seed.hex()}']
    out.append(f"  BLAKE3 of the {dim} columns, {len(data)} bytes of f32: {blake3(data).hex()}")
    out.append(f"  x_k = ((37 k mod 101) - 50) / 64 becomes {len(z)} f32 of BLAKE3 {blake3(struct.pack(f'<{len(z)}f', *z)).hex()}")
    out.append(f"    the first: {hexes(z[:4])}")
    dim = 300
    seed = blake3(f"dreamdb.rabitq-cosine/{dim}/4".encode())
    x = [f32((k * 37 % 101 - 50) / 64) for k in range(dim)]
    z = rotate_hadamard(seed, x)
    bits = keystream(seed, padded_dim(dim) // 2, 0x524F5448)
    out += ["", f'hadamard: seed = BLAKE3("dreamdb.rabitq-cosine/{dim}/4") = {seed.hex()}']
    out.append(f"  first bytes of the sign bits: {bits[:16].hex(' ')}")
    out.append(f"  x_k = ((37 k mod 101) - 50) / 64 becomes {len(z)} f32 of BLAKE3 {blake3(struct.pack(f'<{len(z)}f', *z)).hex()}")
    out.append(f"    the first and last four: {hexes(z[:4])}  {hexes(z[-4:])}")
    return "\n".join(out)


def code_example(ivf):
    coded = [(r["embedding"], *ivf.code(r["embedding"], ivf.BITS)) for _, r in LATER]
    x, y, cell, code = next(found for found in coded if found[3]["rn"] > 0)
    out = [f"x = {list(x)}, y = {floats(y)}, cell {cell}", ""]
    names = ("rn", "cr", "hy", "is", "l1", "cb", "f1", "a1", "e1", "sigma", "dot", "nn", "cq", "fB", "aB", "eB")
    out += [f"{'r' if i == 0 else ' '}      {hexes(code['r'][i:i + 8])}" for i in range(0, len(code["r"]), 8)]
    out += [f"{n:<5}  {hexes([code[n]])}  {code[n]:.9g}" for n in names]
    out.insert(out.index(next(o for o in out if o.startswith("sigma"))) + 1, f"i      {code['tried']}")
    out.append(f"u      {code['u']}")
    out.append("")
    out.append("stored, 4 bits")
    listing = Bytes()
    for data, note in rabitq_parts(code, ivf.BITS):
        listing.add(data, note)
    out.append(listing.dump())
    one = ivf.code(x, 1)[2]
    out.append("")
    out.append("the same vector with 1 bit (and the same rotation)")
    listing = Bytes()
    for data, note in rabitq_parts(one, 1):
        listing.add(data, note)
    out.append(listing.dump())
    q = [f32(v * 2.0**-ivf.exponent) for v in QUERY]
    rq = rotate_dense(ivf.rotation, q)
    exact = sum(a * b for a, b in zip(q, y)) - sum(v * v for v in y) / 2
    qc = sum(a * b for a, b in zip(q, ivf.centroids[cell]))
    far = math.sqrt(sum((a - b) ** 2 for a, b in zip(q, ivf.centroids[cell])))
    rough = qc + code["a1"] + code["f1"] * code["is"] * sum((1 if u >> ivf.BITS - 1 else -1) * v for u, v in zip(code["u"], rq))
    fine = qc + code["aB"] + code["fB"] * sum((u + 0.5 - (1 << ivf.BITS - 1)) * v for u, v in zip(code["u"], rq))
    out += ["", f"query {list(QUERY)}, in f64: <q,y> - |y|^2/2 = {exact:.6f}",
            f"  by 1 bit   {rough:.6f}, standard error {code['e1'] * far:.6f}", f"  by 4 bits  {fine:.6f}, standard error {code['eB'] * far:.6f}"]
    return "\n".join(out)


PQ_RUNS = 3
PQ_BOOKS = [[(i - 8) / 16, (i * 5 % 16 - 8) / 16, (i * 3 % 16 - 8) / 16, (i * 7 % 16 - 8) / 16] for i in range(16)]


def pq_compressor():
    books = centroids_object(PQ_BOOKS).data
    return {"kind": "dreamdb.vector-compressor", "version": 1, "algorithm": "dreamdb.pq-l2", "dim": DIM, "subspaces": PQ_RUNS, "bits": 4,
            "codebooks": [Address(books, "the codebooks"), len(books)], "parents": []}


def pq_example(ivf):
    value = pq_compressor()
    rows = [("x", "cell", "codes", "stored")]
    for _, record in sorted(LATER + EARLIER, key=lambda r: r[0]):
        x = record["embedding"]
        y = index_space("l2", ivf.exponent, x)
        cell = nearest(y, ivf.centroids)
        codes, stored = pq_parts(y, ivf.centroids[cell], PQ_BOOKS, PQ_RUNS, 4, "l2")
        rows.append((list(x), cell, codes, stored.hex(" ")))
    words = ("vector i of the codebooks: [(i - 8) / 16, ((5 i mod 16) - 8) / 16, ((3 i mod 16) - 8) / 16, ((7 i mod 16) - 8) / 16]\n"
             "codeword i of run 0: its first two components; of run 1: its third; of run 2: its fourth")
    return cbor_dump(value) + "\n\n" + summary(cbor(value)) + "\n\n" + words + "\n" + table(rows)


def table(rows):
    widths = [max(len(str(r[i])) for r in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(str(c).ljust(w) for c, w in zip(r, widths)).rstrip() for r in rows)


def address_example(data, name):
    mh = multihash(data)
    return f"object      {name}\nBLAKE3-256  {blake3(data).hex()}\nmultihash   {mh.hex()}\naddress     {text_address(mh)}\nkey         {object_key(data)}"


def cbor_values():
    values = [0, 23, 24, 255, 256, 65536, 2**32, 2**53, 2**64 - 1, -1, -24, -25, -(2**64), False, True, None, "", "a", "\u00e9",
              b"", b"\x01\x02", [], [1, [2]], {}, {"b": 1, "aa": 2, 10: 3, 100: 4, -1: 5}, 1.5, 0.1, 1e300, -0.0, math.inf, math.nan]
    name = lambda v: v.hex() + " (bytes)" if isinstance(v, bytes) else str(v) if not isinstance(v, str) else json.dumps(v, ensure_ascii=False)
    rows = [(name(v), cbor(v).hex() if v == v else cbor2.dumps(v, canonical=True).hex()) for v in values]
    rows.append(("address of the empty object", cbor(Address(b"", "")).hex()))
    rows.append(("time anchor 1000", cbor(Anchor(1000)).hex()))
    return table(rows)


def cbor_refused():
    cases = [
        ("1800", "the integer 0 in two bytes"), ("190018", "24 in three bytes"), ("1b00000000ffffffff", "2^32 - 1 in nine bytes"),
        ("fa3fc00000", "1.5 as f32: f16 keeps the value"), ("fb3ff8000000000000", "1.5 as f64"), ("f97e01", "NaN other than f97e00"),
        ("fa7fc00000", "NaN as f32"), ("9fff", "array of indefinite length"), ("bfff", "map of indefinite length"),
        ("5fff", "byte string of indefinite length"), ("a2616201616101", "keys out of order"), ("a2616101616102", "a key twice"),
        ("f0", "simple value 16"), ("f820", "simple value 32"), ("c100", "tag 1: not one of ours"), ("d9fff14100", "tag 65521 over one byte"),
        ("d9fff420", "tag 65524 over a negative number"), ("62c328", "text that is no UTF-8"), ("0000", "a byte after the item"),
        ("82", "truncated"), ("9b7fffffffffffffff", "an array of 2^63 - 1 items, in 9 bytes"), ("81" * 33 + "00", "an item inside 33 arrays (limit 32)"),
    ]
    return table([(shorten(h), why) for h, why in cases])


def keystream_example():
    seed = default_seed(DIM, BITS)
    stream = keystream(seed, 8 * DIM * BITS)
    out = [f'seed = BLAKE3("dreamdb.lsh-cosine/{DIM}/{BITS}") = {seed.hex()}', "", "keystream (counter 0 and 1, table 0)"]
    out += [f"{i:5}  {stream[i:i + 16].hex(' ')}" for i in range(0, len(stream), 16)]
    out += ["", "plane  g (integers)                          f32 values, and their bits"]
    for j, h in enumerate(planes(seed, DIM, BITS)):
        g = integer_plane(stream, DIM, j)
        out.append(f"    {j}  {str(g):<43}  {' '.join(f'{v:.9g}' for v in h)}")
        out.append(f"{'':52}{' '.join(struct.pack('>f', v).hex() for v in h)}")
    return "\n".join(out)


def big_planes_example():
    dim, bits = 100, 12
    seed = default_seed(dim, bits)
    hs = planes(seed, dim, bits)
    data = b"".join(struct.pack(f"<{dim}f", *h) for h in hs)
    x = [f32((k * 37 % 101 - 50) / 64) for k in range(dim)]
    ms = margins(hs, x)
    rows = [f'seed = BLAKE3("dreamdb.lsh-cosine/{dim}/{bits}") = {seed.hex()}', f"BLAKE3 of the {bits} planes, {len(data)} bytes of f32: {blake3(data).hex()}"]
    for j in (0, bits - 1):
        rows.append(f"plane {j:2}, coordinates 0 to 3: " + " ".join(struct.pack(">f", v).hex() for v in hs[j][:4]))
    rows.append("vector x_k = ((37 k mod 101) - 50) / 64, k = 0 to 99")
    rows.append("margins (bits of f32, plane 0 first):")
    for i in (0, 6):
        rows.append("  " + " ".join(struct.pack(">f", m).hex() for m in ms[i : i + 6]))
    order = probe_order(ms)
    rows.append(f"cell {cell_of(ms)}; the first 8 cells to probe: {' '.join(str(c) for c, _, _ in order[:8])}")
    return "\n".join(rows)


def probe_example(tiny):
    ms = margins(tiny.planes, QUERY)
    rows = [("order", "cell", "flipped mask", "score")]
    for i, (cell, mask, score) in enumerate(probe_order(ms)):
        rows.append((i, cell, format(mask, f"0{BITS}b"), repr(score)))
    top = f"query {list(QUERY)}\nmargins " + " ".join(f"{m:.9g} ({struct.pack('>f', m).hex()})" for m in ms) + f"\ncell {cell_of(ms)}\n\n"
    return top + table(rows)


def distance_example():
    rows = [("x", "dot", "ss", "inv", "distance", "bits")]
    for _, record in LATER + EARLIER:
        x = record["embedding"]
        d = cosine_distance(QUERY, x)
        rows.append((list(x), f"{fold(QUERY, x):.9g}", f"{fold(x, x):.9g}", f"{inverse_norm(x):.9g}", f"{d:.9g}", struct.pack(">f", d).hex()))
    return f"q = {list(QUERY)}: ss {fold(QUERY, QUERY):.9g}, inv {inverse_norm(QUERY):.9g}\n\n" + table(rows)


def time_example():
    rows = [("Unix ns", "tick", "text form", "CBOR")]
    for tick in (0, 1, 4096, 1_000_000_000, 86_400_000_000_000, 2**63, 2**64 - 1):
        rows.append((ORIGIN + tick, tick, format(tick, "016x"), cbor(Anchor(tick)).hex()))
    return f"origin {ORIGIN}\n\n" + table(rows)


def auto_example():
    rows = [("now (tick)", "autoHigh", "lane", "a batch lies at", "anchors of three records", "autoHigh after")]
    for now, high, lane, taken in ((0, 0, 0, []), (5000, 0, 0, []), (5000, 20481, 0, []), (5000, 0, 7, []), (5000, 0, 0, [12288])):
        at = max(now, high)
        while True:
            at += (lane - at) % 4096
            within = [t for t in taken if at <= t <= at + 2 * 4096]
            if not within:
                break
            at = max(within) + 1
        got = [at, at + 4096, at + 2 * 4096]
        rows.append((now, high, lane, taken, got, got[-1] + 1))
    return table(rows)


def directory_name(segment):
    upper = sum(1 << i for i, c in enumerate(segment) if c.isupper())
    if not upper:
        return segment
    return segment.lower() + "=" + upper.to_bytes((upper.bit_length() + 7) // 8, "little").hex()


def directory_example():
    rows = []
    for key in ("refs/main", "refs/main/x", "refs/Main", "refs/aB/cDeFgHiJkL", "refs/Main/a", "refs/" + "A" * 8 + "b", "refs/aaaaaaaaB"):
        *parents, last = key.split("/")
        path = "/".join([directory_name(p) + "+" for p in parents] + [directory_name(last) + "@"])
        rows.append((key, path + "/"))
    rows.append((object_key(b""), object_key(b"")))
    return table([("key", "path")] + rows)


def variable_column():
    return column(1, 4, ["erste", None, "dritte \u00e9t\u00e9"])


def page_example(tiny):
    later, earlier = (tiny.manifests[2][0]["timeline"]["entries"][i] for i in (0, 1))
    third = [20480, 8192, 3, 4096, {1: later[4][1], 2: later[4][2]}]
    entries = [later, [later[0] + earlier[0], *earlier[1:]], third]
    return {"kind": "dreamdb.index-page", "version": 1, "of": "timeline", "level": 0, "entries": delta(entries, 0)}


def object_example(value):
    data = cbor(value)
    return cbor_dump(value) + "\n\n" + summary(data)


def container_example(container):
    return container[0].dump() + "\n\n" + summary(container[0].data)


def root_example():
    pages = [[1, Address(b"page 0", "a page"), 14210, 0, 900_000, 131072], [0, Address(b"page 1", "a page"), 9120, 900_100, 5_000, 2048],
             [0, Address(b"page 2", "a page"), 9127, 400_000, 40_000, 2048]]
    value = {"pages": delta(pages, 3), "entries": [], "rows": sum(p[5] for p in pages)}
    return cbor_dump(value)


def listing(tiny, ivf):
    """What each key of tiny.json is."""
    names = {object_key(ivf.genesis_bytes): "Genesis of tiny-ivf", object_key(ivf.exact_bytes): "SpatialIndex of tiny-ivf, before it was built",
             object_key(ivf.spatial_bytes): "SpatialIndex of tiny-ivf", object_key(ivf.table.data): "Centroids of tiny-ivf",
             object_key(ivf.compressor_bytes): "VectorCompressor of tiny-ivf", "refs/tiny-ivf": "Ref, branch"}
    names.update({object_key(c[0].data): f"{n} container" for n, c in ivf.containers.items()})
    names.update({object_key(m[1]): f"Manifest of tiny-ivf, seq {i}" for i, m in enumerate(ivf.manifests)})
    names.update({object_key(tiny.genesis_bytes): "Genesis", object_key(tiny.spatial_bytes): "SpatialIndex", "refs/tiny": "Ref, branch", "refs/tiny-v1": "Ref, tag"})
    names.update({object_key(c[0].data): f"{n} container" for n, c in tiny.containers.items()})
    names.update({object_key(m[1]): f"Manifest, seq {i}" for i, m in enumerate(tiny.manifests)})
    short = lambda key: key if len(key) < 40 else key[:22] + "..."
    return table([("key", "bytes", "what")] + [(short(k), len(v), names[k]) for k, v in sorted({**tiny.keys, **ivf.keys}.items())])


def wrapped(data):
    return "\n".join(data.hex()[i : i + 96] for i in range(0, 2 * len(data), 96))


def ivf_records_example(ivf):
    hits = ivf.expected()["query of tiny-ivf, all cells probed"]["hits"]
    return "query " + str(list(QUERY)) + ", every cell probed\n" + table([(h["_anchor"], f"{h['_distance']:.9g}") for h in hits])


def records_example(tiny):
    rows = []
    for r in tiny.expected()["records of refs/tiny"]:
        rows.append("  ".join([r["_anchor"]] + [f"{k}={json.dumps(v, ensure_ascii=False)}" for k, v in r.items() if k != "_anchor"]))
    hits = tiny.expected()["query, all cells probed"]["hits"]
    return "\n".join(rows) + "\n\nquery " + str(list(QUERY)) + ", every cell probed\n" + table([(h["_anchor"], f"{h['_distance']:.9g}") for h in hits])


def tombstones_example(tiny):
    return {"kind": "dreamdb.tombstones", "version": 1, "genesis": Address(tiny.genesis_bytes, "the Genesis"), "anchors": [4096, 2**40],
            "reason": "asked for", "ts": Anchor(2**41)}


def registry_example(tiny):
    tombstones = cbor(tombstones_example(tiny))
    body = {"kind": "dreamdb.registry", "version": 1, "genesis": Address(tiny.genesis_bytes, "the Genesis"), "seq": 0, "writeId": bytes(range(16)),
            "tombstones": [[Address(tombstones, "the list"), len(tombstones), 2, tombstones]], "redactions": []}
    return f"key meta/{text_address(multihash(tiny.genesis_bytes))}/registry\n\n" + cbor_dump(body) + f"\n\n{len(cbor(body))} bytes"


def redactions_example(tiny):
    """Of the later batch a record is deleted that alone had a value of the last field; of its segment no row is left."""
    manifest = tiny.manifests[2][0]
    batch = manifest["timeline"]["entries"][0]
    track, = manifest["tracks"].values()
    segment = track["segments"]["entries"][0]
    columns = {id_: ref for id_, ref in batch[4].items() if id_ != max(batch[4])}
    return {"kind": "dreamdb.redactions", "version": 1, "genesis": Address(tiny.genesis_bytes, "the Genesis"),
            "batches": [[blake3(cbor(batch)), 1, [*batch[:4], columns]]], "segments": [[blake3(cbor(segment)), 1]], "indexes": []}


def lineage_example(ivf):
    return {"kind": "dreamdb.cell-lineage", "version": 1, "earlier": [Address(cbor(ivf.spatial), "an earlier SpatialIndex")], "since": bytes([1, 0, 1])}


def redaction_key_example(ivf):
    """Of the segment of tiny-ivf, whose rows a Track with a lineage counts but for one."""
    base, span, rows, ref = ivf.whole
    item = [base, span, rows - 1, ref, Address(cbor(lineage_example(ivf)), "the CellLineage")]
    return cbor_dump(item) + f"\n\nkey {blake3(cbor(item)).hex()}"


def addresses_example(tiny):
    """0020 §7.2: a list of one object, and the cell that names it."""
    return {"kind": "dreamdb.addresses", "version": 1, "nonce": bytes([0xA5] * 16), "digests": blake3(tiny.spatial_bytes), "sizes": struct.pack("<I", len(tiny.spatial_bytes))}


def gc_example(tiny):
    listed = cbor(addresses_example(tiny))
    round_ = {"phase": "condemned", "ts": 1_700_000_000_000_000_000, "condemned": [[Address(listed, "the list"), len(listed), 1]], "doomed": [],
              "spared": [], "states": [Address(tiny.manifests[0][1], "a Manifest")], "taken": []}
    body = {"kind": "dreamdb.gc", "version": 1, "epoch": 7, "writeId": bytes([0xD4] * 16), "round": round_, "pruned": []}
    return "key meta/gc\n\n" + cbor_dump(body) + f"\n\n{len(cbor(body))} bytes"


def pin_example(tiny):
    body = {"kind": "dreamdb.pin", "version": 1, "manifest": Address(tiny.manifests[0][1], "the Manifest"), "expires": 1_700_000_060_000_000_000,
            "ts": 1_700_000_000_000_000_000}
    return f"key pins/{bytes(range(16)).hex()}\n\n" + cbor_dump(body) + f"\n\n{len(cbor(body))} bytes"


def digest_example():
    """0008 §5.5, for the first of the later records."""
    anchor, record = LATER[0]
    widths = {"photo": bytes, "embedding": lambda v: b"".join(struct.pack("<f", x) for x in v)}
    values = {}
    for field in FIELDS:
        value = record[field["name"]]
        if value is not None:
            values[field["id"]] = widths.get(field["name"], lambda text: text.encode())(value)
    return f"the record at tick {anchor} of the example dataset\n\n{cbor_dump(values)}\n\ndigest {blake3(cbor(values)).hex()}"


def examples():
    tiny, ivf, graph = Tiny(), TinyIvf(), GraphExample()
    ref = dict(tiny.branch)
    ref.pop("inline")
    small = {k: v for k, v in tiny.tag.items()}
    return {
        "address-empty": address_example(b"", "the empty object, 0 bytes"),
        "address-abc": address_example(b"abc", '"abc", 3 bytes'),
        "cbor-values": cbor_values(),
        "cbor-refused": cbor_refused(),
        "genesis": object_example(tiny.genesis),
        "genesis-hex": wrapped(tiny.genesis_bytes),
        "spatial-index": object_example(tiny.spatial),
        "spatial-index-ivf": object_example({"kind": "dreamdb.spatial-index", "version": 1, "algorithm": "dreamdb.ivf-cosine", "dim": 4, "cells": 1, "parents": []}),
        "manifest": object_example(tiny.manifests[1][0]),
        "ref": object_example(ref),
        "tombstones": object_example(tombstones_example(tiny)),
        "registry": registry_example(tiny),
        "redactions": object_example(redactions_example(tiny)),
        "redaction-key": redaction_key_example(ivf),
        "addresses": object_example(addresses_example(tiny)),
        "gc": gc_example(tiny),
        "pin": pin_example(tiny),
        "ref-branch": object_example({**{k: v for k, v in tiny.branch.items() if k != "inline"}, "lane": 1, "protected": True}),
        "lanes": object_example({"kind": "dreamdb.lanes", "version": 1, "genesis": Address(tiny.genesis_bytes, "the Genesis"), "given": 1, "writeId": bytes([0xC3] * 16)}),
        "merge-digest": digest_example(),
        "ref-inline": f"{len(cbor(small))} bytes, of which `inline` {len(small['inline'])}\nkey refs/tiny-v1",
        "time": time_example(),
        "auto": auto_example(),
        "chacha": f"key      {bytes(range(32)).hex()}\nnonce    000000090000004a00000000\ncounter  1\nblock    {RFC_BLOCK[:64]}\n         {RFC_BLOCK[64:]}",
        "planes": keystream_example(),
        "planes-100": big_planes_example(),
        "probe": probe_example(tiny),
        "distance": distance_example(),
        "directory": directory_example(),
        "column-categorical": container_example(tiny.containers["later label"]),
        "column-vector": container_example(column(2, 7, [(1.0, -2.0, 0.5, 0.0), (0.1, 0.25, 3.0, -0.0)], 4)),
        "column-string": container_example(variable_column()),
        "column-anchors": container_example(tiny.containers["earlier anchors"]),
        "segment": container_example(tiny.containers["earlier segment"]),
        "scalar-keys": keys_example(),
        "scalar-index": scalar_index_example(),
        "index-page": object_example(page_example(tiny)),
        "index-root": root_example(),
        "metrics": metric_example(),
        "spatial-index-trained": object_example(ivf.spatial),
        "cell-lineage": object_example(lineage_example(ivf)),
        "k-means": k_means_example(ivf),
        "assign": assign_example(ivf),
        "centroids": ivf.table.dump() + "\n\n" + summary(ivf.table.data),
        "segment-codes": container_example(ivf.containers["ivf segment"]),
        "track-compressor": cbor_dump(ivf.track([ivf.whole])),
        "vector-compressor": object_example(ivf.compressor),
        "rotation": rotation_example(ivf),
        "rabitq": code_example(ivf),
        "pq": pq_example(ivf),
        "graph-index": object_example(graph.index),
        "graph-page": container_example(graph.page),
        "tiny-keys": listing(tiny, ivf),
        "tiny-records": records_example(tiny),
        "tiny-ivf-records": ivf_records_example(ivf),
    }, tiny.json(ivf)


# ---------------------------------------------------------------- documents

MARKER = re.compile(r"^<!-- example:", re.M)
SLOT = re.compile(r"(<!-- example: ([a-z0-9-]+) -->\n```text\n)(.*?)(```\n)", re.S)


def main(arguments):
    found, tiny = examples()
    if not arguments or not arguments[0].startswith("--"):
        for name in arguments or found:
            print(f"== {name}\n{found[name]}\n")
        return 0
    write, wrong, used = arguments[0] == "--write", [], set()
    for path in sorted(SPEC.glob("*.md")):
        text = path.read_text()
        names = [m.group(2) for m in SLOT.finditer(text)]
        if len(MARKER.findall(text)) != len(names):
            wrong.append(f"{path.name}: a marker without its block")
        wrong += [f"{path.name}: no example is named {n}" for n in names if n not in found]
        used.update(names)
        fresh = SLOT.sub(lambda m: m.group(1) + found.get(m.group(2), "") + "\n" + m.group(4), text)
        if fresh != text and write:
            path.write_text(fresh)
        elif fresh != text:
            wrong += [f"{path.name}: {m.group(2)} differs" for m in SLOT.finditer(text) if m.group(3) != found.get(m.group(2), "") + "\n"]
    wrong += [f"{name} is in no document" for name in found if name not in used]
    if write:
        TINY.write_text(tiny)
    elif not TINY.exists() or TINY.read_text() != tiny:
        wrong.append("tiny.json differs")
    print("\n".join(wrong) or f"{len(found)} examples, all as computed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
