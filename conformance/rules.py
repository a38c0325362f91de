"""What every part of reader.py stands on: reports, hashes (0002), deterministic CBOR (0002 §4), containers (0007 §2)."""
import os
import re
import struct
import subprocess
import tempfile
from collections import namedtuple

try:
    import cbor2
except ImportError:
    cbor2 = None

KIB64 = 65_536
MAX_OBJECT = 104_857_600
MAX_CBOR = 16_777_216
MAX_PAGE = 1_048_576
MAX_TICK = 2**64 - 1
MAX_COUNT = 2**53 - 1
MAX_ROWS = 2**32 - 1
ADDRESS_TAG, TIME_TAG = 65_521, 65_524
RESERVED_TAGS = (65_522, 65_523, 65_525)
TEXT_ADDRESS = re.compile(r"dyq[a-z2-7]{51}[aiqy]\Z")


# ---------------------------------------------------------------------------------------------------- reporting

class Bad(Exception):
    """A broken rule; what was being read can't be used. `code` is one of 0000 §7."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")


class Broken(Exception):
    """Something depends on what was reported already."""


passed = 0
failures = []
lenient = False


def fail(text):
    if text not in failures:
        failures.append(text)
        print(f"FAIL {text}")


def must(condition, code, message):
    """A rule for readers."""
    global passed
    if not condition:
        raise Bad(code, message)
    passed += 1


def writer(condition, message):
    """A rule for writers that a reader could live without."""
    global passed
    if condition:
        passed += 1
    elif not lenient:
        fail(f"Writer: {message}")


def guarded(what, action, *args):
    """Runs a piece of checking; a broken rule is a failure, and gives None."""
    try:
        return action(*args)
    except Broken:
        return None
    except Bad as error:
        fail(f"{error} [{what}]")
    except (struct.error, IndexError, KeyError, TypeError, ValueError, OverflowError) as error:
        fail(f"Corrupt: the reader stumbled: {type(error).__name__}: {error} [{what}]")
    return None


# ------------------------------------------------------------------------------------------------- hashes (0002)

ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


def text_address(digest):
    bits = int.from_bytes(b"\x1e\x20" + digest, "big") << 3
    return "".join(ALPHABET[bits >> (5 * i) & 31] for i in range(54, -1, -1))


def b3sum_files(directory, names):
    """{name: digest} of files below a directory; files that can't be read are left out."""
    digests = {}
    for start in range(0, len(names), 400):
        run = subprocess.run(["b3sum", "--", *names[start:start + 400]], cwd=directory, capture_output=True, text=True)
        for line in run.stdout.splitlines():
            digest, name = line.split("  ", 1)
            digests[name] = bytes.fromhex(digest)
    return digests


class Parts:
    """Hashes of parts of files, many at a time: b3sum takes files only."""

    def __init__(self):
        self.waiting, self.bytes, self.total = [], 0, 0

    def expect(self, data, digest, message):
        self.waiting.append((data, digest, message))
        self.bytes += len(data)
        if self.bytes > 64 << 20 or len(self.waiting) >= 4000:
            self.flush()

    def flush(self):
        waiting, self.waiting, self.bytes = self.waiting, [], 0
        self.total += len(waiting)
        for (_, digest, message), found in zip(waiting, digests_of([part[0] for part in waiting])):
            guarded(message, must, found == digest, "HashMismatch", f"BLAKE3 {found.hex()}, expected {digest.hex()}")


def digests_of(parts):
    with tempfile.TemporaryDirectory(prefix="dreamdb-reader-") as folder:
        for i, part in enumerate(parts):
            with open(os.path.join(folder, str(i)), "wb") as file:
                file.write(part)
        found = b3sum_files(folder, [str(i) for i in range(len(parts))])
    return [found[str(i)] for i in range(len(parts))]


parts = Parts()


# --------------------------------------------------------------------------------------------------- CBOR (0002 §4)

def head(major, n):
    if n < 24:
        return bytes([major << 5 | n])
    for code, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if n < 1 << 8 * size:
            return bytes([major << 5 | code]) + n.to_bytes(size, "big")
    raise Bad("NonCanonical", "an integer beyond 64 bits")


def encode(x, inside=0):
    """The one deterministic encoding of a value."""
    if inside > 32:
        raise Bad("LimitExceeded", "an item inside more than 32 arrays, maps and tags")
    for simple, code in ((False, b"\xf4"), (True, b"\xf5"), (None, b"\xf6"), (cbor2.undefined, b"\xf7")):
        if x is simple:
            return code
    if isinstance(x, int):
        return head(0, x) if x >= 0 else head(1, -1 - x)
    if isinstance(x, bytes):
        return head(2, len(x)) + x
    if isinstance(x, str):
        data = x.encode("utf-8")
        return head(3, len(data)) + data
    if isinstance(x, (list, tuple)):
        return head(4, len(x)) + b"".join(encode(item, inside + 1) for item in x)
    if isinstance(x, dict):
        pairs = sorted((encode(key, inside + 1), encode(value, inside + 1)) for key, value in x.items())
        return head(5, len(pairs)) + b"".join(key + value for key, value in pairs)
    if isinstance(x, cbor2.CBORTag):
        if x.tag not in (ADDRESS_TAG, TIME_TAG) + RESERVED_TAGS:
            raise Bad("NonCanonical", f"tag {x.tag}")
        if x.tag == ADDRESS_TAG and not (isinstance(x.value, bytes) and len(x.value) == 34 and x.value[:2] == b"\x1e\x20"):
            raise Bad("Corrupt", f"tag {x.tag} over no BLAKE3-256 multihash")
        if x.tag == TIME_TAG and not is_uint(x.value, 0, MAX_TICK):
            raise Bad("Corrupt", f"tag {x.tag} over no tick")
        return head(6, x.tag) + encode(x.value, inside + 1)
    if isinstance(x, float):
        if x != x:
            return b"\xf9\x7e\x00"
        for code, form in ((b"\xf9", ">e"), (b"\xfa", ">f")):
            try:
                short = struct.pack(form, x)
            except OverflowError:
                continue
            if struct.unpack(form, short)[0] == x:
                return code + short
        return b"\xfb" + struct.pack(">d", x)
    raise Bad("NonCanonical", f"a value of kind {type(x).__name__}")


def decode(data, what):
    """A CBOR object: a map with text keys, `kind` and `version`, encoded as it must be."""
    must(len(data) <= MAX_CBOR, "LimitExceeded", f"{what} has {len(data)} bytes")
    try:
        value = cbor2.loads(data)
        again = encode(value)
    except RecursionError:
        raise Bad("LimitExceeded", f"{what} is nested too deep") from None
    except Bad:
        raise
    except Exception as error:  # cbor2 raises many kinds
        raise Bad("Corrupt", f"{what} is not CBOR: {error}") from None
    must(again == data, "Corrupt", f"{what} is not deterministic CBOR")
    must(isinstance(value, dict) and all(isinstance(key, str) for key in value), "Corrupt", f"{what} is no map of texts")
    return value


def is_uint(x, low=0, high=MAX_COUNT):
    return isinstance(x, int) and not isinstance(x, bool) and low <= x <= high


def get(map_, key, check, what):
    must(key in map_, "Corrupt", f"{what}: key {key} is missing")
    must(check(map_[key]), "Corrupt", f"{what}: {key} is {str(map_[key])[:80]}")
    return map_[key]


def only_keys(map_, keys, what):
    unknown = sorted(str(key) for key in map_ if key not in keys)
    writer(not unknown, f"{what} has unknown keys {unknown}")


def of_kind(data, kind, what):
    value = decode(data, what)
    must(value.get("kind") == kind, "Corrupt", f"{what}: kind {value.get('kind')!r}, expected {kind}")
    version = get(value, "version", is_uint, what)
    must(version >= 1, "Corrupt", f"{what}: version 0")
    must(version == 1, "UnsupportedVersion", f"{what}: version {version}")
    return value


def is_text(x):
    return isinstance(x, str)


def is_bool(x):
    return isinstance(x, bool)


def is_bytes(n=None):
    return lambda x: isinstance(x, bytes) and (n is None or len(x) == n)


def is_list(x):
    return isinstance(x, list)


def address(x, what):
    """The digest in a tag 65521."""
    must(isinstance(x, cbor2.CBORTag) and x.tag == ADDRESS_TAG, "Corrupt", f"{what} is no address: {str(x)[:80]}")
    must(isinstance(x.value, bytes) and len(x.value) == 34 and x.value[:2] == b"\x1e\x20", "Corrupt",
         f"{what} is no BLAKE3-256 multihash")
    return x.value[2:]


def time_anchor(x):
    return isinstance(x, cbor2.CBORTag) and x.tag == TIME_TAG and is_uint(x.value, 0, MAX_TICK)


# ------------------------------------------------------------------------------------------------ containers (0007 §2)

ContainerRef = namedtuple("ContainerRef", "digest length headBytes headHash")


def check_container_ref(x, what):
    must(isinstance(x, list) and len(x) in (2, 4), "Corrupt", f"{what}: no ContainerRef")
    digest = address(x[0], what)
    must(is_uint(x[1], 0, MAX_OBJECT), "Corrupt", f"{what}: length {x[1]}")
    if len(x) == 2:
        return ContainerRef(digest, x[1], None, None)
    must(is_uint(x[2], 0, x[1]), "Corrupt", f"{what}: headBytes {x[2]}")
    must(is_bytes(32)(x[3]), "Corrupt", f"{what}: head hash")
    return ContainerRef(digest, x[1], x[2], x[3])


def pad(n):
    return -(-n // 64) * 64


def zeros(data, start, end):
    return not any(data[start:end])


def table_rows(firsts, rows, what):
    """Checks a column of firstRow; gives the number of rows of each."""
    must(firsts[0] == 0, "Corrupt", f"{what}: begins at row {firsts[0]}")
    must(all(a < b for a, b in zip(firsts, firsts[1:])) and firsts[-1] < rows, "Corrupt", f"{what}: rows out of order")
    return [b - a for a, b in zip(firsts, firsts[1:] + [rows])]


def explain_container(ref, at):
    """Which part of a container with a wrong hash is wrong, as far as a long ContainerRef lets one say."""

    def explain(data):
        if ref.headBytes is None:
            return ""
        if digests_of([data[:ref.headBytes]]) != [ref.headHash]:
            return "; its head is wrong"
        found = []
        for name, start, end, digest in at(data):
            if digests_of([data[start:end]]) != [digest]:
                found.append(name)
        return f"; wrong: {', '.join(found)}" if found else "; its head and blocks are right, padding is wrong"

    return explain


def check_ref_form(ref, data, head_bytes, blocks, what):
    writer((ref.headBytes is None) == (blocks == 1), f"{what}: ContainerRef {'short' if ref.headBytes is None else 'long'} with {blocks} blocks")
    if ref.headBytes is not None:
        must(ref.headBytes == head_bytes, "Corrupt", f"{what}: headBytes {ref.headBytes} in the ContainerRef, {head_bytes} in the head")
        parts.expect(data[:head_bytes], ref.headHash, f"{what}: head of {text_address(ref.digest)}")


def varint(data, at, end, what):
    value = shift = 0
    while True:
        must(at < end and shift < 70, "Corrupt", f"{what}: a varint passes its block, or 64 bits")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            must(value <= MAX_TICK and (byte or not shift), "Corrupt", f"{what}: a varint that is not shortest, or too great")
            return value, at
        shift += 7
