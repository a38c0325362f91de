"""Scalar indexes of batches, checked against the columns they were made from: ../spec/0011, for reader.py."""
import math
import operator
import struct
from collections import namedtuple

import numpy as np

from rules import MAX_OBJECT, Bad, check_ref_form, explain_container, must, pad, parts, text_address, writer, zeros

TREE, PAGE = struct.Struct("<IBBHIIIIQ32s"), struct.Struct("<QII32s")
KEY_BYTES = {1: 1, 2: 8, 3: 8, 4: None, 5: None, 6: 8}
BITMAPS, ROWS = 1, 2
PAGE_ENTRIES, LONGEST_TEXT, PAGE_BYTES = 256, 512, 16_384

Tree = namedtuple("Tree", "field type form present entries pages presence presenceBytes presenceHash")
Page = namedtuple("Page", "offset bytes firstEntry hash")

# How many containers of each kind were decoded: data that is meant to have all kinds can be seen to have them.
containers = {"arrays": 0, "bitsets": 0, "runs": 0}


# ------------------------------------------------------------------------------------------------------ keys (§3)

def key_of(type_, raw, dictionary):
    """The key of a value, from its bytes in the column."""
    if type_ == 5:
        return dictionary[int.from_bytes(raw, "little")]
    if type_ in (1, 4):
        return raw
    if type_ == 3:
        value, = struct.unpack("<d", raw)
        bits, = struct.unpack("<Q", struct.pack("<d", 0.0 if value == 0 else value))
        return (bits ^ (2**64 - 1 if bits >> 63 else 2**63)).to_bytes(8, "big")
    return (int.from_bytes(raw, "little", signed=True) + 2**63).to_bytes(8, "big")


def pairs_of(column):
    """(key, row) of every row that has a value, ascending."""
    raws = ((column.raw(row), row) for row in range(column.rows))
    return sorted((key_of(column.type, raw, column.dictionary), row) for raw, row in raws if raw is not None)


def indexable(column):
    """Whether writers make a tree for this column, if there is room: it has values, and no text that is too long."""
    pairs = pairs_of(column)
    return len(pairs) > 0 and (column.type not in (4, 5) or max(len(key) for key, _ in pairs) <= LONGEST_TEXT)


# --------------------------------------------------------------------------------------- Roaring bitmaps (portable)

def roaring(data, rows, what):
    """The numbers of a bitmap as an ascending array; they are below `rows`, and the bitmap fills the data."""
    must(len(data) >= 8, "Corrupt", f"{what}: {len(data)} bytes")
    cookie, = struct.unpack_from("<I", data)
    with_runs = cookie & 0xFFFF == 12_347
    if with_runs:
        n = (cookie >> 16) + 1
        at = 4 + -(-n // 8)
        must(at <= len(data), "Corrupt", f"{what}: {n} containers in {len(data)} bytes")
        is_run = [data[4 + (i >> 3)] >> (i & 7) & 1 == 1 for i in range(n)]
        writer(any(is_run) and data[at - 1] >> (n - 1) % 8 <= 1, f"{what}: the cookie of runs without any, or marks beyond the containers")
    else:
        must(cookie == 12_346, "Corrupt", f"{what}: cookie {cookie}")
        n, = struct.unpack_from("<I", data, 4)
        must(1 <= n <= 65_536, "Corrupt", f"{what}: {n} containers")
        at, is_run = 8, [False] * n
    must(at + 4 * n <= len(data), "Corrupt", f"{what}: {n} containers in {len(data)} bytes")
    heads = [struct.unpack_from("<HH", data, at + 4 * i) for i in range(n)]
    at += 4 * n
    must(all(map(operator.lt, [key for key, _ in heads], [key for key, _ in heads[1:]])), "Corrupt", f"{what}: containers out of order")
    offsets = None
    if not with_runs or n >= 4:
        must(at + 4 * n <= len(data), "Corrupt", f"{what}: offsets pass the end")
        offsets = struct.unpack_from(f"<{n}I", data, at)
        at += 4 * n
    found = []
    for i, (high, less) in enumerate(heads):
        must(offsets is None or offsets[i] == at, "Corrupt", f"{what}: container {i} at {offsets and offsets[i]}, the one before ends at {at}")
        low, at = container(data, at, less + 1, is_run[i], f"{what} container {i}")
        found.append((high << 16) + low)
    must(at == len(data), "Corrupt", f"{what}: {len(data) - at} bytes after the last container")
    numbers = np.concatenate(found)
    must(numbers[-1] < rows, "Corrupt", f"{what}: number {numbers[-1]}, rows {rows}")
    return numbers


def container(data, at, count, is_run, what):
    """The low halves of a container of `count` numbers, and where it ends."""
    if is_run:
        must(at + 2 <= len(data), "Corrupt", f"{what}: passes the end")
        runs, = struct.unpack_from("<H", data, at)
        end = at + 2 + 4 * runs
        must(runs >= 1 and end <= len(data), "Corrupt", f"{what}: {runs} runs pass the end")
        table = np.frombuffer(data, "<u2", 2 * runs, at + 2).reshape(runs, 2).astype(np.int64)
        starts, lasts = table[:, 0], table[:, 0] + table[:, 1]
        must((starts[1:] > lasts[:-1]).all() and lasts[-1] < 65_536, "Corrupt", f"{what}: runs out of order")
        low = np.concatenate([np.arange(a, b + 1) for a, b in zip(starts, lasts)])
        kind = "runs"
    elif count <= 4096:
        end = at + 2 * count
        must(end <= len(data), "Corrupt", f"{what}: {count} numbers pass the end")
        low = np.frombuffer(data, "<u2", count, at).astype(np.int64)
        must((low[1:] > low[:-1]).all(), "Corrupt", f"{what}: numbers out of order")
        kind = "arrays"
    else:
        end = at + 8192
        must(end <= len(data), "Corrupt", f"{what}: a bitset passes the end")
        low = np.flatnonzero(np.unpackbits(np.frombuffer(data, np.uint8, 8192, at), bitorder="little"))
        kind = "bitsets"
    must(len(low) == count, "Corrupt", f"{what}: {len(low)} numbers, its head says {count}")
    fewest = 1 + np.count_nonzero(low[1:] != low[:-1] + 1)
    best = "runs" if 2 + 4 * fewest < min(2 * count, 8192) else "arrays" if count <= 4096 else "bitsets"
    writer(kind == best and (kind != "runs" or runs == fewest), f"{what}: {kind}, {best} of {fewest} runs and {count} numbers is shortest")
    containers[kind] += 1
    return low, end


# ------------------------------------------------------------------------------------------------- the object (§4)

def index_parts(data):
    """Every block with its hash, from a head that is right."""
    trees, pages = struct.unpack_from("<II", data, 12)
    for i in range(trees):
        tree = Tree(*without_reserved(TREE.unpack_from(data, 48 + 64 * i)))
        if tree.presenceBytes:
            yield f"presence of tree {i}", tree.presence, tree.presence + tree.presenceBytes, tree.presenceHash
    for i in range(pages):
        page = Page(*PAGE.unpack_from(data, 48 + 64 * trees + 48 * i))
        yield f"page {i}", page.offset, page.offset + page.bytes, page.hash


def without_reserved(row):
    """A row of the tree table as Tree has it."""
    field, type_, form, _, present, entries, pages, presence_bytes, presence, digest = row
    return field, type_, form, present, entries, pages, presence, presence_bytes, digest


def check(directory, ref, rows, columns, what):
    """A ScalarIndex against the columns of its batch's fields that have `index`, {field: Column}; None when they are not to
    be had. Gives the number of trees."""
    data = directory.read(ref.digest, what, ref.length, explain=explain_container(ref, index_parts))
    what = f"{what}, {text_address(ref.digest)}"
    must(len(data) >= 48, "Corrupt", f"{what}: {len(data)} bytes")
    magic, version, flags, own_rows, trees, pages, key_bytes, head_bytes, total = struct.unpack_from("<4sHHIIIIQQ", data)
    must(magic == b"DDBI", "Corrupt", f"{what}: magic {magic}")
    must(version >= 1, "Corrupt", f"{what}: version 0")
    must(version == 1 and flags == 0, "UnsupportedVersion", f"{what}: version {version}, flags {flags}")
    must(own_rows == rows, "Corrupt", f"{what}: rows {own_rows}, the batch has {rows}")
    must(zeros(data, 40, 48), "Corrupt", f"{what}: reserved bytes")
    must(trees >= 1, "Corrupt", f"{what}: no trees")
    keys_at = 48 + 64 * trees + 48 * pages
    must(head_bytes == pad(keys_at + key_bytes) <= len(data), "Corrupt", f"{what}: headBytes {head_bytes}")
    must(total == len(data), "Corrupt", f"{what}: totalBytes {total}, {len(data)} are there")
    writer(zeros(data, keys_at + key_bytes, head_bytes), f"{what}: padding of the head is not zero")

    table = []
    for i in range(trees):
        row = TREE.unpack_from(data, 48 + 64 * i)
        must(row[3] == 0, "Corrupt", f"{what} tree {i}: reserved bytes")
        table.append(Tree(*without_reserved(row)))
        check_tree(table[-1], rows, f"{what} tree {i}")
    fields = [tree.field for tree in table]
    must(all(map(operator.lt, fields, fields[1:])), "Corrupt", f"{what}: fields out of order {fields}")
    must(sum(tree.pages for tree in table) == pages, "Corrupt", f"{what}: pages {pages}, the trees' {[tree.pages for tree in table]}")
    every_page = [Page(*PAGE.unpack_from(data, 48 + 64 * trees + 48 * i)) for i in range(pages)]
    check_ref_form(ref, data, head_bytes, pages + sum(tree.presenceBytes > 0 for tree in table), what)
    for name, start, end, digest in index_parts(data):
        must(start <= end <= len(data), "Corrupt", f"{what} {name}: from {start} to {end} of {len(data)} bytes")
        parts.expect(data[start:end], digest, f"{what} {name}")

    end, first_keys, page = head_bytes, keys_at, 0
    for i, tree in enumerate(table):
        at, own = f"{what} tree {i}", every_page[page:page + tree.pages]
        page += tree.pages
        end = check_places(data, tree, own, end, at)
        firsts, first_keys = read_keys(data, tree, first_keys, keys_at + key_bytes, at)
        entries = [entry for n, p, first in zip(page_counts(tree, own, at), own, firsts) for entry in read_page(data, tree, p, n, first, rows, at)]
        check_entries(data, tree, own, firsts, entries, rows, at)
        if columns is not None:
            check_column(tree, entries, columns.get(tree.field), at)
    must(first_keys == keys_at + key_bytes, "Corrupt", f"{what}: bytes after the last first key")
    must(end == len(data), "Corrupt", f"{what}: totalBytes {total}, the last block ends at {end}")
    if columns is not None:
        right = {id_ for id_, column in columns.items() if indexable(column)}
        writer(set(fields) <= right, f"{what}: trees of fields {sorted(set(fields) - right)}, which have a text over {LONGEST_TEXT} bytes")
        writer(right <= set(fields) or len(data) > MAX_OBJECT // 2, f"{what}: no trees of fields {sorted(right - set(fields))}")
    return trees


def check_tree(tree, rows, what):
    must(tree.type in KEY_BYTES, "Corrupt", f"{what}: type {tree.type}")
    must(tree.form in (BITMAPS, ROWS), "Corrupt", f"{what}: form {tree.form}")
    must(1 <= tree.present <= rows, "Corrupt", f"{what}: present {tree.present}, rows {rows}")
    right = 1 <= tree.entries <= tree.present if tree.form == BITMAPS else tree.entries == tree.present
    must(right, "Corrupt", f"{what}: entries {tree.entries}, present {tree.present}")
    must(1 <= tree.pages <= tree.entries, "Corrupt", f"{what}: pages {tree.pages}, entries {tree.entries}")
    must((tree.presenceBytes == 0) == (tree.present == rows), "Corrupt", f"{what}: presenceBytes {tree.presenceBytes}, present {tree.present} of {rows}")
    must(tree.presenceBytes or tree.presence == 0 and not any(tree.presenceHash), "Corrupt", f"{what}: place or hash of no presence bitmap")


def check_places(data, tree, pages, end, what):
    """Blocks one after the other, from the end of the one before. Gives the end of the last."""
    blocks = [("presence", tree.presence, tree.presenceBytes)] if tree.presenceBytes else []
    for name, offset, length in blocks + [(f"page {i}", page.offset, page.bytes) for i, page in enumerate(pages)]:
        must(offset == pad(end) and offset + length <= len(data), "Corrupt", f"{what} {name}: at {offset}, {length} bytes, the one before ends at {end}")
        writer(zeros(data, end, offset), f"{what} {name}: padding before it is not zero")
        end = offset + length
    return end


def page_counts(tree, pages, what):
    firsts = [page.firstEntry for page in pages]
    counts = [b - a for a, b in zip(firsts, firsts[1:] + [tree.entries])]
    must(firsts[0] == 0, "Corrupt", f"{what}: begins at entry {firsts[0]}")
    must(all(1 <= n <= PAGE_ENTRIES for n in counts), "Corrupt", f"{what}: pages of {sorted(set(counts))} entries")
    return counts


def read_keys(data, tree, at, end, what):
    """The first key of every page of a tree, from the head."""
    found = []
    for i in range(tree.pages):
        size = KEY_BYTES[tree.type]
        if size is None:
            must(at + 4 <= end, "Corrupt", f"{what}: the first keys end early")
            size, = struct.unpack_from("<I", data, at)
            at += 4
        must(at + size <= end, "Corrupt", f"{what}: the first keys end early")
        found.append(data[at:at + size])
        at += size
    before = operator.lt if tree.form == BITMAPS else operator.le
    must(all(map(before, found, found[1:])), "Corrupt", f"{what}: first keys out of order")
    return found, at


def read_page(data, tree, page, n, first, rows, what):
    """The (key, rows) of a page's entries."""
    what = f"{what} page from entry {page.firstEntry}"
    at, end = page.offset, page.offset + page.bytes
    must(at + 4 * n <= end, "Corrupt", f"{what}: {n} entries in {page.bytes} bytes")
    numbers = struct.unpack_from(f"<{n}I", data, at)
    at += 4 * n
    size = KEY_BYTES[tree.type]
    if size is None:
        must(at + 4 * (n + 1) <= end, "Corrupt", f"{what}: {n} entries in {page.bytes} bytes")
        ends = struct.unpack_from(f"<{n + 1}I", data, at)
        at += 4 * (n + 1)
        must(ends[0] == 0 and all(map(operator.le, ends, ends[1:])), "Corrupt", f"{what}: key offsets out of order")
    else:
        ends = range(0, size * n + 1, size)
    must(at + ends[-1] <= end, "Corrupt", f"{what}: keys pass its end")
    keys = [data[at + a:at + b] for a, b in zip(ends, ends[1:])]
    must(all(len(key) <= LONGEST_TEXT for key in keys), "Corrupt", f"{what}: a key of over {LONGEST_TEXT} bytes")
    must(keys[0] == first, "Corrupt", f"{what}: its first key is {keys[0].hex()}, the head says {first.hex()}")
    at += ends[-1]
    if tree.form == ROWS:
        must(at == end, "Corrupt", f"{what}: bytes after its keys")
        must(max(numbers) < rows, "Corrupt", f"{what}: row {max(numbers)} of {rows}")
        return [(key, [row]) for key, row in zip(keys, numbers)]
    must(at + sum(numbers) == end, "Corrupt", f"{what}: bitmaps of {sum(numbers)} bytes, {end - at} are left")
    found = []
    for i, (key, length) in enumerate(zip(keys, numbers)):
        found.append((key, roaring(data[at:at + length], rows, f"{what} bitmap {i}").tolist()))
        at += length
    return found


def check_entries(data, tree, pages, firsts, entries, rows, what):
    """Order, presence, and what writers choose."""
    keys = [key for key, _ in entries]
    pairs = [(key, row) for key, own in entries for row in own]
    if tree.form == BITMAPS:
        must(all(map(operator.lt, keys, keys[1:])), "Corrupt", f"{what}: keys out of order")
    else:
        must(all(map(operator.lt, pairs, pairs[1:])), "Corrupt", f"{what}: keys and rows out of order")
    here = sorted(row for _, row in pairs)
    must(all(map(operator.lt, here, here[1:])), "Corrupt", f"{what}: a row twice")
    must(len(here) == tree.present, "Corrupt", f"{what}: entries of {len(here)} rows, present {tree.present}")
    if tree.presenceBytes:
        bits = roaring(data[tree.presence:tree.presence + tree.presenceBytes], rows, f"{what} presence").tolist()
        must(bits == here, "Corrupt", f"{what}: the presence bitmap has other rows than the entries")
    different = len(set(keys))
    form = BITMAPS if tree.type in (1, 5) or 16 * different <= tree.present else ROWS
    writer(tree.form == form, f"{what}: form {tree.form} with {different} values in {tree.present} rows")
    cuts = [page.firstEntry for page in pages]
    if tree.form == ROWS:
        right = list(range(0, tree.entries, PAGE_ENTRIES))
    else:
        right = cut(entry_bytes(data, tree, pages, keys))
    writer(cuts == right, f"{what}: pages begin at entries {cuts[:9]}, the rule says {right[:9]}")


def entry_bytes(data, tree, pages, keys):
    """Length of every entry's key and bitmap."""
    ends = [page.firstEntry for page in pages[1:]] + [tree.entries]
    lengths = [n for page, end in zip(pages, ends) for n in struct.unpack_from(f"<{end - page.firstEntry}I", data, page.offset)]
    return [len(key) + n for key, n in zip(keys, lengths)]


def cut(sizes):
    """Where pages of form 1 begin."""
    starts, held = [], math.inf
    for i, size in enumerate(sizes):
        if not starts or i - starts[-1] == PAGE_ENTRIES or held + size > PAGE_BYTES:
            starts.append(i)
            held = 0
        held += size
    return starts


def check_column(tree, entries, column, what):
    """That the tree has each row that has a value, once, under that value's key."""
    must(column is not None, "Corrupt", f"{what}: field {tree.field} has no index, or no column in the batch")
    must(tree.type == column.type, "Corrupt", f"{what}: type {tree.type}, the column's is {column.type}")
    right = pairs_of(column)
    found = [(key, row) for key, own in entries for row in own]
    for mine, its in zip(right, found):
        if mine != its:
            raise Bad("Corrupt", f"{what}: row {its[1]} under key {its[0].hex()}, the column has row {mine[1]} there with {mine[0].hex()}")
    must(len(right) == len(found), "Corrupt", f"{what}: {len(found)} rows, the column has {len(right)} values")
