#!/usr/bin/env python3
"""The model that a cut-off training had reached: the moving average (else the weights) in its checkpoint.

usage: model_of_checkpoint.py BASE CHECKPOINT OUT

BASE is a model file (safetensors, half precision) of the same configuration: OUT takes its names, shapes and description. A
training of all weights (`train: all`) keeps them in the order of such a file, each one beginning at a multiple of 16 floats; what
does not train, the random features of positions, is taken from BASE.
"""
import json
import struct
import sys

import numpy as np

NOT_TRAINED = "gaussian_matrix"
ALIGNED = 16  # floats


def read(path):
    data = open(path, "rb").read()
    (size,) = struct.unpack("<Q", data[:8])
    return data[: 8 + size], json.loads(data[8 : 8 + size]), data[8 + size :]


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    (text, base, weights), (_, parts, block) = read(sys.argv[1]), read(sys.argv[2])
    begin, end = parts["ema" if "ema" in parts else "values"]["data_offsets"]
    values = np.frombuffer(block[begin:end], "<f4")
    out, at = bytearray(weights), 0
    names = [k for k in base if k != "__metadata__" and NOT_TRAINED not in k]
    for name in sorted(names, key=lambda k: base[k]["data_offsets"]):
        begin, end = base[name]["data_offsets"]
        n = (end - begin) // 2
        if base[name]["dtype"] != "F16" or at + n > len(values):
            sys.exit("%s does not fit to this checkpoint" % name)
        out[begin:end] = values[at : at + n].astype("<f2").tobytes()
        at += -(-n // ALIGNED) * ALIGNED
    if at != len(values):
        sys.exit("the checkpoint holds %d floats, the model %d" % (len(values), at))
    with open(sys.argv[3], "wb") as f:
        f.write(text + out)


main()
