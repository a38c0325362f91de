#!/usr/bin/python3
"""Graph indexes and their pages, decoded and checked from ../spec/0013 alone. A part of reader.py, and by itself

    graph.py <directory> <address> <rows file>

checks the GraphIndex of that address in a dataset directory. The rows file has the vectors it was made from: for each its
tick (u64) and its components (f32), little-endian. Exit codes as those of reader.py.
"""
import sys
from collections import namedtuple
import struct

import numpy as np

import rules
import spatial
from rules import (
    KIB64, MAX_CBOR, check_container_ref, check_ref_form, explain_container, get, guarded, is_bytes, is_list, is_text, is_uint, must,
    of_kind, only_keys, pad, parts, address, text_address, varint, writer, zeros,
)

F = np.float32
ALGORITHMS = {"dreamdb.vamana-cosine": "cosine", "dreamdb.vamana-l2": "l2"}
PAGE_BLOCKS = 128
BLOCK = struct.Struct("<QII32s")

GraphIndex = namedtuple("GraphIndex", "metric dim exponent rows degree entries block_nodes parents pages")
Nodes = namedtuple("Nodes", "ticks scales halves codes lists")


# ------------------------------------------------------------------------------------------------- GraphIndex (§6)

def read_index(data, what):
    value = of_kind(data, "dreamdb.graph-index", what)
    algorithm = get(value, "algorithm", is_text, what)
    must(algorithm in ALGORITHMS, "UnsupportedVersion", f"{what}: {algorithm}")
    metric, exponent = ALGORITHMS[algorithm], 0
    keys = ("kind", "version", "algorithm", "dim", "rows", "degree", "entries", "heads", "blockNodes", "cells", "iterations", "candidates", "probes",
            "seed", "parents", "pages")
    if metric == "l2":
        keys += ("exponent",)
        exponent = get(value, "exponent", lambda x: is_uint(x, -300, 300), what)
    must("exponent" not in value or metric == "l2", "Corrupt", f"{what}: an exponent with {algorithm}")
    only_keys(value, keys, what)
    dim = get(value, "dim", lambda x: is_uint(x, 1, 65_536), what)
    rows = get(value, "rows", lambda x: is_uint(x, 1, 2**31 - 1), what)
    degree = get(value, "degree", lambda x: is_uint(x, 4, 64) and x % 4 == 0, what)
    heads = get(value, "heads", lambda x: is_uint(x, 1, rows), what)
    entries = get(value, "entries", lambda x: is_uint(x, 1, min(256, heads)), what)
    right = -(-heads // -(-heads // 128))
    writer(entries == right, f"{what}: {entries} entries of {heads} heads, the rule says {right}")
    block_nodes = get(value, "blockNodes", lambda x: is_uint(x, 1, 65_536) and x & x - 1 == 0, what)
    right = 1 << max(1, KIB64 // (dim + 16 + 2 * degree)).bit_length() - 1
    writer(block_nodes == right, f"{what}: blockNodes {block_nodes}, the rule says {right}")
    cells = get(value, "cells", lambda x: is_uint(x, 1, rows), what)
    writer(heads <= cells, f"{what}: {heads} heads of {cells} cells")
    get(value, "iterations", is_uint, what)
    get(value, "candidates", lambda x: is_uint(x, 1, 1024), what)
    get(value, "probes", lambda x: is_uint(x, 1, 64), what)
    get(value, "seed", is_bytes(32), what)
    parents = [address(parent, f"{what} parent") for parent in get(value, "parents", is_list, what)]
    pages = [check_container_ref(ref, f"{what} page {i}") for i, ref in enumerate(get(value, "pages", is_list, what))]
    right = -(-rows // (PAGE_BLOCKS * block_nodes))
    must(len(pages) == right, "Corrupt", f"{what}: {len(pages)} pages, {rows} nodes take {right}")
    return GraphIndex(metric, dim, exponent, rows, degree, entries, block_nodes, parents, pages)


# -------------------------------------------------------------------------------------------------- GraphPage (§6)

def page_parts(data):
    blocks, = struct.unpack_from("<I", data, 32)
    for i in range(blocks):
        offset, length, _, digest = BLOCK.unpack_from(data, 64 + 48 * i)
        yield f"block {i}", offset, offset + length, digest


def read_page(directory, index, number, what):
    """The nodes of a page, block after block."""
    ref = index.pages[number]
    data = directory.read(ref.digest, what, ref.length, explain=explain_container(ref, page_parts))
    what = f"{what}, {text_address(ref.digest)}"
    must(len(data) >= 64, "Corrupt", f"{what}: {len(data)} bytes")
    magic, version, flags, *numbers, reserved, head_bytes, total, reserved2 = struct.unpack_from("<4sHH8I3Q", data)
    must(magic == b"DDBG", "Corrupt", f"{what}: magic {magic}")
    must(version >= 1, "Corrupt", f"{what}: version 0")
    must(version == 1 and flags & ~1 == 0, "UnsupportedVersion", f"{what}: version {version}, flags {flags}")
    must(flags == (index.metric == "l2"), "Corrupt", f"{what}: flags {flags} with {index.metric}")
    first = number * PAGE_BLOCKS * index.block_nodes
    nodes = min(index.rows - first, PAGE_BLOCKS * index.block_nodes)
    blocks = -(-nodes // index.block_nodes)
    right = [first, nodes, index.dim, index.degree, index.rows, index.block_nodes, blocks]
    must(numbers == right, "Corrupt", f"{what}: firstNode, nodes, dim, degree, rows, blockNodes, blocks {numbers}, expected {right}")
    must(reserved == reserved2 == 0, "Corrupt", f"{what}: reserved bytes")
    tables_end = 64 + 48 * blocks
    must(head_bytes == pad(tables_end) <= len(data), "Corrupt", f"{what}: headBytes {head_bytes}")
    must(total == len(data), "Corrupt", f"{what}: totalBytes {total}, {len(data)} are there")
    check_ref_form(ref, data, head_bytes, blocks, what)
    writer(zeros(data, tables_end, head_bytes), f"{what}: padding of the head is not zero")
    found, end = [], head_bytes
    for i in range(blocks):
        at, (offset, length, node, digest) = f"{what} block {i}", BLOCK.unpack_from(data, 64 + 48 * i)
        must(node == first + i * index.block_nodes, "Corrupt", f"{at}: firstNode {node}")
        place = pad(end) if i else head_bytes
        must(offset == place and offset + length <= len(data), "Corrupt", f"{at}: offset {offset}, {length} bytes, the one before ends at {end}")
        writer(zeros(data, end, offset), f"{at}: padding before it is not zero")
        end = offset + length
        parts.expect(data[offset:end], digest, at)
        found.append(read_block(data[offset:end], index, node, min(index.block_nodes, first + nodes - node), at))
    must(end == len(data), "Corrupt", f"{what}: totalBytes {total}, the last block ends at {end}")
    return found


def read_block(data, index, first, m, what):
    has_halves = index.metric == "l2"
    fixed = m * (8 + 4 + 4 * has_halves + index.dim)
    must(len(data) >= fixed + m, "Corrupt", f"{what}: {len(data)} bytes for {m} nodes")
    ticks = np.frombuffer(data, "<u8", m)
    scales = np.frombuffer(data, "<f4", m, 8 * m).astype(F)
    halves = np.frombuffer(data, "<f4", m, 12 * m).astype(F) if has_halves else np.zeros(m, F)
    for name, values in (("scale", scales), ("half", halves)):
        wrong = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
        must(not len(wrong), "Corrupt", f"{what}: the {name} of node {first + int(wrong[0]) if len(wrong) else 0} is not finite, or below 0")
    codes = np.frombuffer(data, np.int8, m * index.dim, fixed - m * index.dim).reshape(m, index.dim)
    must(codes.min() >= -127, "Corrupt", f"{what}: a code of -128")
    lists, at = [], fixed
    for node in range(first, first + m):
        own, at = read_list(data, index, node, at, f"{what} list of node {node}")
        lists.append(own)
    must(at == len(data), "Corrupt", f"{what}: {len(data) - at} bytes after the last list")
    return Nodes(ticks, scales, halves, codes, lists)


def read_list(data, index, node, at, what):
    must(at < len(data), "Corrupt", f"{what}: passes its block")
    length, at, found = data[at], at + 1, []
    must(length <= index.degree, "Corrupt", f"{what}: {length} neighbours, degree {index.degree}")
    for i in range(length):
        value, at = varint(data, at, len(data), what)
        if i == 0:
            neighbour = node + (-(value + 1 >> 1) if value & 1 else value >> 1)
        else:
            must(value >= 1, "Corrupt", f"{what}: difference 0")
            neighbour = found[-1] + value
        must(0 <= neighbour < index.rows, "Corrupt", f"{what}: neighbour {neighbour} of {index.rows} nodes")
        must(neighbour != node, "Corrupt", f"{what}: the node itself")
        found.append(neighbour)
    return found, at


# ---------------------------------------------------------------------------------------------- spaces, codes (§2, §4)

def index_space(index, xs):
    if index.metric == "cosine":
        return spatial.index_space("cosine", 0, xs)
    # The exponent can lie beyond f32: in f64 the product is exact, and it is rounded once.
    return (xs.astype(np.float64) * 2.0 ** -index.exponent).astype(F)


def codes_of(index, xs):
    """The i8 rows, scales and halves of stored vectors."""
    with np.errstate(all="ignore"):
        ys = index_space(index, xs)
        most = np.abs(ys).max(axis=1)
        inverse = F(127) / most
        flat = ~((most > 0) & (inverse > 0) & np.isfinite(inverse))
        codes = np.rint(np.clip(ys * inverse[:, None], F(-127), F(127)))
        codes[flat] = 0
        scales = np.where(flat, F(0), most / F(127)).astype(F)
        halves = F(0.5) * spatial.own_folds(ys) if index.metric == "l2" else np.zeros(len(xs), F)
        return codes.astype(np.int8), scales, halves


# ------------------------------------------------------------------------------------------------------- a whole graph

def check(directory, digest, find_rows, what, length=None, field=None):
    """A GraphIndex and its pages. `find_rows` gives, for ticks, which are there and their vectors; `field`, when there is one, has
    the algorithm and dim. Gives the index, the ticks of its nodes and their lists."""
    index = read_index(directory.read(digest, what, length, MAX_CBOR), what)
    right = field is None or (index.dim == field.dim and ALGORITHMS[field.algorithm] == index.metric)
    must(right, "Corrupt", f"{what}: {index.metric} of {index.dim} components, its field is another")
    blocks = [block for i in range(len(index.pages)) for block in read_page(directory, index, i, f"{what} page {i}")]
    ticks = np.concatenate([block.ticks for block in blocks])
    must(len(np.unique(ticks)) == index.rows, "Corrupt", f"{what}: two nodes of one tick")
    node = 0
    for block in blocks:
        check_codes(index, block, node, find_rows, what)
        node += len(block.ticks)
    lists = [own for block in blocks for own in block.lists]
    reached, todo = set(range(index.entries)), list(range(index.entries))
    while todo:
        new = [v for v in lists[todo.pop()] if v not in reached]
        reached.update(new)
        todo += new
    writer(len(reached) == index.rows, f"{what}: {len(reached)} of {index.rows} nodes are reached from the entries")
    return index, ticks, lists


def check_codes(index, block, first, find_rows, what):
    found, xs = find_rows(block.ticks)
    must(found.all(), "Corrupt", f"{what}: no record with a vector for node {first + int(np.argmin(found))}")
    made = codes_of(index, xs)
    for name, mine, its in zip(("codes", "scale", "half"), made, (block.codes, block.scales, block.halves)):
        # Bit for bit: -0 is another scale than 0.
        differ = (mine.view(np.uint8) != np.ascontiguousarray(its).view(np.uint8)).reshape(len(xs), -1).any(axis=1)
        for i in np.flatnonzero(differ)[:1]:
            must(False, "Corrupt", f"{what}: the {name} of node {first + i}: {its[i]}, its vector's {mine[i]}")
    must(True, "Corrupt", "codes")


def main():
    from directory import Directory

    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        return 2
    directory, name = Directory(sys.argv[1]), sys.argv[2]
    digest = next((digest for path, digest in directory.hashes.items() if path.endswith(name)), None)
    with open(sys.argv[3], "rb") as file:
        data = file.read()

    def run():
        must(digest is not None, "NotFound", f"object {name} is not there, or not what its name says")
        dim = read_index(directory.read(digest, "GraphIndex", limit=MAX_CBOR), "GraphIndex").dim
        table = np.frombuffer(data, np.dtype([("tick", "<u8"), ("x", "<f4", (dim,))]))
        order = np.argsort(table["tick"])
        own = table["tick"][order]

        def find_rows(ticks):
            at = np.minimum(np.searchsorted(own, ticks), len(own) - 1)
            return own[at] == ticks, table["x"][order[at]].astype(F)

        index, _, lists = check(directory, digest, find_rows, "GraphIndex")
        must(index.rows == len(table), "Corrupt", f"GraphIndex: {index.rows} nodes, there are {len(table)} vectors")
        print(f"{index.metric}, {index.rows} nodes in {len(index.pages)} pages, {sum(map(len, lists))} edges")

    guarded("graph", run)
    parts.flush()
    print(f"{rules.passed} checks passed, {len(rules.failures)} failed")
    return 1 if rules.failures else 0


if __name__ == "__main__":
    sys.exit(main())
