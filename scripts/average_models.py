#!/usr/bin/env python3
"""The mean of two models of one configuration, tensor by tensor ("model soup", arXiv:2203.05482).

usage: average_models.py MODEL MODEL OUT [--version TEXT]

Both are model files (safetensors) in half precision, the second one trained on from the first: weights of unrelated trainings have
no mean that is worth anything. OUT takes the second one's configuration, with another version if that is given.
"""
import argparse
import json
import struct

import numpy as np


def read(path):
    data = open(path, "rb").read()
    (size,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def tensor(entry, data):
    begin, end = entry["data_offsets"]
    return np.frombuffer(data[begin:end], "<f2").astype(np.float32)


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n")[2].split(": ", 1)[1])
    parser.add_argument("models", nargs=2)
    parser.add_argument("out")
    parser.add_argument("--version")
    args = parser.parse_args()
    (first, a), (head, b) = map(read, args.models)
    names = [k for k in head if k != "__metadata__"]
    if {k: first[k]["shape"] for k in first if k != "__metadata__"} != {k: head[k]["shape"] for k in names}:
        parser.error("the two models differ in their tensors")
    if any(h[k]["dtype"] != "F16" for h in (first, head) for k in names):
        parser.error("a model is not in half precision")
    mean = bytearray(b)
    for k in names:
        begin, end = head[k]["data_offsets"]
        mean[begin:end] = ((tensor(first[k], a) + tensor(head[k], b)) / 2).astype("<f2").tobytes()
    if args.version:
        config = json.loads(head["__metadata__"]["config"])
        config["version"] = args.version
        head["__metadata__"]["config"] = json.dumps(config, separators=(",", ":"))
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(args.out, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + mean)


main()
