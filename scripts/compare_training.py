#!/usr/bin/env python3
"""The paper's claim, in small: what to train when a base meets real data.

usage: compare_training.py --msa build/msa --base MODEL --data DIR --out DIR [--steps N] [--seeds N]

DIR holds organs-ct-nifti, organs-mr-nifti, ct-4dlung-rtstruct, mr-brain1 and ct-3slice-seg. Two folds: each evaluates two
series that its training did not see, one CT and one MR, one of organs and one of a tumour. For every fold, way of training
and seed: one `msa train`, then `msa eval` of the held-back series with tight boxes. What is there already is not run again.
Prints a table in Markdown: mean and, over the seeds, least and most volume Dice.
"""
import argparse
import json
import os
import subprocess
import sys

CASES = {
    "CT organs": "organs-ct-nifti",
    "MR organs": "organs-mr-nifti",
    "CT tumour": "ct-4dlung-rtstruct",
    "MR tumour": "mr-brain1",
    "CT liver": "ct-3slice-seg",
}
FOLDS = [["CT organs", "MR tumour"], ["MR organs", "CT tumour"]]
WAYS = [("fully fine-tuned", "all", 0.0001), ("adapters", "adapters", 0.001), ("adapters + decoder", "adapters+decoder", 0.0005)]
RECIPE = """base: {base}
out: {out}
train: {train}
steps: {steps}
batch: 4
lanes: 4
targets: 1
iou_weight: 0.1
seed: {seed}
lr: {lr}
schedule: cosine
warmup: 20
weight_decay: 0.01
clip: 1
ema: 0.99
box_chance: 0.95
box_jitter: 0.04
rounds: 1
half: true
checkpoint_every: 1000
data:
  synthetic: 1
  volumes: 1
  all_orientations: true
  augment: 0.5
  cases: [{cases}]
"""


def run(command, log):
    with open(log, "a") as f:
        if subprocess.run(command, stdout=f, stderr=f).returncode != 0:
            sys.exit("%s failed: see %s" % (" ".join(command), log))


def evaluate(args, arguments, case, name):
    """The mean Dice of one series; kept as JSON."""
    path = os.path.join(args.out, name + ".json")
    if not os.path.exists(path):
        run([args.msa, "eval", *arguments, "--data", os.path.join(args.data, CASES[case]), "--json", path], path + ".log")
    with open(path) as f:
        return json.load(f)["mean_dice"]


def train(args, fold, way, seed):
    """Trains unless it was done; what `msa eval` is to be given, and how much of the model trained."""
    _, kind, lr = way
    out = os.path.join(args.out, "fold%d-%s-%d" % (fold, kind.replace("+", "-"), seed))
    result = os.path.join(out, "model.safetensors" if kind == "all" else "adapter.safetensors")
    cases = [os.path.join(args.data, folder) for name, folder in CASES.items() if name not in FOLDS[fold]]
    if not os.path.exists(result):
        os.makedirs(out, exist_ok=True)
        recipe = os.path.join(out, "recipe.yaml")
        with open(recipe, "w") as f:
            f.write(RECIPE.format(base=args.base, out=out, train=kind, steps=args.steps, seed=seed, lr=lr, cases=", ".join(cases)))
        run([args.msa, "train", recipe], os.path.join(out, "log"))
    with open(os.path.join(out, "log")) as f:
        share = next(line for line in f if "parameters train" in line).split()
    arguments = [result] if kind == "all" else [args.base, "--adapter", result]
    return arguments, "%.1f %%" % (100 * int(share[0]) / int(share[2]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--msa", required=True)
    parser.add_argument("--base", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--seeds", type=int, default=2)
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    names = [name for fold in FOLDS for name in fold]
    print("| | trained | " + " | ".join(names) + " |")
    print("| --- | --- |" + " --- |" * len(names))
    for title, arguments in [("box filled", ["--baseline", "filled"]), ("Otsu in the box", ["--baseline", "otsu"]),
                             ("base", [args.base])]:
        row = [evaluate(args, arguments, name, "%s-%s" % (title.replace(" ", "-"), CASES[name])) for name in names]
        print("| %s | - | " % title + " | ".join("%.3f" % x for x in row) + " |", flush=True)
    for way in WAYS:
        found = {}
        share = ""
        for fold, held_back in enumerate(FOLDS):
            for seed in range(1, args.seeds + 1):
                arguments, share = train(args, fold, way, seed)
                for name in held_back:
                    key = "fold%d-%s-%d-%s" % (fold, way[1].replace("+", "-"), seed, CASES[name])
                    found.setdefault(name, []).append(evaluate(args, arguments, name, key))
        cells = ["%.3f (%.3f to %.3f)" % (sum(found[n]) / len(found[n]), min(found[n]), max(found[n])) for n in names]
        print("| %s | %s | " % (way[0], share) + " | ".join(cells) + " |", flush=True)


main()
