#!/usr/bin/env python3
"""Makes tests/golden/own_{effsam,mobile,adalora}.safetensors, as make_golden.py makes the others.

    scripts/make_golden_variants.py [FOLDER]        default: tests/golden beside this script's folder
"""
import json
import math
import os
import platform
import sys

import numpy as np

import make_golden as base
from make_golden import adapter, conv, conv_transpose, gelu, hash_unit, layer_norm, linear, norm_planes, softmax


def made_by():
    return f"scripts/make_golden_variants.py, Python {platform.python_version()}, NumPy {np.__version__}"


def hashed_image(size, seed):
    x = (2.0 * hash_unit("in.image", seed, 3 * size * size)).astype(np.float32).astype(np.float64)
    return x.reshape(1, 3, size, size)


def neck(w, x, p, out):
    c = x.shape[1]
    y = out["neck.0"] = conv(x, w("image_encoder.neck.0.weight", p, c, 1, 1), None, 1, 0)
    y = out["neck.1"] = norm_planes(w, "image_encoder.neck.1", y)
    y = out["neck.2"] = conv(y, w("image_encoder.neck.2.weight", p, p, 3, 3), None, 1, 1)
    y = out["neck.3"] = norm_planes(w, "image_encoder.neck.3", y)
    return y


def cases(size):
    box = [float(np.float32(v)) for v in (0.2 * size, 0.125 * size, 0.75 * size, 0.8125 * size)]
    points = [[size * 0.5, size * 0.25], [size * 0.875, size * 0.5], [3.0, 30.0]]
    return {
        "point": {"point_coords": points[:1], "point_labels": [1]},
        "box": {"boxes": box},
        "box_points": {"boxes": box, "point_coords": points, "point_labels": [1, -1, 1]},
        "none": {},
    }


# ---- EfficientSAM ----

def effsam_block(w, i, x, cfg, out):
    name = f"image_encoder.blocks.{i}"
    c, eps, width = x.shape[-1], cfg["norm_eps_blocks"], x.shape[-1] // 4
    n = out[f"block.{i}.norm1"] = layer_norm(w, name + ".norm1", x, eps)
    y = out[f"block.{i}.attn"] = base.attention_windows(w, name + ".attn", n, cfg, 2 * x.shape[1] - 1)
    y = out[f"block.{i}.Space_Adapter"] = y + adapter(w, name + ".Space_Adapter", y, width)
    x = x + y
    n = out[f"block.{i}.norm2"] = layer_norm(w, name + ".norm2", x, eps)
    m = out[f"block.{i}.mlp"] = linear(w, name + ".mlp.lin2", gelu(linear(w, name + ".mlp.lin1", n, 4 * c)), c)
    a = out[f"block.{i}.MLP_Adapter"] = adapter(w, name + ".MLP_Adapter", n, width)
    out[f"block.{i}"] = x + m + 0.5 * a
    return out[f"block.{i}"]


def effsam_encode(w, image, cfg, out):
    c, patch = cfg["dim"], cfg["patch"]
    x = conv(image, w("image_encoder.patch_embed.proj.weight", c, 3, patch, patch),
             w("image_encoder.patch_embed.proj.bias", c), patch, 0)
    out["patch_embed"] = x
    g = x.shape[2]
    pos = w("image_encoder.pos_embed", 1, 197, c)[:, 1:].reshape(1, 14, 14, c).transpose(0, 3, 1, 2)
    x = (x + base.resize(pos, g, g, base.bicubic_matrix)).transpose(0, 2, 3, 1)
    for i in range(cfg["depth"]):
        x = effsam_block(w, i, x, cfg, out)
    return neck(w, x.transpose(0, 3, 1, 2), cfg["pdim"], out)


def effsam_prompt(w, cfg, case):
    names = {-1: "invalid_points", 1: "point_embeddings", 2: "bbox_top_left_embeddings",
             3: "bbox_bottom_right_embeddings"}
    points = list(zip(case.get("point_coords", []), case.get("point_labels", [])))
    if "boxes" in case:
        x0, y0, x1, y1 = case["boxes"]
        points += [((x0, y0), 2), ((x1, y1), 3)]
    points += [((-1.0, -1.0), -1)] * (6 - len(points))
    rows = [base.fourier(w, cfg, (np.array(xy) + 0.5) / cfg["img"])
            + w(f"prompt_encoder.{names[label]}.weight", 1, cfg["pdim"])[0] for xy, label in points]
    return np.stack(rows)


def effsam_transformer(w, cfg, tokens, keys, pos):
    p, q, k = cfg["pdim"], tokens, keys
    for i in range(2):
        layer = f"mask_decoder.transformer.layers.{i}"

        def norm(n, x):
            return layer_norm(w, f"{layer}.norm{n}", x, 1e-5)

        q = q + tokens if i > 0 else q
        q = norm(1, q + base.attend(w, layer + ".self_attn", cfg, q, q, q, p))
        q = norm(2, q + base.attend(w, layer + ".cross_attn_token_to_image", cfg, q + tokens, k + pos, k, p // 2))
        q = norm(3, q + linear(w, layer + ".mlp.lin2", gelu(linear(w, layer + ".mlp.lin1", q, cfg["dmlp"])), p))
        k = norm(4, k + base.attend(w, layer + ".cross_attn_image_to_token", cfg, k + pos, q + tokens, q, p // 2))
    name = "mask_decoder.transformer"
    q = q + base.attend(w, name + ".final_attn_token_to_image", cfg, q + tokens, k + pos, k, p // 2)
    return layer_norm(w, name + ".norm_final_attn", q, 1e-5), k


def group_norm(w, name, x):
    c = x.shape[1]
    y = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
    return y * w(name + ".weight", c)[None, :, None, None] + w(name + ".bias", c)[None, :, None, None]


def effsam_head(w, name, x, hidden, last):
    x = gelu(linear(w, name + ".layers.0.0", x, hidden))
    return linear(w, name + ".fc", gelu(linear(w, name + ".layers.1.0", x, hidden)), last)


def effsam_decode(w, cfg, embedding, case):
    p, g = cfg["pdim"], cfg["img"] // cfg["patch"]
    sparse = effsam_prompt(w, cfg, case)
    tokens = np.concatenate([w("mask_decoder.iou_token.weight", 1, p), w("mask_decoder.mask_tokens.weight", 4, p),
                             sparse])
    flat = [x.reshape(p, g * g).T for x in (embedding, base.dense_position(w, cfg))]
    q, k = effsam_transformer(w, cfg, tokens, flat[0], flat[1])
    name = "mask_decoder.final_output_upscaling_layers"
    up = conv_transpose(k.T.reshape(1, p, g, g), w(name + ".0.0.weight", p, p // 4, 2, 2),
                        w(name + ".0.0.bias", p // 4))
    up = gelu(group_norm(w, name + ".0.1", up))
    up = gelu(conv_transpose(up, w(name + ".1.0.weight", p // 4, p // 8, 2, 2), w(name + ".1.0.bias", p // 8)))
    hyper = np.stack([effsam_head(w, f"mask_decoder.output_hypernetworks_mlps.{i}", q[1 + i], p, p // 8)
                      for i in range(4)])
    return {"sparse": sparse[None], "tokens": q[None], "low_res": np.einsum("mc,cyx->myx", hyper, up[0])[None],
            "iou": effsam_head(w, "mask_decoder.iou_prediction_head", q[0], cfg["iouh"], 4)[None]}


def store_case(tensors, name, case):
    for key, value in case.items():
        tensors[f"in.{name}.{key}"] = np.array(value, dtype=np.float64)[None]


def make_effsam(folder, seed):
    cfg = {"img": 32, "patch": 8, "dim": 16, "depth": 2, "heads": 2, "pdim": 16, "dmlp": 24, "dheads": 4,
           "iouh": 20, "norm_eps_blocks": 1e-4}
    w, encoder, tensors = base.Weights(seed), {}, {}
    embedding = effsam_encode(w, hashed_image(cfg["img"], seed), cfg, encoder)
    tensors.update({"out." + k: v for k, v in encoder.items()})
    for name, case in cases(cfg["img"]).items():
        store_case(tensors, name, case)
        tensors.update({f"out.{name}.{k}": v for k, v in effsam_decode(w, cfg, embedding, case).items()})
    base.write(os.path.join(folder, "own_effsam.safetensors"), tensors, {
        "weights_file": "none: hash scheme", "config": json.dumps(cfg), "seed": str(seed), "variant": "effsam",
        "made_by": made_by()})


# ---- MobileSAM ----

def conv_bn(w, name, x, n, k=1, stride=1, each=False):
    """A convolution and its batch norm; each: every channel by itself."""
    c, pad = x.shape[1], k // 2
    kernel = w(name + ".c.weight", n, 1 if each else c, k, k)
    if each:
        y = np.concatenate([conv(x[:, i:i + 1], kernel[i:i + 1], None, stride, pad) for i in range(n)], axis=1)
    else:
        y = conv(x, kernel, None, stride, pad)
    gain, shift, mean, var = (w(f"{name}.bn.{part}", n)[None, :, None, None]
                              for part in ("weight", "bias", "running_mean", "running_var"))
    return (y - mean) / np.sqrt(var + 1e-5) * gain + shift


def conv_block(w, name, x, hidden, n, stride):
    y = gelu(conv_bn(w, name + ".conv1", x, hidden))
    y = gelu(conv_bn(w, name + ".conv2", y, hidden, 3, stride, True))
    return conv_bn(w, name + ".conv3", y, n)


def bias_attention(w, name, x, heads, side):
    """x (windows, side * side, C)."""
    n, area, c = x.shape
    d = c // heads
    qkv = linear(w, name + ".qkv", layer_norm(w, name + ".norm", x, 1e-5), 3 * c).reshape(n, area, heads, 3, d)
    q, k, v = (qkv[:, :, :, i].transpose(0, 2, 1, 3) for i in range(3))
    table = w(name + ".attention_biases", heads, side * side)
    y, xx = np.divmod(np.arange(area), side)
    index = np.abs(y[:, None] - y) * side + np.abs(xx[:, None] - xx)
    p = softmax(q @ k.transpose(0, 1, 3, 2) / math.sqrt(d) + table[:, index])
    return linear(w, name + ".proj", (p @ v).transpose(0, 2, 1, 3).reshape(n, area, c), c)


def mobile_block(w, name, x, heads, side, ratio, adapters):
    """x (1, C, h, w)."""
    c, h, wd = x.shape[1:]
    t, whole = x.transpose(0, 2, 3, 1), (h, wd) == (side, side)
    windows = base.split(t, side)
    y = bias_attention(w, name + ".attn", windows.reshape(len(windows), side * side, c), heads, side)
    if adapters and not whole:
        y = y + adapter(w, name + ".Space_Adapter", y, c // 4)
    t = t + base.merge(y.reshape(-1, side, side, c), side, h, wd)
    t = conv_bn(w, name + ".local_conv", t.transpose(0, 3, 1, 2), c, 3, 1, True).transpose(0, 2, 3, 1)
    y = linear(w, name + ".mlp.fc2", gelu(linear(w, name + ".mlp.fc1", layer_norm(w, name + ".mlp.norm", t, 1e-5),
                                                 ratio * c)), c)
    if adapters:
        y = y + 0.5 * adapter(w, name + ".MLP_Adapter", t, c // 4)
    return (t + y).transpose(0, 3, 1, 2)


def as_tokens(x):
    return x.reshape(1, x.shape[1], -1).transpose(0, 2, 1)


def mobile_encode(w, image, cfg, adapters, out):
    dims, name = cfg["embed_dims"], "image_encoder.patch_embed.seq"
    x = conv_bn(w, name + ".0", image, dims[0] // 2, 3, 2)
    x = conv_bn(w, name + ".2", gelu(x), dims[0], 3, 2)
    out["patch_embed"] = as_tokens(x)
    for i in range(4):
        for j in range(cfg["depths"][i]):
            name = f"image_encoder.layers.{i}.blocks.{j}"
            if i == 0:
                x = gelu(x + conv_block(w, name, x, cfg["mlp_ratio"] * dims[0], dims[0], 1))
            else:
                x = mobile_block(w, name, x, cfg["heads"][i], cfg["windows"][i], cfg["mlp_ratio"], adapters)
            out[f"layer.{i}.block.{j}"] = as_tokens(x)
        if i < 3:
            x = conv_block(w, f"image_encoder.layers.{i}.downsample", x, dims[i + 1], dims[i + 1],
                           1 if i == 2 else 2)
        out[f"layer.{i}"] = as_tokens(x)
    hidden = {}
    out["neck"] = neck(w, x, cfg["neck"], hidden)
    return out["neck"]


def make_mobile(folder, seed):
    cfg = {"img": 64, "embed_dims": [8, 16, 24, 32], "depths": [2, 2, 2, 1], "heads": [1, 2, 3, 4],
           "windows": [1, 3, 4, 3], "mlp_ratio": 2, "neck": 16, "dmlp": 24, "dheads": 4, "iouh": 20}
    decoder = dict(cfg, patch=16, pdim=cfg["neck"], wiring="sam")
    tensors, chosen = {}, ("point", "box")
    for name in chosen:
        store_case(tensors, name, cases(cfg["img"])[name])
    for scope, adapters in (("plain", False), ("adpt", True)):
        w, encoder = base.Weights(seed), {}
        embedding = mobile_encode(w, hashed_image(cfg["img"], seed), cfg, adapters, encoder)
        tensors.update({f"out.sub.{scope}.{k}": v for k, v in encoder.items()})
        for name in chosen:
            out = base.decode(w, decoder, embedding, cases(cfg["img"])[name])
            tensors.update({f"out.sub.{scope}.{name}.{k}": out[k] for k in ("low_res", "iou")})
    base.write(os.path.join(folder, "own_mobile.safetensors"), tensors, {
        "weights_file": "none: hash scheme", "config": json.dumps(cfg), "seed": str(seed), "variant": "mobile",
        "made_by": made_by()})


# ---- AdaLoRA ----

LAYERS = {"attn.qkv": (3, 1), "mlp.lin1": (4, 1), "mlp.lin2": (1, 4)}
RANK, RANKS_LEFT = 2, 1.5


def adalora_factors(seed, cfg):
    factors, c = {}, cfg["dim"]
    for i in range(cfg["depth"]):
        for layer, (n, k) in LAYERS.items():
            for part, shape in (("lora_A", (RANK, k * c)), ("lora_E", (RANK, 1)), ("lora_B", (n * c, RANK))):
                name = f"blocks.{i}.{layer}.{part}"
                factors[name] = (0.3 * hash_unit(name, seed, math.prod(shape))).astype(np.float32).reshape(shape)
    return {k: v.astype(np.float64) for k, v in factors.items()}


def adalora_forward(seed, cfg, factors, x, out):
    w = base.Weights(seed)
    for i in range(cfg["depth"]):
        for layer, (n, k) in LAYERS.items():
            name = f"image_encoder.blocks.{i}.{layer}.weight"
            whole = w(name, n * cfg["dim"], k * cfg["dim"])
            a, e, b = (factors[f"blocks.{i}.{layer}.{part}"] for part in ("lora_A", "lora_E", "lora_B"))
            w.made[name] = whole + b @ (a * e) / (RANKS_LEFT + 1e-5)
        x = base.block(w, i, x, cfg, out, False)
    return w, x


def make_adalora(folder, seed):
    cfg = {"img": 32, "patch": 8, "dim": 8, "depth": 2, "heads": 2, "win": 3, "glob": [1], "pdim": 16, "dmlp": 24,
           "dheads": 4, "iouh": 20}
    run = dict(cfg, adapters=False, global_rows=7)
    x, dy = ((0.5 * hash_unit(name, seed, 16 * cfg["dim"])).astype(np.float32).astype(np.float64)
             .reshape(1, 4, 4, cfg["dim"]) for name in ("in.x", "in.grad_out"))
    factors, out = adalora_factors(seed, cfg), {}
    plain, _ = adalora_forward(seed, run, {k: 0 * v for k, v in factors.items()}, x, {})
    adalora_forward(seed, run, factors, x, out)
    tensors = {"in.x": x, "in.grad_out": dy}
    tensors.update({"out." + k: v for k, v in out.items()})
    defects = []
    for name, f in factors.items():
        tensors["w." + name] = f
        gradient, flat = np.zeros(f.size), f.reshape(-1)
        for at in range(f.size):  # central differences: another way than the one that is checked
            kept, sums = flat[at], []
            for step in (1e-5, -1e-5):
                flat[at] = kept + step
                sums.append((adalora_forward(seed, run, factors, x, {})[1] * dy).sum())
            flat[at] = kept
            gradient[at] = (sums[0] - sums[1]) / 2e-5
        tensors["grad." + name] = gradient.reshape(f.shape)
        if not name.endswith("lora_E"):
            gram = f @ f.T if name.endswith("lora_A") else f.T @ f
            defects.append(np.linalg.norm(gram - np.eye(RANK)))
        if name.endswith("lora_B"):
            tensors["w." + name.replace("lora_B", "ranknum")] = np.array([RANKS_LEFT])
    for name, value in plain.made.items():
        tensors["w." + name.replace("image_encoder.", "").replace(".rel_pos_", ".rel_")] = value
    tensors["out.orth_regu_0.1"] = np.array([0.1 * np.mean(defects)])
    base.write(os.path.join(folder, "own_adalora.safetensors"), tensors, {
        "config": json.dumps(cfg), "seed": str(seed), "variant": "adalora", "rank": str(RANK),
        "made_by": made_by()})


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "..", "tests", "golden")
    make_effsam(folder, 8)
    make_mobile(folder, 9)
    make_adalora(folder, 10)


if __name__ == "__main__":
    main()
