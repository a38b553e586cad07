#!/usr/bin/env python3
"""Makes tests/golden/own_*.safetensors: small models and what they must yield.

A second implementation, in NumPy and float64, written from the description of the model and not from the C
sources: where the two agree, both are likely right. Everything is derived from seeds, so a run reproduces the files.

    scripts/make_golden.py [FOLDER]        default: tests/golden beside this script's folder
"""
import json
import math
import os
import platform
import struct
import sys

import numpy as np

MASK64 = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


# ---- weights and inputs by the hash scheme ----

def hash_unit(name, seed, count):
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = ((h ^ byte) * 0x100000001B3) & MASK64
    key = h ^ ((seed * GOLDEN) & MASK64)
    with np.errstate(over="ignore"):
        x = np.uint64(key) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(GOLDEN)
        x ^= x >> np.uint64(30)
        x *= np.uint64(0xBF58476D1CE4E5B9)
        x ^= x >> np.uint64(27)
        x *= np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return (x >> np.uint64(40)).astype(np.float64) / 8388608.0 - 1.0


def hash_weight(name, shape, seed):
    count = math.prod(shape)
    offset = 0.0
    if name.endswith("positional_encoding_gaussian_matrix"):
        scale = 1.7320508075688772
    elif name.endswith(("pos_embed", "rel_pos_h", "rel_pos_w", "attention_biases")):
        scale = 0.25
    elif name.endswith("running_mean"):
        scale = 0.1
    elif name.endswith(".bias"):
        scale = 0.05
    elif len(shape) == 1:
        offset, scale = 1.0, 0.1
    elif any(part in name for part in ("point_embeddings", "not_a_point_embed", "no_mask_embed", "iou_token",
                                       "mask_tokens")):
        scale = 0.5
    else:
        scale = math.sqrt(3.0 / (count / shape[0]))
    return (offset + scale * hash_unit(name, seed, count)).astype(np.float32).reshape(shape)


class Weights:
    """Makes a tensor when it is first asked for, and remembers it."""

    def __init__(self, seed):
        self.seed, self.made = seed, {}

    def __call__(self, name, *shape):
        if name not in self.made:
            self.made[name] = hash_weight(name, shape, self.seed)
        return self.made[name].astype(np.float64)


# ---- operators ----

erf = np.vectorize(math.erf, otypes=[np.float64])


def gelu(x):
    return 0.5 * x * (1.0 + erf(x / math.sqrt(2.0)))


def relu(x):
    return np.maximum(x, 0.0)


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def layer_norm(w, name, x, eps):
    c = x.shape[-1]
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred ** 2).mean(axis=-1, keepdims=True) + eps)
    return scaled * w(name + ".weight", c) + w(name + ".bias", c)


def norm_planes(w, name, x, eps=1e-6):
    return np.moveaxis(layer_norm(w, name, np.moveaxis(x, 1, -1), eps), -1, 1)


def linear(w, name, x, out):
    return x @ w(name + ".weight", out, x.shape[-1]).T + w(name + ".bias", out)


def conv(x, kernel, bias, stride, pad):
    """Plain convolution by its definition; x (B, C, H, W), kernel (N, C, k, k)."""
    k = kernel.shape[-1]
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    h, wd = (x.shape[2] - k) // stride + 1, (x.shape[3] - k) // stride + 1
    y = np.zeros((x.shape[0], kernel.shape[0], h, wd))
    for i in range(k):
        for j in range(k):
            part = x[:, :, i:i + stride * h:stride, j:j + stride * wd:stride]
            y += np.einsum("bchw,nc->bnhw", part, kernel[:, :, i, j])
    return y if bias is None else y + bias[None, :, None, None]


def conv_transpose(x, kernel, bias):
    """Kernel 2, stride 2; kernel (C, N, 2, 2)."""
    b, _, h, wd = x.shape
    y = np.zeros((b, kernel.shape[1], 2 * h, 2 * wd))
    for i in range(2):
        for j in range(2):
            y[:, :, i::2, j::2] = np.einsum("bchw,cn->bnhw", x, kernel[:, :, i, j])
    return y + bias[None, :, None, None]


def bilinear_matrix(n_in, n_out):
    m = np.zeros((n_out, n_in))
    for o in range(n_out):
        s = max((o + 0.5) * n_in / n_out - 0.5, 0.0)
        i = min(int(s), n_in - 1)
        m[o, i] += 1.0 - (s - i)
        m[o, min(i + 1, n_in - 1)] += s - i
    return m


def bicubic_matrix(n_in, n_out, a=-0.75):
    m = np.zeros((n_out, n_in))
    for o in range(n_out):
        s = (o + 0.5) * n_in / n_out - 0.5
        base = math.floor(s)
        for tap in range(base - 1, base + 3):
            u = abs(s - tap)
            k = ((a + 2) * u - (a + 3)) * u * u + 1 if u <= 1 else ((a * u - 5 * a) * u + 8 * a) * u - 4 * a
            m[o, min(max(tap, 0), n_in - 1)] += k
    return m


def resize(x, h, wd, matrix):
    return np.einsum("yi,xj,...ij->...yx", matrix(x.shape[-2], h), matrix(x.shape[-1], wd), x)


# ---- image encoder ----

def attention_windows(w, name, x, cfg, table_rows):
    """x (windows, h, w, C)."""
    n, h, wd, c = x.shape
    heads, d = cfg["heads"], c // cfg["heads"]
    qkv = linear(w, name + ".qkv", x.reshape(n, h * wd, c), 3 * c).reshape(n, h * wd, 3, heads, d)
    q, k, v = (qkv[:, :, i].transpose(0, 2, 1, 3) for i in range(3))
    logits = q @ k.transpose(0, 1, 3, 2) / math.sqrt(d)
    bias = np.zeros_like(logits).reshape(n, heads, h, wd, h, wd)
    grid_q = q.reshape(n, heads, h, wd, d)
    for axis, side in (("h", h), ("w", wd)):
        table = w(f"{name}.rel_pos_{axis}", table_rows, d)
        if table_rows != 2 * side - 1:
            table = bilinear_matrix(table_rows, 2 * side - 1) @ table
        spread = np.array([[table[i - j + side - 1] for j in range(side)] for i in range(side)])
        if axis == "h":
            bias += np.einsum("nayxd,yjd->nayxj", grid_q, spread)[..., :, None]
        else:
            bias += np.einsum("nayxd,xjd->nayxj", grid_q, spread)[..., None, :]
    y = softmax(logits + bias.reshape(logits.shape)) @ v
    return linear(w, name + ".proj", y.transpose(0, 2, 1, 3).reshape(n, h, wd, c), c)


def adapter(w, name, x, width):
    return linear(w, name + ".D_fc2", gelu(linear(w, name + ".D_fc1", x, width)), x.shape[-1])


def split(x, win):
    _, h, wd, c = x.shape
    rows, cols = -(-h // win), -(-wd // win)
    x = np.pad(x, ((0, 0), (0, rows * win - h), (0, cols * win - wd), (0, 0)))
    return x.reshape(rows, win, cols, win, c).transpose(0, 2, 1, 3, 4).reshape(rows * cols, win, win, c)


def merge(x, win, h, wd):
    rows, cols = -(-h // win), -(-wd // win)
    x = x.reshape(rows, cols, win, win, -1).transpose(0, 2, 1, 3, 4)
    return x.reshape(1, rows * win, cols * win, -1)[:, :h, :wd]


def block(w, i, x, cfg, out, detail):
    name = f"image_encoder.blocks.{i}"
    _, h, wd, c = x.shape
    is_global = i in cfg["glob"]
    rows = cfg["global_rows"] if is_global else 2 * cfg["win"] - 1

    def note(what, value):
        if detail:
            out[f"block.{i}.{what}"] = value

    if cfg["adapters"]:
        t = layer_norm(w, name + ".norm1", x if is_global else split(x, cfg["win"]), 1e-6)
        note("norm1", t)
    else:
        t = layer_norm(w, name + ".norm1", x, 1e-6)
        note("norm1", t)
        t = t if is_global else split(t, cfg["win"])
    y = attention_windows(w, name + ".attn", t, cfg, rows)
    note("attn", y)
    if cfg["adapters"]:
        y = y + adapter(w, name + ".Space_Adapter", y, cfg["adapter_width"])
        note("Space_Adapter", y)
    x = x + (y if is_global else merge(y, cfg["win"], h, wd))
    n = layer_norm(w, name + ".norm2", x, 1e-6)
    note("norm2", n)
    m = linear(w, name + ".mlp.lin2", gelu(linear(w, name + ".mlp.lin1", n, 4 * c)), c)
    note("mlp", m)
    x = x + m
    if cfg["adapters"]:
        a = adapter(w, name + ".MLP_Adapter", n, cfg["adapter_width"])
        note("MLP_Adapter", a)
        x = x + 0.5 * a
    out[f"block.{i}"] = x
    return x


def encode(w, image, cfg, out):
    c, p, patch = cfg["dim"], cfg["pdim"], cfg["patch"]
    x = conv(image, w("image_encoder.patch_embed.proj.weight", c, 3, patch, patch),
             w("image_encoder.patch_embed.proj.bias", c), patch, 0).transpose(0, 2, 3, 1)
    out["patch_embed"] = x
    g = x.shape[1]
    pos = w("image_encoder.pos_embed", 1, cfg["pos_grid"], cfg["pos_grid"], c)
    x = x + resize(pos.transpose(0, 3, 1, 2), g, g, bicubic_matrix).transpose(0, 2, 3, 1)
    for i in range(cfg["depth"]):
        x = block(w, i, x, cfg, out, i < 2)
    y = conv(x.transpose(0, 3, 1, 2), w("image_encoder.neck.0.weight", p, c, 1, 1), None, 1, 0)
    out["neck.0"] = y
    y = out["neck.1"] = norm_planes(w, "image_encoder.neck.1", y)
    y = out["neck.2"] = conv(y, w("image_encoder.neck.2.weight", p, p, 3, 3), None, 1, 1)
    out["neck.3"] = norm_planes(w, "image_encoder.neck.3", y)
    return out["neck.3"]


# ---- prompt encoder ----

def fourier(w, cfg, xy):
    u = 2 * math.pi * ((2 * xy - 1) @ w("prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", 2,
                                        cfg["pdim"] // 2))
    return np.concatenate([np.sin(u), np.cos(u)], axis=-1)


def dense_position(w, cfg):
    g = cfg["img"] // cfg["patch"]
    y, x = np.meshgrid((np.arange(g) + 0.5) / g, (np.arange(g) + 0.5) / g, indexing="ij")
    return fourier(w, cfg, np.stack([x, y], axis=-1)).transpose(2, 0, 1)[None]


def encode_prompt(w, cfg, case):
    p, size = cfg["pdim"], cfg["img"]
    g = size // cfg["patch"]
    points = [(xy, label) for xy, label in zip(case.get("point_coords", []), case.get("point_labels", []))]
    if "boxes" in case:
        x0, y0, x1, y1 = case["boxes"]
        points += [((x0, y0), 2), ((x1, y1), 3)]
    elif points:
        points.append(((0.0, 0.0), -1))
    sparse = np.zeros((len(points), p))
    for i, (xy, label) in enumerate(points):
        if label < 0:
            sparse[i] = w("prompt_encoder.not_a_point_embed.weight", 1, p)[0]
        else:
            sparse[i] = fourier(w, cfg, (np.array(xy) + 0.5) / size)
            sparse[i] += w(f"prompt_encoder.point_embeddings.{label}.weight", 1, p)[0]
    if "mask_input" not in case:
        return sparse, np.broadcast_to(w("prompt_encoder.no_mask_embed.weight", 1, p).reshape(1, p, 1, 1), (1, p, g, g))
    name = "prompt_encoder.mask_downscaling"
    m = conv(case["mask_input"][None, None], w(name + ".0.weight", 4, 1, 2, 2), w(name + ".0.bias", 4), 2, 0)
    m = gelu(norm_planes(w, name + ".1", m))
    m = conv(m, w(name + ".3.weight", 16, 4, 2, 2), w(name + ".3.bias", 16), 2, 0)
    m = gelu(norm_planes(w, name + ".4", m))
    return sparse, conv(m, w(name + ".6.weight", p, 16, 1, 1), w(name + ".6.bias", p), 1, 0)


# ---- mask decoder ----

def attend(w, name, cfg, q, k, v, width):
    heads = cfg["dheads"]

    def project(part, x):
        return linear(w, f"{name}.{part}_proj", x, width).reshape(len(x), heads, width // heads).transpose(1, 0, 2)

    q, k, v = project("q", q), project("k", k), project("v", v)
    y = softmax(q @ k.transpose(0, 2, 1) / math.sqrt(width // heads)) @ v
    return linear(w, name + ".out_proj", y.transpose(1, 0, 2).reshape(-1, width), cfg["pdim"])


def transformer(w, cfg, tokens, keys, pos, out):
    p, name = cfg["pdim"], "mask_decoder.transformer"
    q, k = tokens, keys
    for i in range(2):
        layer = f"{name}.layers.{i}"

        def norm(n, x):
            return layer_norm(w, f"{layer}.norm{n}", x, 1e-5)

        if cfg["wiring"] == "sam":
            if i == 0:
                q = attend(w, layer + ".self_attn", cfg, q, q, q, p)
            else:
                q = q + attend(w, layer + ".self_attn", cfg, q + tokens, q + tokens, q, p)
        else:
            q = q + tokens if i > 0 else q
            q = q + attend(w, layer + ".self_attn", cfg, q, q, q, p)
        q = norm(1, q)
        q = norm(2, q + attend(w, layer + ".cross_attn_token_to_image", cfg, q + tokens, k + pos, k, p // 2))
        q = norm(3, q + linear(w, layer + ".mlp.lin2", relu(linear(w, layer + ".mlp.lin1", q, cfg["dmlp"])), p))
        k = norm(4, k + attend(w, layer + ".cross_attn_image_to_token", cfg, k + pos, q + tokens, q, p // 2))
        out[f"layer{i}.queries"], out[f"layer{i}.keys"] = q[None], k[None]
    q = q + attend(w, name + ".final_attn_token_to_image", cfg, q + tokens, k + pos, k, p // 2)
    return layer_norm(w, name + ".norm_final_attn", q, 1e-5), k


def mlp3(w, name, x, hidden, last):
    x = relu(linear(w, name + ".layers.0", x, hidden))
    return linear(w, name + ".layers.2", relu(linear(w, name + ".layers.1", x, hidden)), last)


def decode(w, cfg, embedding, case):
    p, m = cfg["pdim"], 4
    g, out = cfg["img"] // cfg["patch"], {}
    sparse, dense = encode_prompt(w, cfg, case)
    if len(sparse):
        out["sparse"] = sparse[None]
    out["dense"] = dense
    tokens = np.concatenate([w("mask_decoder.iou_token.weight", 1, p), w("mask_decoder.mask_tokens.weight", m, p),
                             sparse])
    flat = [x.reshape(p, g * g).T for x in (embedding + dense, dense_position(w, cfg))]
    q, k = transformer(w, cfg, tokens, flat[0], flat[1], out)
    out["tokens"], out["src"] = q[None], k[None]
    name = "mask_decoder.output_upscaling"
    up = conv_transpose(k.T.reshape(1, p, g, g), w(name + ".0.weight", p, p // 4, 2, 2), w(name + ".0.bias", p // 4))
    up = gelu(norm_planes(w, name + ".1", up))
    up = gelu(conv_transpose(up, w(name + ".3.weight", p // 4, p // 8, 2, 2), w(name + ".3.bias", p // 8)))
    out["upscaled"] = up
    hyper = np.stack([mlp3(w, f"mask_decoder.output_hypernetworks_mlps.{i}", q[1 + i], p, p // 8) for i in range(m)])
    out["low_res"] = np.einsum("mc,cyx->myx", hyper, up[0])[None]
    out["iou"] = mlp3(w, "mask_decoder.iou_prediction_head", q[0], cfg["iouh"], m)[None]
    return out


def postprocess(cfg, low_res, out, inner, outer):
    size = cfg["img"]
    full = resize(low_res, size, size, bilinear_matrix)[..., :inner[0], :inner[1]]
    out["masks_post"] = resize(full, outer[0], outer[1], bilinear_matrix)
    possible = (low_res > -1.0).sum(axis=(-1, -2))
    out["stability"] = (low_res > 1.0).sum(axis=(-1, -2)) / np.maximum(possible, 1)


# ---- files ----

def write(path, tensors, metadata):
    header, offset = {"__metadata__": metadata}, 0
    for name, x in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(x.shape), "data_offsets": [offset, offset + 4 * x.size]}
        offset += 4 * x.size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for x in tensors.values():
            f.write(np.ascontiguousarray(x, dtype="<f4").tobytes())
    print(f"{path} {os.path.getsize(path)} bytes")


def cases(cfg, seed):
    size, g = cfg["img"], cfg["img"] // cfg["patch"]
    mask = (6.0 * hash_unit("in.mask", seed, 16 * g * g)).reshape(4 * g, 4 * g).astype(np.float32).astype(np.float64)
    box = [0.2 * size, 0.125 * size, 0.75 * size, 0.8125 * size]
    box = [float(np.float32(v)) for v in box]
    point = [[size * 0.5, size * 0.25], [size * 0.875, size * 0.5], [3.0, 30.0]]
    return {
        "box": {"boxes": box},
        "corners": {"point_coords": [box[:2], box[2:]], "point_labels": [2, 3]},
        "points": {"point_coords": point, "point_labels": [1, -1, 0]},
        "outside": {"point_coords": [[-4.5, size + 7.25]], "point_labels": [1]},
        "box_points": {"boxes": box, "point_coords": point[:2], "point_labels": [0, 1]},
        "box_mask": {"boxes": box, "mask_input": mask},
        "mask": {"mask_input": mask},
        "none": {},
    }


def canonical_to_era_c(name):
    for old, new in ((".rel_pos_", ".rel_"), (".mlp.lin1", ".mlp.layers.0.0"), (".mlp.lin2", ".mlp.fc")):
        if old != ".rel_pos_" and not name.startswith("mask_decoder"):
            continue
        name = name.replace(old, new)
    return name


def make(folder, variant, seed, store_weights, **sizes):
    cfg = {"img": 32, "patch": 8, "dim": 16, "depth": 3, "heads": 2, "win": 3, "glob": [1], "pdim": 16, "dmlp": 24,
           "dheads": 4, "iouh": 20}
    shown = dict(cfg)
    g = cfg["img"] // cfg["patch"]
    cfg.update(adapters=variant != "sam", wiring="esam" if variant == "msa2025" else "sam", pos_grid=g,
               global_rows=2 * g - 1, adapter_width=cfg["dim"] // 4)
    cfg.update(sizes)
    w, tensors = Weights(seed), {}
    inner, outer = [32, 24], [25, 19]
    image = (2.0 * hash_unit("in.image", seed, 3 * cfg["img"] ** 2)).astype(np.float32).astype(np.float64)
    encoder = {}
    embedding = encode(w, image.reshape(1, 3, cfg["img"], cfg["img"]), cfg, encoder)
    encoder["dense_pe"] = dense_position(w, cfg)
    tensors.update({"out." + k: v for k, v in encoder.items()})
    for name, case in cases(cfg, seed).items():
        # the decoder sees the embedding as a float32 model hands it over
        out = decode(w, cfg, embedding, case)
        if name == "box":
            postprocess(cfg, out["low_res"], out, inner, outer)
            first = variant == "msa2025"
            for which, take in (("sel_single", slice(0, 1)), ("sel_multi", slice(0, 1) if first else slice(1, 4))):
                out[which + ".low_res"], out[which + ".iou"] = out["low_res"][:, take], out["iou"][:, take]
        for key, value in case.items():
            value = np.array(value, dtype=np.float64)[None]
            tensors[f"in.{name}.{key}"] = value[None] if key == "mask_input" else value
        tensors.update({f"out.{name}.{k}": v for k, v in out.items()})
    if store_weights:
        for name, value in w.made.items():
            tensors["w." + (canonical_to_era_c(name) if variant == "msa2025" else name)] = value
        for i in range(4):  # labels 2 and 3 may be unused by the cases; a model has them all
            part = f"prompt_encoder.point_embeddings.{i}.weight"
            tensors.setdefault("w." + part, hash_weight(part, (1, cfg["pdim"]), seed))
    write(os.path.join(folder, f"own_{variant}_2d.safetensors"), tensors, {
        "weights_file": "(this file)" if store_weights else "none: hash scheme", "config": json.dumps(shown),
        "seed": str(seed), "variant": variant, "post_input_size": json.dumps(inner),
        "post_original_size": json.dumps(outer), "stability_offset": "1.0",
        "made_by": f"scripts/make_golden.py, Python {platform.python_version()}, NumPy {np.__version__}"})


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "..", "tests", "golden")
    make(folder, "sam", 5, False)
    make(folder, "msa2023", 6, False)
    # Stored weights, in the later spelling, with tables and positions of another grid and a narrow adapter.
    make(folder, "msa2025", 7, True, pos_grid=6, global_rows=11, adapter_width=3)


if __name__ == "__main__":
    main()
