#!/usr/bin/python3
"""Reads a DreamDB dataset directory from the specification alone, and checks everything it reads.

    reader.py <dataset directory> [--ref NAME] [--dump FILE] [--cells N] [--lenient]

Nothing of the library is used: Python's standard library, cbor2, numpy and the b3sum command (rules.py, scalars.py, spatial.py and graph.py are parts of
this). Section numbers in the comments are those of ../spec. Every object that a ref reaches is checked by its address first, and interpreted after.

--ref NAME   this ref only (default: all)
--dump FILE  the records of the ref in time order, JSON Lines {"anchor": "<Unix ns>", "values": {field: value}}:
             media as SHA-256 in hex, vectors as hex of their f32, floats as hex of their f64 (both little-endian),
             timestamps and integers beyond 2^53 - 1 as decimal strings, absent values left out
--cells N    rows of a segment whose cell and code are computed anew, evenly spread (default: all)
--lenient    only what a reader must check; otherwise what writers must keep to as well

Exit code 0: all checks passed; 1: some failed; 2: wrong arguments; 3: python3-cbor2, python3-numpy or b3sum is missing.
"""
import argparse
import bisect
import hashlib
import heapq
import itertools
import json
import math
import operator
import os
import re
import shutil
import struct
import sys
from collections import namedtuple

import rules
from directory import Directory, is_ref_name
from rules import (
    KIB64, MAX_CBOR, MAX_COUNT, MAX_OBJECT, MAX_PAGE, MAX_ROWS, MAX_TICK, Bad, Broken, address, cbor2, check_container_ref, check_ref_form,
    digests_of, encode, explain_container, fail, get, guarded, is_bool, is_bytes, is_list, is_text, is_uint, must, of_kind, only_keys, pad,
    parts, table_rows, text_address, time_anchor, varint, writer, zeros,
)

try:
    import graph
    import numpy as np
    import scalars
    import spatial
except ImportError:
    np = None


# ------------------------------------------------------------------------------------------------------ schema (0001)

Field = namedtuple("Field", "id name modality required kind type width dim algorithm bits rerank index")
IVF = ("dreamdb.ivf-cosine", "dreamdb.ivf-dot", "dreamdb.ivf-l2")
VAMANA = ("dreamdb.vamana-cosine", "dreamdb.vamana-l2")
ALGORITHMS = ("dreamdb.lsh-cosine", "dreamdb.imi-cosine") + IVF + VAMANA
SCALARS = {"bool": (1, 1), "int": (2, 8), "float": (3, 8), "string": (4, 0), "categorical": (5, 4), "timestamp": (6, 8)}


def check_modality(tag, what):
    """kind, type, width and dim (None but for vectors)."""
    segment, value = "[a-z0-9][a-z0-9-]*", "[A-Za-z0-9][A-Za-z0-9._-]*"
    must(len(tag) <= 255 and re.fullmatch(rf"{segment}(\.{segment})*(;{segment}={value})*", tag), "Corrupt",
         f"{what}: modality {tag!r}")
    if re.fullmatch(r"(image|video|audio)\.[a-z0-9][a-z0-9-]{0,63}", tag):
        return 3, 8, 0, None
    vector = re.fullmatch(r"vector\.f32;dim=([1-9][0-9]*)", tag)
    if vector:
        dim = int(vector[1])
        must(1 <= dim <= 65_536, "Corrupt", f"{what}: dim {dim}")
        return 2, 7, 4 * dim, dim
    must(tag.startswith("scalar.") and tag[7:] in SCALARS, "UnsupportedVersion", f"{what}: modality {tag!r}")
    return 1, *SCALARS[tag[7:]], None


def check_wish(x, algorithm, dim, what):
    """The codes that people asked for, 0001 §4."""
    if x == "none":
        return
    must(isinstance(x, dict), "Corrupt", f"{what}: {x!r}")
    name, metric = get(x, "algorithm", is_text, what), algorithm.rsplit("-", 1)[1]
    known = re.fullmatch(r"dreamdb\.(rabitq|pq)-(cosine|dot|l2)", name)
    must(known, "UnsupportedVersion", f"{what}: {name}")
    must(known[2] == metric, "Corrupt", f"{what}: {name} for {algorithm}")
    if known[1] == "rabitq":
        only_keys(x, ("algorithm", "bits"), what)
        get(x, "bits", lambda n: is_uint(n, 1, 8), what)
    else:
        only_keys(x, ("algorithm", "bits", "subspaces"), what)
        get(x, "bits", lambda n: is_uint(n) and n in (4, 8), what)
        get(x, "subspaces", lambda n: is_uint(n, 1, min(dim, 1024)), what)


def lasting(schema):
    """What of a schema no later Manifest may change, 0001 §6."""
    return {**schema, "fields": [{key: value for key, value in f.items() if key != "compressor"} for f in schema["fields"]]}


def check_schema(schema, what):
    must(isinstance(schema, dict), "Corrupt", f"{what}: schema is no map")
    only_keys(schema, ("fields", "nextId"), f"{what} schema")
    next_id = get(schema, "nextId", is_uint, what)
    fields = []
    for f in get(schema, "fields", is_list, what):
        must(isinstance(f, dict), "Corrupt", f"{what}: a field that is no map")
        id_ = get(f, "id", is_uint, what)
        name = get(f, "name", is_text, what)
        must(re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,127}", name), "Corrupt", f"{what}: field name {name!r}")
        must(id_ < next_id, "Corrupt", f"{what}: field id {id_}, nextId {next_id}")
        kind, type_, width, dim = check_modality(get(f, "modality", is_text, what), what)
        required = get(f, "required", is_bool, what)
        algorithm = bits = rerank = None
        allowed = ["id", "name", "modality", "required"]
        if dim is not None:
            algorithm = get(f, "algorithm", is_text, what)
            must(algorithm in ALGORITHMS, "UnsupportedVersion", f"{what}: {algorithm}")
            rerank = get(f, "rerank", is_bool, what)
            allowed += ["algorithm", "rerank"]
            if algorithm == "dreamdb.lsh-cosine":
                bits = get(f, "bits", lambda x: is_uint(x, 1, 24), what)
                allowed.append("bits")
            elif algorithm not in VAMANA:
                allowed.append("compressor")
                check_wish(f.get("compressor", "none"), algorithm, dim, f"{what} field {name} compressor")
        elif kind == 1:
            allowed.append("index")
            must(f.get("index", True) is True, "Corrupt", f"{what}: index {f.get('index')!r}")
        only_keys(f, allowed, f"{what} field {name}")
        fields.append(Field(id_, name, f["modality"], required, kind, type_, width, dim, algorithm, bits, rerank, kind == 1 and "index" in f))
    must(len({f.id for f in fields}) == len(fields), "Corrupt", f"{what}: two fields of one id")
    must(len({f.name for f in fields}) == len(fields), "Corrupt", f"{what}: two fields of one name")
    return fields


# -------------------------------------------------------------------------------------------------- spatial index (0004)

def known_answers():
    """The vectors of 0004 §3 and 0010 §3, so that a wrong cell or code is the dataset's fault."""
    key = bytes.fromhex("dad83242d02027d643b633ef2430a4ec366070850e322eed20eb1204537ac25c")
    planes = spatial.hyperplanes(key, 100, 12)
    expected = "bc6e09be4a2d1f7bd100d671ea90b50c7480055e64675ca6aef01817f3b96cf8"
    parts.expect(planes.astype("<f4").tobytes(), bytes.fromhex(expected), "hyperplanes of 0004 §3")
    vector = np.array([[(37 * k % 101 - 50) / 64 for k in range(100)]], np.float32)
    margins = spatial.folds(vector, planes).astype(">f4").tobytes().hex()
    must(margins == "bd50aa4a3e89345cbd872d163cd452a7bf5ceb003f5358cebe20d61c3e94b05a3d4517f5beff37e93f17431fbf0f86bd",
         "InvalidArgument", "margins of 0004 §3")
    must(spatial.Lsh(100, 12, 1, key).cells_of(vector, 0)[0] == 1450, "InvalidArgument", "cell of 0004 §3")
    for dim, seed, digest in (
        (100, "9d463f15d35e12bc724d9722e57d9757a1ee3f363834ab6f5f91c35223dcc2d8", "2836fd207da36e2b933f28774d669f9268a5f4bbf004ca2c4e4d3ec545b60b49"),
        (300, "fa0b5bc642559d8d5250a44b03e23faeba05a12112c99d75ca08a2f410573c55", "9062e742653d63c88da845598dbccbd0ee6068b1bdad762833fa780f0d3e7f12"),
    ):
        x = np.array([[(37 * k % 101 - 50) / 64 for k in range(dim)]], np.float32)
        rotated = spatial.rotation(dim, bytes.fromhex(seed)).rotate(x)
        parts.expect(rotated.astype("<f4").tobytes(), bytes.fromhex(digest), f"rotation of {dim} components of 0010 §3")


def check_table_ref(x, what):
    must(is_list(x) and len(x) == 2, "Corrupt", f"{what}: no address and length")
    must(is_uint(x[1], 64, MAX_OBJECT), "Corrupt", f"{what}: length {x[1]}")
    return address(x[0], what), x[1]


def read_centroids(directory, ref, dim, what):
    """A Centroids object, 0007 §9: vectors x dim f32, as many as its length says."""
    data = directory.read(ref[0], what, ref[1])
    magic, version, flags, cells, width = struct.unpack_from("<4sHHII", data)
    must(magic == b"DDBK", "Corrupt", f"{what}: magic {magic}")
    must(version >= 1, "Corrupt", f"{what}: version 0")
    must(version == 1 and flags == 0, "UnsupportedVersion", f"{what}: version {version}, flags {flags}")
    must(width == dim and cells >= 1 and len(data) == 64 + 4 * cells * dim, "Corrupt", f"{what}: {cells} x {width} in {len(data)} bytes, dim {dim}")
    must(zeros(data, 16, 64), "Corrupt", f"{what}: reserved bytes")
    values = np.frombuffer(data, "<f4", offset=64).reshape(cells, dim).astype(np.float32)
    must(np.isfinite(values).all(), "Corrupt", f"{what}: a value that is not finite")
    return values


class GraphOf:
    """What the SpatialIndex of a Track with a graph says, 0013 §7."""

    trained = False

    def __init__(self, digest, length, rows):
        self.digest, self.length, self.rows = digest, length, rows


def check_spatial_index(directory, data, field, what):
    """An index that knows its cells, or None before it is trained."""
    value = of_kind(data, "dreamdb.spatial-index", what)
    algorithm = get(value, "algorithm", is_text, what)
    must(algorithm in ALGORITHMS, "UnsupportedVersion", f"{what}: {algorithm}")
    must(algorithm == field.algorithm, "Corrupt", f"{what}: {algorithm}, the field says {field.algorithm}")
    dim = get(value, "dim", lambda x: is_uint(x, 1, 65_536), what)
    must(dim == field.dim, "Corrupt", f"{what}: dim {dim}, the field says {field.dim}")
    for parent in get(value, "parents", is_list, what):
        address(parent, f"{what} parent")
    common = ("kind", "version", "algorithm", "dim", "parents")
    if algorithm == "dreamdb.lsh-cosine":
        only_keys(value, common + ("bits", "tables", "seed"), what)
        bits = get(value, "bits", lambda x: is_uint(x, 1, 24), what)
        must(bits == field.bits, "Corrupt", f"{what}: bits {bits}, the field says {field.bits}")
        tables = get(value, "tables", lambda x: is_uint(x, 1, 16), what)
        return spatial.Lsh(dim, bits, tables, get(value, "seed", is_bytes(32), what))
    if algorithm in VAMANA and "graph" in value:
        only_keys(value, common + ("graph", "rows"), what)
        must("cells" not in value, "Corrupt", f"{what}: cells beside a graph")
        return GraphOf(*check_table_ref(value["graph"], f"{what} graph"), get(value, "rows", lambda x: is_uint(x, 1), what))
    must(dim >= 2 or algorithm in IVF or algorithm in VAMANA, "Corrupt", f"{what}: dim {dim} with {algorithm}")
    if "centroids" not in value:
        only_keys(value, common + ("cells",), what)
        get(value, "cells", lambda x: is_uint(x, 1, 1), what)
        return None
    cells = get(value, "cells", lambda x: is_uint(x, 1), what)
    get(value, "seed", is_bytes(32), what)
    get(value, "sample", is_uint, what)
    get(value, "iterations", is_uint, what)
    keys = common + ("cells", "centroids", "seed", "sample", "iterations")
    if algorithm in IVF:
        only_keys(value, keys + ("exponent",), what)
        low, high = (0, 0) if algorithm == "dreamdb.ivf-cosine" else (-126, 149)
        exponent = get(value, "exponent", lambda x: is_uint(x, low, high), what)
        tables = [read_centroids(directory, check_table_ref(value["centroids"], what), dim, f"{what} centroids")]
    else:
        only_keys(value, keys, what)
        must(is_list(value["centroids"]) and len(value["centroids"]) == 2 <= dim, "Corrupt", f"{what}: centroids")
        halves, exponent = (-(-dim // 2), dim // 2), 0
        tables = [read_centroids(directory, check_table_ref(x, what), half, f"{what} centroids") for x, half in zip(value["centroids"], halves)]
    index = spatial.Trained(spatial.metric_of(algorithm), exponent, tables)
    must(index.cells == cells <= MAX_ROWS, "Corrupt", f"{what}: cells {cells}, there are {index.cells} of the centroids")
    return index


def check_compressor(directory, data, field, what):
    """A VectorCompressor, 0010 §2, that can make codes."""
    value = of_kind(data, "dreamdb.vector-compressor", what)
    algorithm = get(value, "algorithm", is_text, what)
    known = re.fullmatch(r"dreamdb\.(rabitq|pq)-(cosine|dot|l2)", algorithm)
    must(known, "UnsupportedVersion", f"{what}: {algorithm}")
    family, metric = known.groups()
    must(metric == spatial.metric_of(field.algorithm), "Corrupt", f"{what}: {algorithm} with {field.algorithm}")
    dim = get(value, "dim", is_uint, what)
    must(dim == field.dim, "Corrupt", f"{what}: dim {dim}, the field says {field.dim}")
    for parent in get(value, "parents", is_list, what):
        address(parent, f"{what} parent")
    common = ("kind", "version", "algorithm", "dim", "parents", "bits")
    if family == "rabitq":
        only_keys(value, common + ("rotation", "padded", "seed"), what)
        bits = get(value, "bits", lambda x: is_uint(x, 1, 8), what)
        rotation = get(value, "rotation", is_text, what)
        must(rotation in ("dense", "hadamard"), "UnsupportedVersion", f"{what}: rotation {rotation}")
        must((rotation == "dense") == (dim <= 128), "Corrupt", f"{what}: rotation {rotation} with dim {dim}")
        must(value.get("padded") == spatial.padded_dim(dim), "Corrupt", f"{what}: padded {value.get('padded')}")
        return spatial.Rabitq(metric, dim, bits, get(value, "seed", is_bytes(32), what))
    only_keys(value, common + ("subspaces", "codebooks"), what)
    bits = get(value, "bits", lambda x: is_uint(x) and x in (4, 8), what)
    runs = get(value, "subspaces", lambda x: is_uint(x, 1, min(dim, 1024)), what)
    books = read_centroids(directory, check_table_ref(value.get("codebooks"), what), dim, f"{what} codebooks")
    must(len(books) == 1 << bits, "Corrupt", f"{what}: {len(books)} codewords, expected {1 << bits}")
    return spatial.Pq(metric, runs, bits, books)


# --------------------------------------------------------------------------------------------------- indexes (0007 §5)

Batch = namedtuple("Batch", "base span rows anchors columns scalars")
Segment = namedtuple("Segment", "base span rows container")


class Indexes:
    """Reads Index roots and pages. A page's content depends on nothing outside, so each is read once."""

    def __init__(self, directory):
        self.directory, self.pages, self.sizes = directory, {}, {}
        # What each entry was read from, its first tick in full: redactions are keyed by it.
        self.raw = {}

    def root(self, x, of, what):
        must(isinstance(x, dict), "Corrupt", f"{what}: no map")
        only_keys(x, ("pages", "entries", "rows"), what)
        rows = get(x, "rows", is_uint, what)
        refs = get(x, "pages", is_list, what)
        entries, levels = [], []
        for level, page in self.page_refs(refs, of, None, what):
            entries += page[0]
            levels.append(level)
        newest = self.entries(get(x, "entries", is_list, what), of, what)
        writer(len(newest) < 64, f"{what}: {len(newest)} entries in the root")
        writer(levels == sorted(levels, reverse=True), f"{what}: levels of pages {levels}")
        writer(all(levels.count(level) < 64 for level in set(levels)), f"{what}: 64 pages of one level")
        entries += newest
        total = sum(entry.rows for entry in entries)
        must(total == rows, "Corrupt", f"{what}: rows {rows}, the entries have {total}")
        return entries

    def page_refs(self, items, of, level, what):
        tick, found = 0, []
        for i, x in enumerate(items):
            at = f"{what} page {i}"
            must(isinstance(x, list) and len(x) == 6, "Corrupt", f"{at}: no PageRef")
            must(is_uint(x[0], 0, 16) and (level is None or x[0] == level), "Corrupt", f"{at}: level {x[0]}")
            digest = address(x[1], at)
            must(is_uint(x[2], 0, MAX_PAGE), "Corrupt", f"{at}: length {x[2]}")
            tick = self.interval(tick, x[3], x[4], x[5], MAX_COUNT, at, 16 if of == "segments" else 1)
            page = self.page(digest, x[2], of, x[0], at)
            must((tick, x[4], x[5]) == page[1:], "Corrupt", f"{at}: interval and rows {(tick, x[4], x[5])}, its entries' {page[1:]}")
            found.append((x[0], page))
        return found

    def page(self, digest, length, of, level, what):
        key = (digest, of, level)
        if key not in self.pages:
            data = self.directory.read(digest, what, length, MAX_PAGE)
            value = of_kind(data, "dreamdb.index-page", what)
            only_keys(value, ("kind", "version", "of", "level", "entries"), what)
            must(get(value, "of", is_text, what) == of, "Corrupt", f"{what}: of {value['of']}, expected {of}")
            must(get(value, "level", is_uint, what) == level, "Corrupt", f"{what}: level {value['level']}, expected {level}")
            items = get(value, "entries", is_list, what)
            must(1 <= len(items) <= 256, "Corrupt", f"{what}: {len(items)} entries")
            writer(len(items) == 64 or len(items) < 64 and len(data) * (len(items) + 2) > MAX_PAGE * len(items),
                   f"{what}: closed at {len(items)} entries and {len(data)} bytes")
            if level == 0:
                entries = self.entries(items, of, what)
                runs = [entry[:3] for entry in entries]
            else:
                children = [page for _, page in self.page_refs(items, of, level - 1, what)]
                entries = [entry for child in children for entry in child[0]]
                runs = [child[1:] for child in children]
            first = min(run[0] for run in runs)
            last = max(run[0] + run[1] for run in runs)
            self.pages[key] = (entries, first, last - first, sum(run[2] for run in runs))
        must(os.path.getsize(self.directory.path(digest, what)[1]) == length, "HashMismatch", f"{what}: length {length}")
        return self.pages[key]

    def interval(self, before, difference, span, rows, most, what, tables=1):
        must(is_uint(difference, -MAX_TICK, MAX_TICK), "Corrupt", f"{what}: difference {difference}")
        tick = before + difference
        must(0 <= tick <= MAX_TICK, "Corrupt", f"{what}: tick {tick}")
        must(is_uint(span, 0, MAX_TICK - tick), "Corrupt", f"{what}: span {span} from {tick}")
        must(is_uint(rows, 1, most), "Corrupt", f"{what}: rows {rows}")
        must(tables * (span + 1) >= rows, "Corrupt", f"{what}: {rows} rows in span {span}")
        return tick

    def entries(self, items, of, what):
        tick, found = 0, []
        for i, x in enumerate(items):
            at = f"{what} entry {i}"
            must(isinstance(x, list) and len(x) in ((5, 6) if of == "timeline" else (4,)), "Corrupt", f"{at}: not {of}")
            tick = self.interval(tick, x[0], x[1], x[2], MAX_ROWS, at)
            if of == "segments":
                found.append(Segment(tick, x[1], x[2], check_container_ref(x[3], at)))
                self.raw[found[-1]] = [tick, *x[1:]]
                continue
            if isinstance(x[3], list):
                anchors = check_container_ref(x[3], f"{at} anchors")
            else:
                anchors = x[3]
                must(is_uint(anchors, 0, MAX_TICK), "Corrupt", f"{at}: step {anchors}")
                must((anchors == 0) == (x[2] == 1), "Corrupt", f"{at}: step {anchors} with {x[2]} rows")
                must(anchors * (x[2] - 1) == x[1], "Corrupt", f"{at}: step {anchors}, {x[2]} rows, span {x[1]}")
            must(isinstance(x[4], dict) and all(is_uint(key) for key in x[4]), "Corrupt", f"{at}: columns")
            columns = tuple((key, check_container_ref(ref, f"{at} column {key}")) for key, ref in x[4].items())
            scalar_index = check_container_ref(x[5], f"{at} ScalarIndex") if len(x) == 6 else None
            found.append(Batch(tick, x[1], x[2], anchors, columns, scalar_index))
            self.raw[found[-1]] = [tick, *x[1:]]
        return found


# ------------------------------------------------------------------------------------------------ containers (0007 §3)

Block = namedtuple("Block", "offset bytes first rows presence offsets values")


def column_parts(data):
    blocks, = struct.unpack_from("<I", data, 16)
    for i in range(blocks):
        offset, length, _ = struct.unpack_from("<QII", data, 48 + 48 * i)
        yield f"block {i}", offset, offset + length, data[64 + 48 * i:96 + 48 * i]


class Column:
    """A verified column container. kind, type, width and rows are those the batch and the field say."""

    def __init__(self, directory, ref, kind, type_, width, rows, what):
        self.what, self.ref = f"{what}, {text_address(ref.digest)}", ref
        self.data = data = directory.read(ref.digest, what, ref.length, explain=explain_container(ref, column_parts))
        what = self.what
        must(len(data) >= 48, "Corrupt", f"{what}: {len(data)} bytes")
        magic, version, k, t, r, w, blocks, dict_bytes, dict_count, flags, head_bytes, total = struct.unpack_from("<4sHBBIIIIIIQQ", data)
        must(magic == b"DDBC", "Corrupt", f"{what}: magic {magic}")
        must(version >= 1, "Corrupt", f"{what}: version 0")
        must(version == 1, "UnsupportedVersion", f"{what}: version {version}")
        must(flags & ~1 == 0, "UnsupportedVersion", f"{what}: flags {flags}")
        must((k, t, w, r) == (kind, type_, width, rows), "Corrupt",
             f"{what}: kind, type, width, rows {(k, t, w, r)}, expected {(kind, type_, width, rows)}")
        must(1 <= blocks <= rows, "Corrupt", f"{what}: {blocks} blocks")
        must(type_ == 5 or dict_bytes == dict_count == 0, "Corrupt", f"{what}: a dictionary")
        must(kind != 4 or flags == 0, "Corrupt", f"{what}: anchors with flags")
        must(head_bytes == pad(48 + 48 * blocks + dict_bytes) <= len(data), "Corrupt", f"{what}: headBytes {head_bytes}")
        must(total == len(data), "Corrupt", f"{what}: totalBytes {total}, {len(data)} are there")
        check_ref_form(ref, data, head_bytes, blocks, what)
        self.type, self.width, self.rows, self.flags = type_, width, rows, flags
        self.zero_vectors = False
        self.read_table(blocks, head_bytes)
        self.read_dictionary(48 + 48 * blocks, dict_bytes, dict_count)
        writer(zeros(data, 48 + 48 * blocks + dict_bytes, head_bytes), f"{what}: padding of the head is not zero")

    def read_table(self, blocks, head_bytes):
        data, what = self.data, self.what
        table = [struct.unpack_from("<QII32s", data, 48 + 48 * i) for i in range(blocks)]
        counts = table_rows([row[2] for row in table], self.rows, f"{what} block table")
        self.blocks, expected = [], head_bytes
        for i, ((offset, length, first, digest), n) in enumerate(zip(table, counts)):
            at = f"{what} block {i}"
            must(offset == expected and offset + length <= len(data), "Corrupt", f"{at}: offset {offset}, {length} bytes")
            if i:
                writer(zeros(data, self.blocks[-1].offset + self.blocks[-1].bytes, offset), f"{at}: padding before it is not zero")
            presence = 8 * -(-n // 64) if self.flags else 0
            offsets = 4 * (n + 1) if self.width == 0 else 0
            start = offset + presence + offsets
            must(length >= presence + offsets, "Corrupt", f"{at}: {length} bytes for {n} rows")
            if self.width:
                must(length == presence + n * self.width, "Corrupt", f"{at}: {length} bytes for {n} rows")
            else:
                ends = struct.unpack_from(f"<{n + 1}I", data, offset + presence)
                must(ends[0] == 0 and all(map(operator.le, ends, ends[1:])), "Corrupt", f"{at}: offsets out of order")
                must(length == presence + offsets + ends[-1], "Corrupt", f"{at}: {length} bytes, offsets end at {ends[-1]}")
            parts.expect(data[offset:offset + length], digest, at)
            self.blocks.append(Block(offset, length, first, n, offset, offset + presence, start))
            expected = pad(offset + length)
        must(self.blocks[-1].offset + self.blocks[-1].bytes == len(data), "Corrupt", f"{what}: bytes after the last block")
        self.firsts = [block.first for block in self.blocks]

    def read_dictionary(self, at, size, count):
        self.dictionary, end = [], at + size
        for _ in range(count):
            must(at + 4 <= end, "Corrupt", f"{self.what}: the dictionary ends early")
            length, = struct.unpack_from("<I", self.data, at)
            must(at + 4 + length <= end, "Corrupt", f"{self.what}: the dictionary ends early")
            self.dictionary.append(self.data[at + 4:at + 4 + length])
            at += 4 + length
        must(at == end, "Corrupt", f"{self.what}: bytes after the dictionary")
        must(all(map(operator.lt, self.dictionary, self.dictionary[1:])), "Corrupt", f"{self.what}: the dictionary is out of order")
        self.texts = [self.utf8(entry) for entry in self.dictionary]

    def utf8(self, data):
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            raise Bad("Corrupt", f"{self.what}: malformed UTF-8") from None

    def present(self, block, r):
        return not self.flags or self.data[block.presence + (r >> 3)] >> (r & 7) & 1 == 1

    def slice(self, row):
        """Where the value of a row is, or None when it is absent."""
        block = self.blocks[bisect.bisect_right(self.firsts, row) - 1]
        r = row - block.first
        if not self.present(block, r):
            return None
        if self.width:
            return block.values + r * self.width, block.values + (r + 1) * self.width
        a, b = struct.unpack_from("<2I", self.data, block.offsets + 4 * r)
        return block.values + a, block.values + b

    def raw(self, row):
        at = self.slice(row)
        return None if at is None else self.data[at[0]:at[1]]

    def mask(self):
        """Which rows have a value."""
        if not self.flags:
            return np.ones(self.rows, bool)
        return np.array([self.present(block, r) for block in self.blocks for r in range(block.rows)], bool)

    def matrix(self):
        """Every row's vector; zeros for those that have none."""
        runs = [np.frombuffer(self.data, "<f4", block.rows * self.width // 4, block.values) for block in self.blocks]
        return np.concatenate(runs).reshape(self.rows, self.width // 4)

    def json(self, row):
        """The value as it stands in a dump; None when it is absent."""
        raw = self.raw(row)
        if raw is None:
            return None
        if self.type == 1:
            return raw == b"\1"
        if self.type == 2:
            value = int.from_bytes(raw, "little", signed=True)
            return value if abs(value) <= MAX_COUNT else str(value)
        if self.type == 4:
            return self.utf8(raw)
        if self.type == 5:
            return self.texts[int.from_bytes(raw, "little")]
        if self.type == 6:
            return str(int.from_bytes(raw, "little", signed=True))
        if self.type == 8:
            return hashlib.sha256(raw).hexdigest()
        return raw.hex()

    def check(self):
        """Every value. Gives the number of present rows."""
        present = 0
        used = set()
        for i, block in enumerate(self.blocks):
            present += self.check_block(block, f"{self.what} block {i}", used)
        if self.flags:
            writer(0 < present < self.rows, f"{self.what}: presence bitmaps with {present} of {self.rows} present")
        if self.type == 5:
            writer(used == set(range(len(self.dictionary))), f"{self.what}: dictionary entries that do not occur")
        self.check_cut()
        return present

    def check_block(self, block, at, used):
        data, n, width = self.data, block.rows, self.width
        absent = []
        if self.flags:
            bits = int.from_bytes(data[block.presence:block.offsets], "little")
            must(bits >> n == 0, "Corrupt", f"{at}: presence bits beyond its rows")
            absent = [r for r in range(n) if not bits >> r & 1] if bits.bit_count() < n else []
        values = data[block.values:block.offset + block.bytes]
        if width:
            must(all(zeros(values, r * width, (r + 1) * width) for r in absent), "Corrupt", f"{at}: an absent row is not zeros")
        else:
            ends = struct.unpack_from(f"<{n + 1}I", data, block.offsets)
            must(all(ends[r] == ends[r + 1] for r in absent), "Corrupt", f"{at}: an absent row is not empty")
            if self.type == 4:
                for a, b in zip(ends, ends[1:]):
                    self.utf8(values[a:b])
        if self.type == 1:
            must(not values.translate(None, b"\0\1"), "Corrupt", f"{at}: a bool above 1")
        elif self.type == 3:
            must(all(map(math.isfinite, struct.unpack(f"<{n}d", values))), "Corrupt", f"{at}: a float that is not finite")
        elif self.type == 5:
            codes = struct.unpack(f"<{n}I", values)
            gone = set(absent)
            present = {code for r, code in enumerate(codes) if r not in gone}
            must(max(present, default=-1) < len(self.dictionary), "Corrupt", f"{at}: a code beyond the dictionary")
            used |= present
        elif self.type == 7:
            # A sum in f64 of so few f32 can't overflow: it is finite exactly when all of them are.
            must(math.isfinite(sum(struct.unpack(f"<{len(values) // 4}f", values))), "Corrupt", f"{at}: a component that is not finite")
            gone = set(absent)
            must(self.zero_vectors or all(r in gone or not zeros(values, r * width, (r + 1) * width) for r in range(n)), "Corrupt",
                 f"{at}: a vector of zeros")
        return n - len(absent)

    def check_cut(self):
        if self.width:
            size = max(1, KIB64 // self.width)
            right = list(range(0, self.rows, size))
        else:
            right, held = [], 0
            for block in self.blocks:
                ends = struct.unpack_from(f"<{block.rows + 1}I", self.data, block.offsets)
                for r in range(block.rows):
                    length = ends[r + 1] - ends[r]
                    if not right or held + length > KIB64:
                        right.append(block.first + r)
                        held = 0
                    held += length
        writer(self.firsts == right, f"{self.what}: blocks begin at rows {self.firsts[:9]}, the rule says {right[:9]}")


def anchors_of(directory, batch, what):
    """Offsets of a batch's rows from its base: a range, or a list."""
    if isinstance(batch.anchors, int):
        return range(0, batch.span + 1, batch.anchors or 1)
    column = Column(directory, batch.anchors, 4, 9, 8, batch.rows, f"{what} anchors")
    column.check()
    offsets = []
    for block in column.blocks:
        offsets += struct.unpack_from(f"<{block.rows}Q", column.data, block.values)
    must(offsets[0] == 0 and offsets[-1] == batch.span, "Corrupt", f"{column.what}: {offsets[0]} … {offsets[-1]}, span {batch.span}")
    must(all(map(operator.lt, offsets, offsets[1:])), "Corrupt", f"{column.what}: anchors out of order")
    step = offsets[1] - offsets[0] if len(offsets) > 1 else 0
    writer(any(b - a != step for a, b in zip(offsets, offsets[1:])), f"{column.what}: evenly spaced anchors without a step")
    return offsets


# ----------------------------------------------------------------------------------- earlier indexes (0004 §10)

Lineage = namedtuple("Lineage", "digest item earlier since")


def check_lineage(directory, x, field, index, what):
    """A CellLineage: which rows count of segments that name an earlier SpatialIndex."""
    must(index is not None and field.algorithm in IVF, "Corrupt", f"{what}: beside {field.algorithm} that is not trained, or never")
    must(is_list(x) and len(x) == 2 and is_uint(x[1], 1, MAX_CBOR), "Corrupt", f"{what}: no address and length")
    digest = address(x[0], what)
    value = of_kind(directory.read(digest, what, x[1], MAX_CBOR), "dreamdb.cell-lineage", what)
    only_keys(value, ("kind", "version", "earlier", "since"), what)
    earlier = tuple(address(item, f"{what} earlier {i}") for i, item in enumerate(get(value, "earlier", is_list, what)))
    must(1 <= len(earlier) <= 255, "Corrupt", f"{what}: {len(earlier)} earlier indexes")
    must(len(set(earlier)) == len(earlier), "Corrupt", f"{what}: an earlier index twice")
    since = get(value, "since", is_bytes(), what)
    must(len(since) == index.cells, "Corrupt", f"{what}: {len(since)} cells, the index has {index.cells}")
    must(max(since) <= len(earlier), "Corrupt", f"{what}: generation {max(since)} of {len(earlier)}")
    return Lineage(digest, x[0], earlier, since)


def hidden_cells(track, named, numbers, what):
    """Whether each of a segment's cells does not count, and whether the segment is of an earlier index."""
    if named == track.index:
        return [False] * len(numbers), False
    must(track.lineage is not None and named in track.lineage.earlier, "LineageMismatch", f"{what}: of another SpatialIndex {named.hex()}")
    generation, since = track.lineage.earlier.index(named), track.lineage.since
    return [not (cell < len(since) and generation >= since[cell]) for cell in numbers], True


# -------------------------------------------------------------------------------------------------- segments (0007 §4)

def segment_parts(data):
    flags, = struct.unpack_from("<H", data, 6)
    rows, dim, cells, blocks = struct.unpack_from("<4I", data, 8)
    anchors, size, codes, codes_size = struct.unpack_from("<4Q", data, 128)
    vectors, vectors_size = struct.unpack_from("<QQ", data, 176)
    at, width = 200 + 8 * cells, 104 if flags & 2 else 72
    table = [struct.unpack_from("<II32s32s", data, at + width * i) for i in range(blocks)] + [(rows, size, b"", b"")]
    for i in range(blocks):
        yield f"anchors of block {i}", anchors + table[i][1], anchors + table[i + 1][1], table[i][2]
        for name, start, total, digest in (("vectors", vectors, vectors_size, table[i][3]),
                                           ("codes", codes, codes_size, data[at + width * i + 72:at + width * i + 104])):
            if total:
                yield f"{name} of block {i}", start + total // rows * table[i][0], start + total // rows * table[i + 1][0], digest


def check_segment(directory, entry, field, track, find_rows, sample, what):
    """A segment against the columns it was made from. `find_rows` gives, for ticks, their vectors in the columns.
    Returns its table, the ticks of its rows that count, how many rows were computed, whether it has vectors and codes, and whether it names an
    earlier index."""
    ref, index = entry.container, track.spatial
    data = directory.read(ref.digest, what, ref.length, explain=explain_container(ref, segment_parts))
    what = f"{what}, {text_address(ref.digest)}"
    must(len(data) >= 200, "Corrupt", f"{what}: {len(data)} bytes")
    magic, version, flags, rows, dim, cells, blocks = struct.unpack_from("<4sHHIIII", data)
    lineage, compressor, reserved = struct.unpack_from("<34s34sI", data, 24)
    (head_bytes, total, cell_table, block_table, anchors, anchors_bytes, codes, codes_bytes, reserved2, reserved3,
     vectors, vectors_bytes, reserved4) = struct.unpack_from("<13Q", data, 96)
    must(magic == b"DDBS", "Corrupt", f"{what}: magic {magic}")
    must(version >= 1, "Corrupt", f"{what}: version 0")
    must(version == 1, "UnsupportedVersion", f"{what}: version {version}")
    must(flags & ~3 == 0, "UnsupportedVersion", f"{what}: flags {flags}")
    must(rows >= entry.rows >= 1, "Corrupt", f"{what}: rows {rows}, the entry says {entry.rows}")
    must(dim == field.dim, "Corrupt", f"{what}: dim {dim}")
    must(lineage[:2] == b"\x1e\x20", "Corrupt", f"{what}: SpatialIndex {lineage.hex()}")
    own = b"\x1e\x20" + track.compressor if track.compressor else bytes(34)
    must(compressor == own, "LineageMismatch", f"{what}: of another VectorCompressor {compressor.hex()}")
    must(reserved == reserved2 == reserved3 == reserved4 == 0, "Corrupt", f"{what}: reserved bytes are not zero")
    must(1 <= cells <= rows and 1 <= blocks <= rows, "Corrupt", f"{what}: {cells} cells, {blocks} blocks")
    must((cell_table, block_table) == (200, 200 + 8 * cells), "Corrupt", f"{what}: tables at {cell_table}, {block_table}")
    has_vectors, has_codes = flags & 1 == 1, flags & 2 == 2
    must(has_vectors == field.rerank, "Corrupt", f"{what}: flags {flags}, rerank {field.rerank}")
    must(has_codes == (track.compressor is not None), "Corrupt", f"{what}: flags {flags}, {'a' if track.compressor else 'no'} compressor")
    width = 104 if has_codes else 72
    tables_end = 200 + 8 * cells + width * blocks
    must(head_bytes == pad(tables_end) <= len(data), "Corrupt", f"{what}: headBytes {head_bytes}")
    must(anchors == head_bytes and anchors + anchors_bytes <= len(data), "Corrupt", f"{what}: anchors at {anchors}, {anchors_bytes} bytes")
    w = track.codes.row_bytes if has_codes else 0
    end, paddings, sections = anchors + anchors_bytes, [(tables_end, head_bytes)], []
    for name, there, start, size, row_bytes in (("codes", has_codes, codes, codes_bytes, w), ("vectors", has_vectors, vectors, vectors_bytes, 4 * dim)):
        expected = (pad(end), row_bytes * rows) if there else (0, 0)
        must((start, size) == expected, "Corrupt", f"{what}: {name} at {(start, size)}, expected {expected}")
        if there:
            sections.append((name, start, row_bytes))
            paddings.append((end, start))
            end = start + size
    must(total == end == len(data), "Corrupt", f"{what}: totalBytes {total}, sections end at {end}, {len(data)} are there")
    check_ref_form(ref, data, head_bytes, blocks, what)
    writer(all(zeros(data, *padding) for padding in paddings), f"{what}: padding is not zero")

    table = [struct.unpack_from("<II", data, cell_table + 8 * i) for i in range(cells)]
    cell_rows = table_rows([first for _, first in table], rows, f"{what} cell table")
    numbers = [cell for cell, _ in table]
    hidden, is_earlier = hidden_cells(track, lineage[2:], numbers, what)
    counted = sum(n for n, gone in zip(cell_rows, hidden) if not gone)
    must(counted == entry.rows, "Corrupt", f"{what}: {counted} rows that count, the entry says {entry.rows}")
    # An earlier index may have had more cells; it had one table, as all that take steps.
    limit = MAX_ROWS if is_earlier else index.cells
    must(all(map(operator.lt, numbers, numbers[1:])) and numbers[-1] < limit, "Corrupt", f"{what}: cells out of order or range")
    per_table = limit // index.tables
    must(numbers[0] // per_table == numbers[-1] // per_table, "Corrupt", f"{what}: cells of tables {numbers[0] // per_table} and {numbers[-1] // per_table}")
    block_rows = [struct.unpack_from("<II32s32s", data, block_table + width * i) for i in range(blocks)]
    firsts = [row[0] for row in block_rows]
    block_counts = table_rows(firsts, rows, f"{what} block table")
    starts = [row[1] for row in block_rows]
    must(starts[0] == 0 and all(map(operator.lt, starts, starts[1:])) and starts[-1] < anchors_bytes, "Corrupt", f"{what}: anchorsOffset out of order")
    most = max(1, KIB64 // (4 * dim if has_vectors else max(8, w)))
    writer(firsts == cut_segment(cell_rows, most), f"{what}: blocks begin at rows {firsts[:9]}")
    for i, (first, start, anchors_hash, vectors_hash) in enumerate(block_rows):
        stop = starts[i + 1] if i + 1 < blocks else anchors_bytes
        parts.expect(data[anchors + start:anchors + stop], anchors_hash, f"{what} anchors of block {i}")
        hashes = {"vectors": vectors_hash, "codes": data[block_table + width * i + 72:block_table + width * i + 104]}
        for name, at, row_bytes in sections:
            part = data[at + row_bytes * first:at + row_bytes * (first + block_counts[i])]
            parts.expect(part, hashes[name], f"{what} {name} of block {i}")
        must(has_vectors or not any(vectors_hash), "Corrupt", f"{what}: a hash of vectors that are not there")

    # Every row's cell and anchor.
    cell_starts = {first: cell for cell, first in table}
    cell_of, anchor_of, cell, at = [], [], None, anchors
    for i in range(blocks):
        stop = anchors + (starts[i + 1] if i + 1 < blocks else anchors_bytes)
        must(at == anchors + starts[i], "Corrupt", f"{what}: varints of block {i - 1} do not fill it")
        for row in range(firsts[i], firsts[i] + block_counts[i]):
            value, at = varint(data, at, stop, what)
            new_cell = row in cell_starts
            cell = cell_starts.get(row, cell)
            if not new_cell and row != firsts[i]:
                must(value >= 1, "Corrupt", f"{what}: difference 0 at row {row}")
                value += anchor_of[-1]
            elif not new_cell:
                must(value > anchor_of[-1], "Corrupt", f"{what}: row {row} is not after the row before it in its cell")
            must(value <= entry.span, "Corrupt", f"{what}: offset {value} beyond span {entry.span}")
            cell_of.append(cell)
            anchor_of.append(value)
        must(at == stop, "Corrupt", f"{what}: varints of block {i} do not fill it")
    must(len(set(anchor_of)) == rows, "Corrupt", f"{what}: an anchor twice")

    # Rows that count are there, each with the column's bytes.
    count = np.flatnonzero(~np.repeat(hidden, cell_rows))
    anchor_of, cell_of = np.array(anchor_of, np.uint64)[count], np.array(cell_of, np.int64)[count]
    rows = len(count)
    ticks = anchor_of + np.uint64(entry.base)
    found, values = find_rows(ticks)
    must(found.all(), "Corrupt", f"{what}: no record at offset {[int(anchor_of[i]) for i in np.flatnonzero(~found)[:1]]} with a vector")
    if has_vectors:
        copies = np.frombuffer(data, np.uint8, vectors_bytes, vectors).reshape(-1, 4 * dim)[count]
        different = np.flatnonzero((copies != values.view(np.uint8).reshape(rows, 4 * dim)).any(axis=1))
        must(not len(different), "Corrupt", f"{what}: vector of row {different[:1]} is not the column's")

    # Cells and codes.
    n = rows if sample is None else min(sample, rows)
    chosen = np.unique(np.arange(n) * rows // n) if n else np.empty(0, np.int64)
    xs, cell_of = values[chosen], cell_of[chosen]
    if field.algorithm.endswith("-cosine"):
        square = spatial.own_folds(xs)
        none = np.flatnonzero(~((0 < square) & (square < math.inf)))
        must(not len(none), "Corrupt", f"{what}: the vector of row {chosen[none[:1]]} has no direction")
    # Where a row stands is for the index to say that its segment names; what its code is, also by a later one with the same centroid.
    right = cell_of if is_earlier else index.cells_of(xs, numbers[0] // per_table)
    wrong = np.flatnonzero(right != cell_of)
    for i in wrong[:1]:
        raise Bad("Corrupt", f"{what}: row {chosen[i]} stands in cell {cell_of[i]}, its vector in {right[i]}")
    must(True, "Corrupt", "cells")
    if has_codes:
        stored = np.frombuffer(data, np.uint8, codes_bytes, codes).reshape(-1, w)[count][chosen]
        for at in range(0, len(chosen), spatial.ROWS_AT_ONCE):
            run = slice(at, at + spatial.ROWS_AT_ONCE)
            made = track.codes.rows(index.space(xs[run]), index.centroids(cell_of[run]))
            wrong = np.flatnonzero((made != stored[run]).any(axis=1))
            if len(wrong):
                i = wrong[0]
                raise Bad("Corrupt", f"{what}: the code of row {chosen[at + i]} is {stored[at + i].tobytes().hex()}, its vector's {made[i].tobytes().hex()}")
        must(True, "Corrupt", "codes")
    return numbers[0] // per_table, ticks, len(chosen), has_vectors, has_codes, is_earlier


def cut_segment(cell_rows, most):
    """Where blocks begin, by 0007 §4."""
    starts, held, row = [], 0, 0
    for n in cell_rows:
        if not starts or held + n > most:
            starts.append(row)
            held = 0
        held += n
        row += n
        while held > most:
            starts.append(starts[-1] + most)
            held -= most
    return starts


# --------------------------------------------------------------------------------------------------- datasets

Manifest = namedtuple("Manifest", "digest genesis parents seq op op_id schema fields rows auto_high lane timeline tracks bytes")
Track = namedtuple("Track", "index spatial compressor codes segments lineage")


class Reader:
    def __init__(self, directory, sample):
        self.directory, self.sample = directory, sample
        self.indexes = Indexes(directory)
        self.manifests, self.geneses, self.spatial, self.codes = {}, {}, {}, {}
        self.done_batches, self.done_segments, self.done_graphs = {}, {}, {}
        self.ticks, self.columns, self.flat, self.tombstones, self.redactions = {}, {}, {}, {}, {}
        self.digests, self.updated = {}, set()
        self.counts = dict.fromkeys(("refs", "manifests", "records", "deleted", "batches", "columns", "scalar indexes", "trees", "segments", "with vectors", "with codes", "of earlier indexes", "with lineage", "rows computed", "graphs", "redacted"), 0)

    # Manifests

    def genesis(self, digest, what):
        if digest not in self.geneses:
            value = of_kind(self.directory.read(digest, what, limit=MAX_CBOR), "dreamdb.genesis", what)
            only_keys(value, ("kind", "version", "origin", "nonce", "name"), what)
            get(value, "origin", lambda x: is_uint(x, 0, MAX_TICK), what)
            get(value, "nonce", is_bytes(16), what)
            must(is_ref_name(get(value, "name", is_text, what)), "Corrupt", f"{what}: name {value['name']!r}")
            self.geneses[digest] = value
        return self.geneses[digest]

    def manifest(self, digest, what):
        if digest not in self.manifests:
            self.manifests[digest] = None
            self.manifests[digest] = self.read_manifest(digest, what)
            self.counts["manifests"] += 1
        if self.manifests[digest] is None:
            raise Broken
        return self.manifests[digest]

    def read_manifest(self, digest, what):
        data = self.directory.read(digest, what, limit=MAX_CBOR)
        what = f"Manifest {text_address(digest)}"
        m = of_kind(data, "dreamdb.manifest", what)
        only_keys(m, ("kind", "version", "genesis", "parents", "seq", "ts", "writer", "opId", "op", "schema", "rows", "autoHigh",
                      "lane", "timeline", "tracks"), what)
        genesis = address(m.get("genesis"), f"{what} genesis")
        self.genesis(genesis, f"Genesis of {what}")
        parents = [address(p, f"{what} parent") for p in get(m, "parents", is_list, what)]
        must(len(set(parents)) == len(parents), "Corrupt", f"{what}: a parent twice")
        seq = get(m, "seq", is_uint, what)
        get(m, "ts", time_anchor, what)
        get(m, "writer", is_text, what)
        op = get(m, "op", is_text, what)
        op_id = get(m, "opId", is_bytes(16), what)
        fields = check_schema(m.get("schema"), what)
        rows = get(m, "rows", is_uint, what)
        auto_high = get(m, "autoHigh", lambda x: is_uint(x, 0, MAX_TICK), what)
        lane = get(m, "lane", lambda x: is_uint(x, 0, 4095), what)
        must(isinstance(m.get("timeline"), dict) and m["timeline"].get("rows") == rows, "Corrupt", f"{what}: rows {rows}, not the timeline's")
        tracks = get(m, "tracks", lambda x: isinstance(x, dict), what)
        vectors = {f.id: f for f in fields if f.dim is not None}
        must(set(tracks) == set(vectors) and all(is_uint(key) for key in tracks), "Corrupt", f"{what}: tracks {sorted(map(str, tracks))}")
        read = {}
        for id_, field in vectors.items():
            track, at = tracks[id_], f"{what} track {field.name}"
            must(isinstance(track, dict), "Corrupt", f"{at}: no map")
            only_keys(track, ("spatialIndex", "inline", "segments", "compressor", "compressorInline", "lineage"), at)
            index = address(track.get("spatialIndex"), f"{at} spatialIndex")
            inline = get(track, "inline", is_bytes(), at)
            self.deleted(genesis)
            if index in self.redactions[genesis]["indexes"]:
                # A graph that covered a deleted record: the field is as if it had none.
                index, inline = self.redactions[genesis]["indexes"][index]
                must(get(track, "segments", lambda x: isinstance(x, dict), at).get("rows") == 0, "Corrupt", f"{at}: segments beside a graph")
            stored = self.directory.read(index, f"{at} SpatialIndex", limit=MAX_CBOR)
            must(stored == inline, "Corrupt", f"{at}: inline is not the SpatialIndex")
            if (index, field) not in self.spatial:
                self.spatial[index, field] = check_spatial_index(self.directory, inline, field, f"{at} SpatialIndex")
            own, compressor, codes = self.spatial[index, field], None, None
            if "compressor" in track or "compressorInline" in track:
                compressor = address(track.get("compressor"), f"{at} compressor")
                inline = get(track, "compressorInline", is_bytes(), at)
                must(self.directory.read(compressor, f"{at} VectorCompressor", limit=MAX_CBOR) == inline, "Corrupt",
                     f"{at}: compressorInline is not the VectorCompressor")
                must(own is not None and own.trained, "Corrupt", f"{at}: a compressor with an index that is not trained")
                if (compressor, field) not in self.codes:
                    self.codes[compressor, field] = check_compressor(self.directory, inline, field, f"{at} VectorCompressor")
                codes = self.codes[compressor, field]
            lineage = check_lineage(self.directory, track["lineage"], field, own, f"{at} lineage") if "lineage" in track else None
            self.counts["with lineage"] += lineage is not None
            read[id_] = Track(index, own, compressor, codes, track.get("segments"), lineage)
        return Manifest(digest, genesis, parents, seq, op, op_id, m["schema"], fields, rows, auto_high, lane, m["timeline"], read, len(data))

    def entries(self, m):
        """Batches and {field id: segments} of a Manifest, out of its Indexes. The last few are remembered."""
        if m.digest not in self.flat:
            while len(self.flat) > 8:
                self.flat.pop(next(iter(self.flat)))
            what = f"Manifest {text_address(m.digest)}"
            batches = self.indexes.root(m.timeline, "timeline", f"{what} timeline")
            segments = {id_: self.indexes.root(t.segments, "segments", f"{what} segments of field {id_}") for id_, t in m.tracks.items()}
            self.deleted(m.genesis)
            batches = self.followed(m.genesis, "timeline", batches, what)
            segments = {id_: self.followed(m.genesis, "segments", found, what, m.tracks[id_].lineage) for id_, found in segments.items()}
            self.flat[m.digest] = batches, segments
        return self.flat[m.digest]

    def followed(self, genesis, of, entries, what, lineage=None):
        """Entries, or what stands for them, 0020 §5. Segments of which nothing is left are not among them."""
        known = self.redactions[genesis][of]
        if not known:
            return entries
        # Of a segment that counts in part the lineage is in the key. Which those are does not show in entries: that key first, then the other.
        forms = [None] if lineage is None else [lineage, None]
        unknown = [(entry, form) for entry in entries for form in forms if (entry, form) not in self.digests]
        texts = [encode([*self.indexes.raw[entry], *([form.item] if form else [])]) for entry, form in unknown]
        self.digests.update(zip(unknown, digests_of(texts)))
        found = []
        for entry in entries:
            keys = [self.digests[entry, form] for form in forms if self.digests[entry, form] in known]
            if not keys:
                found.append(entry)
                continue
            other = known[keys[0]]
            self.counts["redacted"] += 1
            if other is not None:
                if of == "timeline":
                    must(entry[:4] == other[:4], "Corrupt", f"{what}: a redacted batch has other rows")
                found.append(other)
        return found

    def check_parents(self, m, what):
        parents = [self.manifest(p, f"parent of {what}") for p in m.parents]
        must(m.seq == (1 + max(p.seq for p in parents) if parents else 0), "Corrupt", f"{what}: seq {m.seq}")
        batches, segments = self.entries(m)
        if not parents:
            writer(m.auto_high == 0 or batches, f"{what}: autoHigh {m.auto_high} without records")
        for p in parents:
            must(p.genesis == m.genesis, "LineageMismatch", f"{what}: a parent of another Genesis")
            same = encode(lasting(p.schema)) == encode(lasting(m.schema))
            must(same or m.op in ("schema-update", "merge"), "Corrupt", f"{what}: the schema is not its parent's")
            must(m.schema["nextId"] >= p.schema["nextId"], "Corrupt", f"{what}: nextId {m.schema['nextId']}, its parent's {p.schema['nextId']}")
            if not same or p.digest in self.updated:
                self.updated.add(m.digest)
            writer(m.auto_high >= p.auto_high, f"{what}: autoHigh {m.auto_high}, its parent's {p.auto_high}")
        if len(parents) == 1:
            self.check_append(m, parents[0], batches, segments, what)

    def check_append(self, m, p, batches, segments, what):
        """What an append adds: batches after those of the parent, automatic anchors as 0003 §4 makes them."""
        before, segments_before = self.entries(p)
        if m.op == "compact":
            # 0020 §4; what a graph covers is in order apart from the rest.
            if not any("vamana" in (f.algorithm or "") for f in m.fields):
                ordered = all(a.base + a.span < b.base for a, b in zip(batches, batches[1:]))
                writer(ordered, f"{what}: compacted batches that are not in the order of time")
            writer(m.auto_high == p.auto_high, f"{what}: a compaction with another autoHigh")
            return
        writer(batches[:len(before)] == before, f"{what}: does not begin with its parent's batches")
        for id_, found in segments.items():
            if id_ not in segments_before:
                writer(m.op == "schema-update" and not found, f"{what}: a field that its parent does not have")
                continue
            if m.op == "append":
                own, other = m.tracks[id_], p.tracks[id_]
                same = (own.index, own.compressor, own.lineage) == (other.index, other.compressor, other.lineage)
                writer(same, f"{what}: an append with another SpatialIndex, VectorCompressor or lineage")
                writer(found[:len(segments_before[id_])] == segments_before[id_], f"{what}: does not begin with its parent's segments")
        if m.auto_high == p.auto_high:
            return
        new = batches[len(before):]
        writer(len(new) > 0 and new[-1].base + new[-1].span == m.auto_high - 1, f"{what}: autoHigh {m.auto_high} is not that of its last anchor")
        for batch in new:
            writer(batch.base >= p.auto_high and batch.base % 4096 == m.lane, f"{what}: automatic anchors from {batch.base}")
            if isinstance(batch.anchors, int):
                writer(batch.anchors % 4096 == 0, f"{what}: automatic anchors {batch.anchors} apart")

    # Deleted records, 0020

    def deleted(self, genesis):
        """Ticks that no read may return, of all branches of the Space."""
        if genesis not in self.tombstones:
            self.tombstones[genesis] = set()
            self.redactions[genesis] = {"timeline": {}, "segments": {}, "indexes": {}}
            key = f"meta/{text_address(genesis)}/registry"
            body = self.directory.cell(key)
            self.tombstones[genesis] = (guarded(key, self.read_registry, body, genesis, key) if body is not None else None) or set()
            self.counts["deleted"] += len(self.tombstones[genesis])
        return self.tombstones[genesis]

    def read_registry(self, body, genesis, what):
        value = of_kind(body, "dreamdb.registry", what)
        must(address(value.get("genesis"), f"{what} genesis") == genesis, "Corrupt", f"{what}: of another Space")
        get(value, "seq", is_uint, what)
        get(value, "writeId", is_bytes(16), what)
        lists = get(value, "tombstones", is_list, what)
        for i, item in enumerate(get(value, "redactions", is_list, what)):
            self.redaction_map(address(item, f"{what} redactions {i}"), genesis, f"{what} redactions {i}")
        writer(len(lists) <= 64, f"{what}: {len(lists)} lists")
        found = set()
        for i, item in enumerate(lists):
            at = f"{what} list {i}"
            must(is_list(item) and len(item) in (3, 4) and is_uint(item[1]) and is_uint(item[2]), "Corrupt", f"{at}: {str(item)[:80]}")
            digest = address(item[0], at)
            if len(item) == 4:
                must(is_bytes(item[1])(item[3]), "Corrupt", f"{at}: inline of another length")
                must(digests_of([item[3]]) == [digest], "HashMismatch", f"{at}: inline does not hash to its address")
                writer(len(item[3]) <= 8192, f"{at}: inline of {len(item[3])} bytes")
            anchors = self.tombstone_list(digest, genesis, at)
            must(len(anchors) == item[2], "Corrupt", f"{at}: {len(anchors)} anchors, not {item[2]}")
            found |= anchors
        return found

    def redaction_map(self, digest, genesis, what):
        """0020 §5.1."""
        value = of_kind(self.directory.read(digest, what, limit=MAX_CBOR), "dreamdb.redactions", what)
        only_keys(value, ("kind", "version", "genesis", "batches", "segments", "indexes"), what)
        must(address(value.get("genesis"), f"{what} genesis") == genesis, "Corrupt", f"{what}: of another Space")
        for name, of in (("batches", "timeline"), ("segments", "segments")):
            keys = []
            for x in get(value, name, is_list, what):
                must(is_list(x) and len(x) in (2, 3) and is_bytes(32)(x[0]) and is_uint(x[1]), "Corrupt", f"{what}: {name}")
                must(len(x) == 3 or of == "segments", "Corrupt", f"{what}: a batch without what stands for it")
                keys.append(x[0])
                other = self.indexes.entries([x[2]], of, what)[0] if len(x) == 3 else None
                self.redactions[genesis][of][x[0]] = other
            must(all(a < b for a, b in zip(keys, keys[1:])), "Corrupt", f"{what}: {name} out of order")
        for x in get(value, "indexes", is_list, what):
            must(is_list(x) and len(x) == 3 and is_bytes()(x[2]), "Corrupt", f"{what}: indexes")
            index = address(x[1], what)
            must(digests_of([x[2]]) == [index], "HashMismatch", f"{what}: inline does not hash to its address")
            self.redactions[genesis]["indexes"][address(x[0], what)] = index, x[2]

    def tombstone_list(self, digest, genesis, what):
        value = of_kind(self.directory.read(digest, what, limit=MAX_CBOR), "dreamdb.tombstones", what)
        only_keys(value, ("kind", "version", "genesis", "anchors", "reason", "ts", "of"), what)
        must(address(value.get("genesis"), f"{what} genesis") == genesis, "Corrupt", f"{what}: of another Space")
        anchors = get(value, "anchors", is_list, what)
        must(all(is_uint(a, 0, MAX_TICK) for a in anchors), "Corrupt", f"{what}: anchors that are no ticks")
        must(all(a < b for a, b in zip(anchors, anchors[1:])), "Corrupt", f"{what}: anchors out of order")
        get(value, "reason", is_text, what)
        if "of" in value:
            parts = [self.tombstone_list(address(a, f"{what} of"), genesis, f"{what} of {i}") for i, a in enumerate(get(value, "of", is_list, what))]
            must(set(anchors) == set().union(*parts), "Corrupt", f"{what}: not the union of its lists")
        return set(anchors)

    # Batches and segments

    def check_batches(self, m, what):
        """Every batch and segment of a Manifest that has not been checked before."""
        batches, segments = self.entries(m)
        must(len({batch.base for batch in batches}) == len(batches), "Corrupt", f"{what}: two batches from one tick")
        key_of_schema = encode(m.schema)
        for i, batch in enumerate(batches):
            key = batch, key_of_schema
            if key not in self.done_batches:
                self.done_batches[key] = guarded(f"{what} batch {i}", self.check_batch, m, batch, f"batch from {batch.base}")
        for field in m.fields:
            if field.dim is not None:
                present = [self.done_batches[batch, key_of_schema] for batch in batches]
                guarded(what, self.check_track, m, field, batches, segments[field.id], present, what)

    def check_batch(self, m, batch, what):
        """A batch's containers. Gives {field id: ticks of the rows that have a vector}."""
        offsets = guarded(what, anchors_of, self.directory, batch, what)
        fields = {f.id: f for f in m.fields}
        having, present, indexed, broken = {}, {}, {}, offsets is None
        if offsets is not None:
            self.ticks[batch] = np.array(offsets, np.uint64) + np.uint64(batch.base)
        for id_, ref in batch.columns:
            field = fields.get(id_)
            must(id_ < m.schema["nextId"], "Corrupt", f"{what}: a column of field {id_}, which was never given")
            writer(field is not None or m.digest in self.updated, f"{what}: a column of field {id_}, which the schema does not have")
            if field is None:
                continue
            at = f"{what} field {field.name}"
            column = guarded(at, Column, self.directory, ref, field.kind, field.type, field.width, batch.rows, at)
            if column and field.dim is not None:
                column.zero_vectors = not field.algorithm.endswith("-cosine")
            rows = guarded(at, column.check) if column else None
            if rows is None:
                broken = True
                continue
            self.counts["columns"] += 1
            having[id_] = rows
            if field.index:
                indexed[id_] = column
            if field.dim is not None and offsets is not None:
                present[id_] = self.ticks[batch][column.mask()]
                self.keep_column(batch, id_, column)
        listed = {id_ for id_, _ in batch.columns}
        wanted = {f.id for f in m.fields if f.index} & listed
        if batch.scalars:
            # What it covers is what the schema said when it was made.
            columns = indexed if set(indexed) == wanted and m.digest not in self.updated else None
            trees = guarded(what, scalars.check, self.directory, batch.scalars, batch.rows, columns, f"{what} ScalarIndex")
            self.counts["scalar indexes"] += trees is not None
            self.counts["trees"] += trees or 0
        elif set(indexed) == wanted:
            left_out = [id_ for id_, column in indexed.items() if scalars.indexable(column)]
            writer(not left_out or m.digest in self.updated, f"{what}: no ScalarIndex, though fields {left_out} have index")
        for field in m.fields:
            if field.required and (field.id in having or field.id not in listed):
                n = having.get(field.id, 0)
                gone = self.deleted(m.genesis)
                dead = sum(int(tick) in gone for tick in self.ticks[batch]) if gone and batch in self.ticks else 0
                guarded(what, must, n + dead >= batch.rows, "Corrupt", f"{what}: {n} of {batch.rows} rows have {field.name}, which is required")
        self.counts["batches"] += 1
        return None if broken else present

    def keep_column(self, batch, id_, column):
        """Remembers the vectors of the last few columns."""
        while len(self.columns) >= 64:
            self.columns.pop(next(iter(self.columns)))
        self.columns[batch, id_] = column.mask(), column.matrix()

    def vectors_of(self, batch, field):
        if (batch, field.id) not in self.columns:
            what = f"batch from {batch.base} field {field.name}"
            ref = dict(batch.columns)[field.id]
            self.keep_column(batch, field.id, Column(self.directory, ref, field.kind, field.type, field.width, batch.rows, what))
        return self.columns[batch, field.id]

    def find_rows(self, batches, field, ticks):
        """Which ticks have a vector in these batches, and the vectors."""
        found, values = np.zeros(len(ticks), bool), np.zeros((len(ticks), field.dim), np.float32)
        low, high = int(ticks.min()), int(ticks.max())
        likely = sorted(batches, key=lambda batch: batch.base != low)
        for batch in likely:
            if batch.base > high or batch.base + batch.span < low or field.id not in dict(batch.columns):
                continue
            own = self.ticks[batch]
            rows = np.minimum(np.searchsorted(own, ticks), len(own) - 1)
            mask, matrix = self.vectors_of(batch, field)
            here = (own[rows] == ticks) & mask[rows]
            values[here] = matrix[rows[here]]
            found |= here
            if found.all():
                break
        return found, values

    def check_track(self, m, field, batches, segments, present, what):
        """A Track's segments: each by itself, and that they hold the anchors of exactly the rows that have a vector."""
        track, what = m.tracks[field.id], f"{what} track {field.name}"
        if track.spatial is None:
            must(not segments, "Corrupt", f"{what}: {field.algorithm} that is not trained has no segments")
            return
        if None in present:
            raise Broken
        if isinstance(track.spatial, GraphOf):
            must(not segments, "Corrupt", f"{what}: segments beside a graph")
            self.check_graph(m, field, track.spatial, batches, present, what)
            return
        held = [[] for _ in range(track.spatial.tables)]
        for entry in segments:
            key = entry, track.index, track.compressor, track.lineage and track.lineage.digest, field
            if key not in self.done_segments:
                at = f"segment from {entry.base} of {field.name}"
                find = lambda ticks: self.find_rows(batches, field, ticks)
                self.done_segments[key] = guarded(at, check_segment, self.directory, entry, field, track, find, self.sample, at)
                self.counts["segments"] += 1
                if self.done_segments[key]:
                    _, _, computed, vectors, codes, earlier = self.done_segments[key]
                    self.counts["of earlier indexes"] += earlier
                    self.counts["rows computed"] += computed
                    self.counts["with vectors"] += vectors
                    self.counts["with codes"] += codes
            if self.done_segments[key] is None:
                raise Broken
            table, ticks = self.done_segments[key][:2]
            held[table].append(ticks)
        nothing = np.empty(0, np.uint64)
        expected = np.sort(np.concatenate([nothing] + [own[field.id] for own in present if field.id in own]))
        for table, ticks in enumerate(held):
            ticks = np.sort(np.concatenate([nothing] + ticks))
            must(np.array_equal(ticks, expected), "Corrupt", f"{what}: its segments of table {table} have {len(ticks)} anchors, "
                 f"{len(expected)} are those of rows with a vector, or they differ")

    def check_graph(self, m, field, own, batches, present, what):
        """A Track's graph: itself, and that its nodes are exactly the rows with a vector of the batches it covers."""
        sums = list(itertools.accumulate(batch.rows for batch in batches))
        must(own.rows in sums, "Corrupt", f"{what}: a graph of {own.rows} rows, batches end at {sums[:9]}")
        covered = sums.index(own.rows) + 1
        key = own.digest, own.length, tuple(batches[:covered]), field
        if key not in self.done_graphs:
            find = lambda ticks: self.find_rows(batches[:covered], field, ticks)
            self.done_graphs[key] = guarded(what, graph.check, self.directory, own.digest, find, f"{what} GraphIndex", own.length, field)
            self.counts["graphs"] += 1
        if self.done_graphs[key] is None:
            raise Broken
        _, ticks, _ = self.done_graphs[key]
        expected = np.sort(np.concatenate([np.empty(0, np.uint64)] + [rows[field.id] for rows in present[:covered] if field.id in rows]))
        must(np.array_equal(np.sort(ticks), expected), "Corrupt", f"{what}: {len(ticks)} nodes, {len(expected)} rows have a vector, or they differ")

    # Records

    def records(self, m):
        """Every record in time order: (tick, batch number, row). 0007 §6.2, of entries that are all there already."""
        batches, _ = self.entries(m)
        queue = [(batch.base, i, -1, None) for i, batch in enumerate(batches)]
        heapq.heapify(queue)
        last = -1
        while queue:
            tick, i, row, offsets = heapq.heappop(queue)
            if row < 0:
                offsets, row = anchors_of(self.directory, batches[i], f"batch from {tick}"), 0
            limit = queue[0][0] if queue else math.inf
            base = batches[i].base
            while True:
                if tick <= last:
                    raise Bad("Corrupt", f"tick {tick} comes after {last}")
                last = tick
                yield tick, i, row
                row += 1
                if row == len(offsets):
                    break
                tick = base + offsets[row]
                if tick >= limit:
                    heapq.heappush(queue, (tick, i, row, offsets))
                    break

    def dump(self, m, out, what):
        """Walks the records, and writes them to `out` when there is one."""
        batches, _ = self.entries(m)
        origin = self.geneses[m.genesis]["origin"]
        fields = sorted(m.fields, key=lambda f: f.id)
        open_columns, count = {}, 0
        deleted, shown = self.deleted(m.genesis), 0
        for tick, i, row in self.records(m):
            count += 1
            shown += tick not in deleted
            if out is None:
                continue
            if row == 0:
                listed = dict(batches[i].columns)
                open_columns[i] = [(f.name, Column(self.directory, listed[f.id], f.kind, f.type, f.width, batches[i].rows, f"field {f.name}"))
                                   for f in fields if f.id in listed]
            if tick not in deleted:
                values = {name: column.json(row) for name, column in open_columns[i]}
                values = {name: value for name, value in values.items() if value is not None}
                json.dump({"anchor": str(origin + tick), "values": values}, out, ensure_ascii=False, separators=(",", ":"))
                out.write("\n")
            if row == batches[i].rows - 1:
                del open_columns[i]
        must(count == m.rows, "Corrupt", f"{what}: {count} records, rows {m.rows}")
        self.counts["records"] += shown

    # Refs

    def check_ref(self, name, body, out):
        what = f"ref {name}"
        must(is_ref_name(name), "InvalidName", f"{what}: not a name")
        ref = of_kind(body, "dreamdb.ref", what)
        only_keys(ref, ("kind", "version", "type", "manifest", "seq", "writeId", "opId", "gcEpoch", "ts", "inline", "lane", "protected"), what)
        must(is_uint(ref.get("lane", 1), 1, 4095), "Corrupt", f"{what}: lane {ref.get('lane')}")
        must(ref.get("protected", True) is True, "Corrupt", f"{what}: protected {ref.get('protected')}")
        type_ = get(ref, "type", lambda x: x in ("branch", "tag", "dead", "reserved"), what)
        digest = address(ref.get("manifest"), f"{what} manifest")
        seq = get(ref, "seq", is_uint, what)
        get(ref, "writeId", is_bytes(16), what)
        op_id = get(ref, "opId", is_bytes(16), what)
        get(ref, "gcEpoch", is_uint, what)
        get(ref, "ts", lambda x: is_uint(x, 0, MAX_TICK), what)
        if "inline" in ref:
            inline = get(ref, "inline", is_bytes(), what)
            must(digests_of([inline]) == [digest], "HashMismatch", f"{what}: inline does not hash to manifest")
        if type_ in ("dead", "reserved"):
            return
        tip = self.manifest(digest, f"Manifest of {what}")
        if "inline" in ref:
            writer(len(inline) <= KIB64, f"{what}: inline of {len(inline)} bytes")
        else:
            writer(tip.bytes > KIB64, f"{what}: no inline, though the Manifest has {tip.bytes} bytes")
        must(seq == tip.seq, "Corrupt", f"{what}: seq {seq}, the Manifest's is {tip.seq}")
        writer(op_id == tip.op_id, f"{what}: opId is not the Manifest's")
        self.counts["refs"] += 1
        for m in self.history(tip):
            at = f"Manifest {text_address(m.digest)}"
            guarded(at, self.check_parents, m, at)
            guarded(at, self.check_batches, m, at)
        guarded(what, self.dump, tip, out, what)
        print(f"ref {name}: {type_}, seq {seq}, {tip.rows} records, {len(self.entries(tip)[0])} batches")

    def history(self, tip):
        """All ancestors that can be read, and the tip, oldest first."""
        found, todo = {tip.digest: tip}, [tip]
        while todo:
            m = todo.pop()
            for parent in m.parents:
                if parent not in found:
                    p = guarded(f"parent of Manifest {text_address(m.digest)}", self.manifest, parent, "parent Manifest")
                    if p:
                        found[parent] = p
                        todo.append(p)
        return sorted(found.values(), key=lambda m: m.seq)


def main():
    arguments = argparse.ArgumentParser(description="Checks a DreamDB dataset directory by the specification.")
    arguments.add_argument("directory")
    arguments.add_argument("--ref")
    arguments.add_argument("--dump")
    arguments.add_argument("--cells", type=int)
    arguments.add_argument("--lenient", action="store_true")
    options = arguments.parse_args()
    rules.lenient = options.lenient
    tools = (("python3-cbor2", cbor2), ("python3-numpy", np), ("b3sum", shutil.which("b3sum")))
    missing = [name for name, there in tools if not there]
    if missing:
        print(f"{' and '.join(missing)} missing: apt-get install -y --no-install-recommends python3-cbor2 python3-numpy b3sum", file=sys.stderr)
        return 3

    guarded("known answers", known_answers)
    directory = Directory(options.directory)
    refs = directory.refs()
    if options.ref is not None:
        refs = {name: body for name, body in refs.items() if name == options.ref}
    if options.dump and len(refs) > 1:
        print("--dump needs --ref: the directory has several", file=sys.stderr)
        return 2
    if not refs:
        fail(f"NotFound: no ref{' ' + options.ref if options.ref else ''} in {options.directory}")
    reader = Reader(directory, options.cells)
    for name, body in sorted(refs.items()):
        out = open(options.dump, "w", encoding="utf-8") if options.dump else None
        guarded(f"ref {name}", reader.check_ref, name, body, out)
        if out:
            out.close()
    parts.flush()
    counts = {**reader.counts, "pages": len(reader.indexes.pages), "objects read": len(directory.reached),
              "objects no ref reaches": len(set(directory.names) - directory.reached), "parts hashed": parts.total,
              **{f"Roaring {kind}": count for kind, count in scalars.containers.items()}}
    print(", ".join(f"{name} {count}" for name, count in counts.items()))
    print(f"{rules.passed} checks passed, {len(rules.failures)} failed")
    return 1 if rules.failures else 0


if __name__ == "__main__":
    sys.exit(main())
