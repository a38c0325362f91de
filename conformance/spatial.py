"""Cells and codes of vectors, computed anew from ../spec/0004 and ../spec/0010 with numpy, for reader.py.

numpy rounds each float32 operation by itself, whichever rows it works on at once; sums whose order matters go component by
component here, and f64 sums through `accumulate`, which adds from left to right.
"""
import math
import struct

import numpy as np

F = np.float32
ROWS_AT_ONCE = 4096


# ------------------------------------------------------------------------------------------------ ChaCha20 (RFC 8439)

def rotate_left(x, n):
    return x << np.uint32(n) | x >> np.uint32(32 - n)


def keystream(key, word, size):
    """`size` bytes from block 0 on, nonce word 0 = `word`, the other words 0."""
    blocks = -(-size // 64)
    constants = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574, *struct.unpack("<8I", key)]
    start = np.empty((16, blocks), np.uint32)
    start[:12] = np.array(constants, np.uint32)[:, None]
    start[12] = np.arange(blocks, dtype=np.uint32)
    start[13:] = np.array([word, 0, 0], np.uint32)[:, None]
    s = start.copy()
    quarters = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
                (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
    for _ in range(10):
        for a, b, c, d in quarters:
            for x, y, z, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
                s[x] += s[y]
                s[z] = rotate_left(s[z] ^ s[x], turn)
    return (s + start).T.astype("<u4").tobytes()[:size]


def gaussians(stream, count):
    """Sums of four u16 less their mean, as integers."""
    return np.frombuffer(stream, "<u2", 4 * count).reshape(count, 4).astype(np.int64).sum(axis=1) - 131_070


# --------------------------------------------------------------------------------------------------- sums and spaces

def folds(xs, ys):
    """fold(x, y) of every x and every y: n x k."""
    acc = np.zeros((len(xs), len(ys)), F)
    for k in range(xs.shape[1]):
        acc += xs[:, k, None] * ys[None, :, k]
    return acc


def own_folds(xs):
    """fold(x, x) of every x."""
    acc = np.zeros(len(xs), F)
    for k in range(xs.shape[1]):
        acc += xs[:, k] * xs[:, k]
    return acc


def sum4(values):
    """0010 §4 of every row of n x D f32."""
    acc = np.zeros((len(values), 4), F)
    for t in range(0, values.shape[1], 4):
        acc += values[:, t:t + 4]
    return (acc[:, 0] + acc[:, 1]) + (acc[:, 2] + acc[:, 3])


def half_squares(centroids):
    """h of every centroid, 0004 §7."""
    squares = centroids.astype(np.float64) ** 2
    sums = np.add.accumulate(np.concatenate([np.zeros((len(squares), 1)), squares], axis=1), axis=1)[:, -1]
    return (-0.5 * sums).astype(F)


def metric_of(algorithm):
    return algorithm.rsplit("-", 1)[1]


def index_space(metric, exponent, xs):
    """y, 0004 §6."""
    if metric == "cosine":
        return xs * (F(1) / np.sqrt(own_folds(xs)))[:, None]
    return xs * F(2.0 ** -exponent)


def nearest(ys, centroids, halves):
    """The cell of every y, 0004 §7."""
    cells = np.empty(len(ys), np.int64)
    for at in range(0, len(ys), ROWS_AT_ONCE):
        scores = folds(ys[at:at + ROWS_AT_ONCE], centroids) + halves
        cells[at:at + ROWS_AT_ONCE] = np.where(np.isnan(scores), F(-np.inf), scores).argmax(axis=1)
    return cells


# ------------------------------------------------------------------------------------------------------------ indexes

class Lsh:
    """`dreamdb.lsh-cosine`."""

    trained = False

    def __init__(self, dim, bits, tables, seed):
        self.bits, self.tables, self.cells = bits, tables, tables << bits
        self.planes = [hyperplanes(seed, dim, bits, table) for table in range(tables)]

    def cells_of(self, xs, table):
        powers = 1 << np.arange(self.bits)
        return (table << self.bits) + ((folds(xs, self.planes[table]) >= 0) * powers).sum(axis=1)


def hyperplanes(seed, dim, bits, table=0):
    """bits x dim f32, 0004 §3."""
    g = gaussians(keystream(seed, table, 8 * bits * dim), bits * dim).reshape(bits, dim)
    roots = np.sqrt((g * g).sum(axis=1).astype(np.float64))
    with np.errstate(invalid="ignore"):
        return np.where(roots[:, None] > 0, g / roots[:, None], 0.0).astype(F)


class Trained:
    """`dreamdb.ivf-…` with its centroids, or `dreamdb.imi-cosine` with two tables of them."""

    trained, tables = True, 1

    def __init__(self, metric, exponent, tables):
        self.metric, self.exponent, self.books = metric, exponent, tables
        self.halves = [half_squares(table) for table in tables]
        self.cells = math.prod(len(table) for table in tables)

    def space(self, xs):
        return index_space(self.metric, self.exponent, xs)

    def cells_of(self, xs, _):
        ys, cells, start = self.space(xs), 0, 0
        for book, halves in zip(self.books, self.halves):
            width = book.shape[1]
            cells = cells * len(book) + nearest(np.ascontiguousarray(ys[:, start:start + width]), book, halves)
            start += width
        return cells

    def centroids(self, cells):
        """The centroid of every cell given."""
        parts = []
        for book in reversed(self.books):
            parts.append(book[cells % len(book)])
            cells = cells // len(book)
        return np.concatenate(parts[::-1], axis=1)


# -------------------------------------------------------------------------------------------------------------- codes

def padded_dim(dim):
    return -(-dim // 16) * 16 if dim <= 128 else -(-dim // 64) * 64


class Dense:
    """0010 §3, up to 128 components."""

    def __init__(self, dim, seed):
        size = padded_dim(dim)
        columns = gaussians(keystream(seed, 0x524F5444, 8 * size * dim), size * dim).reshape(dim, size).astype(np.float64)
        total = lambda terms: np.add.accumulate(np.concatenate([[0.0], terms]))[-1]
        for j in range(dim):
            for _ in range(2):
                for i in range(j):
                    columns[j] = columns[j] - total(columns[i] * columns[j]) * columns[i]
            columns[j] = columns[j] / math.sqrt(total(columns[j] * columns[j]))
        self.columns = columns.astype(F)

    def rotate(self, ys):
        acc = np.zeros((len(ys), self.columns.shape[1]), F)
        for j, column in enumerate(self.columns):
            acc += column[None, :] * ys[:, j, None]
        return acc


class Hadamard:
    """0010 §3, above 128 components."""

    def __init__(self, dim, seed):
        self.dim, self.size = dim, padded_dim(dim)
        bits = np.unpackbits(np.frombuffer(keystream(seed, 0x524F5448, self.size // 2), np.uint8), bitorder="little")
        self.flips = bits.reshape(4, self.size).astype(bool)

    def rotate(self, ys):
        n, size = len(ys), self.size
        h = 1 << size.bit_length() - 1
        z = np.zeros((n, size), F)
        z[:, :self.dim] = ys
        for r in range(4):
            z[:, self.flips[r]] = -z[:, self.flips[r]]
            start, length = (0 if r % 2 == 0 else size - h), 1
            while length < h:
                w = z[:, start:start + h].reshape(n, h // (2 * length), 2, length)
                a, b = w[:, :, 0].copy(), w[:, :, 1].copy()
                z[:, start:start + h] = np.stack([a + b, a - b], axis=2).reshape(n, h)
                length *= 2
            z[:, start:start + h] *= F(1 / math.sqrt(h))
        return z


def rotation(dim, seed):
    return Dense(dim, seed) if dim <= 128 else Hadamard(dim, seed)


STEPS = {2: 0.9957, 3: 0.586, 4: 0.3352, 5: 0.1881, 6: 0.1041, 7: 0.0569, 8: 0.0308}
TRIES = (0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4)


class Rabitq:
    """`dreamdb.rabitq-…`, 0010 §5."""

    def __init__(self, metric, dim, bits, seed):
        self.metric, self.bits, self.size = metric, bits, padded_dim(dim)
        self.rotation = rotation(dim, seed)
        self.row_bytes = bits * self.size // 8 + (8 if bits == 1 else 16)

    def rows(self, ys, centroids):
        """n x W bytes: the stored rows."""
        with np.errstate(all="ignore"):
            return self.encode(ys, self.rotation.rotate(ys), self.rotation.rotate(centroids))

    def encode(self, ys, z, center):
        n, size, level = len(ys), self.size, 1 << self.bits - 1
        r = z - center
        rn, cr = sum4(r * r), sum4(center * r)
        hy = F(0.5) * own_folds(ys) if self.metric == "l2" else np.zeros(n, F)
        scale = F(1 / math.sqrt(size))
        signs = np.where(r >= 0, F(1), F(-1))
        l1, cb = sum4(np.abs(r)), sum4(signs * center)
        f1 = np.where(l1 > 0, rn / (l1 * scale), F(0))
        a1 = (cr - (f1 * cb) * scale) - hy
        e1 = self.error(f1 * f1, rn)
        flat = rn < F(2.0 ** -96)
        a1 = np.where(flat, cr - hy, a1)
        f1[flat] = e1[flat] = 0
        if self.bits == 1:
            u = (signs > 0).astype(np.int64)
            u[flat] = 1
            return self.pack(u, a1, f1, e1, np.zeros(n, F), None, None)
        m, dot, nn = self.best_grid(r, rn, level)
        g = signs * (m + F(0.5))
        fb = np.where(dot > 0, rn / dot, F(0))
        ab = (cr - fb * sum4(g * center)) - hy
        eb = self.error((fb * fb) * nn, rn)
        ab = np.where(flat, cr - hy, ab)
        fb[flat] = eb[flat] = 0
        beyond = ~(np.isfinite(ab) & np.isfinite(fb))
        m[beyond] = 0
        u = np.where(signs > 0, level + m, level - 1 - m).astype(np.int64)
        u[flat] = level
        ab[beyond], fb[beyond] = np.finfo(F).max, 0
        eb[beyond & ~flat] = np.inf
        return self.pack(u, a1, f1, e1, eb, ab, fb)

    def error(self, squares, rn):
        return np.sqrt(np.maximum(F(0), squares - rn)) / np.sqrt(F(self.size - 1))

    def best_grid(self, r, rn, level):
        """m, dot and nn of the best step for every row."""
        sigma = np.sqrt(rn / F(self.size))
        best = np.zeros_like(r), np.zeros(len(r), F), np.zeros(len(r), F)
        most = np.full(len(r), -np.inf, F)
        for tried in TRIES:
            inverse = F(1) / (sigma * (F(STEPS[self.bits]) * F(tried)))
            m = np.floor(np.abs(r) * inverse[:, None])
            m = np.where(m < level - 1, m, F(level - 1))
            g = m + F(0.5)
            dot, nn = sum4(g * np.abs(r)), sum4(g * g)
            merit = dot / np.sqrt(nn)
            better = merit > most
            most = np.where(better, merit, most)
            best = tuple(np.where(better[:, None] if a.ndim == 2 else better, b, a) for a, b in zip(best, (m, dot, nn)))
        return best

    def pack(self, u, a1, f1, e1, eb, ab, fb):
        n, bits = len(u), self.bits
        planes = [np.packbits((u >> bits - 1 - p & 1).astype(np.uint8), axis=1, bitorder="little") for p in range(bits)]
        a, f = np.rint(a1.astype(np.float64) * 16384), np.rint(f1.astype(np.float64) * 16384)
        tame = (np.abs(a) <= 32767) & (f >= 0) & (f <= 32767)
        a, f = np.where(tame, a, 32767).astype("<i2"), np.where(tame, f, 0).astype("<i2")
        e = [np.rint(x.astype(np.float64) * 65536) for x in (e1, eb)]
        e = [np.where(x < 65535, x, 65535).astype("<u2") for x in e]
        columns = [a, f, *e] + ([] if bits == 1 else [ab.astype("<f4"), fb.astype("<f4")])
        return np.concatenate(planes + [np.ascontiguousarray(c).view(np.uint8).reshape(n, -1) for c in columns], axis=1)


class Pq:
    """`dreamdb.pq-…`, 0010 §7. `books`: 2^bits vectors, each with a codeword of every run."""

    def __init__(self, metric, runs, bits, books):
        self.metric, self.bits, self.books = metric, bits, books
        dim = books.shape[1]
        ends = np.cumsum([dim // runs + (j < dim % runs) for j in range(runs)])
        self.runs = list(zip([0, *ends[:-1]], ends))
        self.row_bytes = -(-runs * bits // 8) + (4 if metric == "l2" else 0)

    def rows(self, ys, centroids):
        with np.errstate(all="ignore"):
            n, r = len(ys), ys - centroids
            words = [np.ascontiguousarray(self.books[:, a:b]) for a, b in self.runs]
            chosen = [nearest(r[:, a:b], book, half_squares(book)) for (a, b), book in zip(self.runs, words)]
            codes = np.stack(chosen, axis=1).astype(np.uint8)
            if self.bits == 4:
                codes = np.concatenate([codes, np.zeros((n, len(self.runs) % 2), np.uint8)], axis=1)
                codes = codes[:, 0::2] | codes[:, 1::2] << 4
            if self.metric != "l2":
                return codes
            decoded = centroids + np.concatenate([book[run] for book, run in zip(words, chosen)], axis=1)
            h = F(0.5) * own_folds(decoded)
            return np.concatenate([codes, h.astype("<f4").view(np.uint8).reshape(n, 4)], axis=1)
