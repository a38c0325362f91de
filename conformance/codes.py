#!/usr/bin/python3
"""Cells and RaBitQ codes of vectors by the specification alone, for a test that compares them with the library's.

Reads JSON Lines {metric, exponent, dim, bits, seed, vectors, centroids} (seed and little-endian f32 in hexadecimal), and
writes for each {space, cells, rows}: y as f32, the cells, and the stored code rows, in hexadecimal but for the cells.
"""
import json
import sys

import numpy as np

import spatial


def floats(text, dim):
    return np.frombuffer(bytes.fromhex(text), "<f4").reshape(-1, dim).astype(np.float32)


def main():
    for line in sys.stdin:
        case = json.loads(line)
        dim = case["dim"]
        with np.errstate(all="ignore"):
            index = spatial.Trained(case["metric"], case["exponent"], [floats(case["centroids"], dim)])
            xs = floats(case["vectors"], dim)
            ys, cells = index.space(xs), index.cells_of(xs, 0)
            codes = spatial.Rabitq(case["metric"], dim, case["bits"], bytes.fromhex(case["seed"]))
            rows = codes.rows(ys, index.centroids(cells))
        print(json.dumps({"space": ys.astype("<f4").tobytes().hex(), "cells": cells.tolist(), "rows": rows.tobytes().hex()}))


if __name__ == "__main__":
    main()
