"""A backend that is a directory: names (0002 §7), keys and cells (0005 §6), objects by their address. For reader.py."""
import os
import re

from rules import MAX_OBJECT, TEXT_ADDRESS, Bad, Broken, b3sum_files, must, text_address, writer


def is_ref_name(name):
    segments = name.split("/")
    return 1 <= len(segments) <= 8 and all(
        re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", s) and ".." not in s and not s.endswith(".") for s in segments)


def path_name(segment, last):
    """One segment of a key as a directory's name, 0005 §6.1."""
    bits = sum(1 << i for i, c in enumerate(segment) if "A" <= c <= "Z")
    bitmap = bits.to_bytes((bits.bit_length() + 7) // 8, "little").hex()
    return segment.lower() + ("=" + bitmap if bits else "") + ("@" if last else "+")


def key_segment(name):
    """The segment that path_name made into this name, and whether it is the last; None when there is none."""
    found = re.fullmatch(r"([a-z0-9._-]+)(?:=((?:[0-9a-f]{2})+))?([@+])", name)
    if not found:
        return None
    lower, bitmap, suffix = found.groups()
    bits = int.from_bytes(bytes.fromhex(bitmap or ""), "little")
    segment = "".join(c.upper() if bits >> i & 1 else c for i, c in enumerate(lower))
    last = suffix == "@"
    return (segment, last) if segment not in (".", "..") and path_name(segment, last) == name else None


def current_value(cell, key):
    """The bytes of a cell's highest generation, or None, 0005 §6.2."""
    numbers = sorted(int(name, 16) for name in os.listdir(cell) if re.fullmatch(r"[0-9a-f]{16}", name) and int(name, 16))
    if not numbers:
        return None
    high = numbers[-1]
    kept = set(range(max(1, high - 15), high + 1))
    writer(kept <= set(numbers), f"{key}: generations {sorted(kept - set(numbers))} were removed, {high} is the highest")
    path = os.path.join(cell, f"{high:016x}")
    if os.path.isdir(path):
        return None
    with open(path, "rb") as file:
        return file.read()


class Directory:
    def __init__(self, root):
        self.root = root
        self.broken, self.reached = set(), set()
        self.names, self.count, self.bytes = {}, 0, 0
        for folder in sorted(self.subdirectories("objects")):
            for name in os.listdir(os.path.join(root, "objects", folder)):
                if TEXT_ADDRESS.match(name) and name[4:6] == folder:
                    self.names[name] = f"objects/{folder}/{name}"
        self.hashes = b3sum_files(root, sorted(self.names.values()))

    def subdirectories(self, path):
        path = os.path.join(self.root, path)
        return [name for name in os.listdir(path) if os.path.isdir(os.path.join(path, name))] if os.path.isdir(path) else []

    def refs(self):
        """{name: body}"""
        found = {}

        def walk(path, segments):
            for name in sorted(self.subdirectories(path)):
                parsed = key_segment(name)
                if parsed is None:
                    continue
                below, key = os.path.join(path, name), segments + [parsed[0]]
                if not parsed[1]:
                    walk(below, key)
                    continue
                value = current_value(os.path.join(self.root, below), "refs/" + "/".join(key))
                if value is not None:
                    found["/".join(key)] = value

        walk("refs+", [])
        return found

    def cell(self, key):
        """The value of a key outside objects/, or None."""
        segments = key.split("/")
        names = [path_name(segment, i == len(segments) - 1) for i, segment in enumerate(segments)]
        path = os.path.join(self.root, *names)
        return current_value(path, key) if os.path.isdir(path) else None

    def path(self, digest, what):
        name = text_address(digest)
        if name in self.broken:
            raise Broken
        self.reached.add(name)
        if name not in self.names:
            self.broken.add(name)
            raise Bad("NotFound", f"{what}: object {name} is not there")
        return name, os.path.join(self.root, self.names[name])

    def read(self, digest, what, length=None, limit=MAX_OBJECT, explain=None):
        """The bytes of an object, which have its hash (and length). `explain` says more about bytes that do not."""
        name, path = self.path(digest, what)
        try:
            size = os.path.getsize(path)
            must(length is None or size == length, "HashMismatch", f"{what}: {name} has {size} bytes, expected {length}")
            must(size <= limit, "LimitExceeded", f"{what}: {name} has {size} bytes, at most {limit}")
            with open(path, "rb") as file:
                data = file.read()
            if self.hashes.get(self.names[name]) != digest:
                more = explain(data) if explain else ""
                raise Bad("HashMismatch", f"{what}: the bytes of {name} do not hash to it{more}")
            must(len(data) == size, "HashMismatch", f"{what}: {name} changed")
            return data
        except Bad:
            self.broken.add(name)
            raise
