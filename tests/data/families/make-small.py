#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes small/: a model of a family that only the example of qtk-arch(5) describes.

    python make-small.py

What it computes is written down here a second time, in numpy with 64 bits; the
perplexity is that of the first two windows of 64 tokens of ../../../examples/text/
evaluate.txt. Needs numpy, safetensors and tokenizers.
"""

import json
import math
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "small"
TOKENIZER = HERE.parent / "nano" / "llama" / "tokenizer.json"
TEXT = HERE.parents[2] / "examples" / "text" / "evaluate.txt"

WIDTH, DEPTH, HEADS, GROUPS, SIZE, FFN, TOKENS = 32, 3, 4, 2, 8, 48, 384
WINDOW, CAP, TURNED, EPSILON = 16, 5.0, 4, 1e-5

CONFIG = {
    "model_type": "small", "width": WIDTH, "depth": DEPTH, "mlp_width": FFN, "tokens": TOKENS,
    "positions": 256, "act": "GELU",
    "attention": {"heads": HEADS, "groups": GROUPS, "window": WINDOW, "cap": CAP, "turned": 0.5},
}


def weights():
    draw = np.random.default_rng(7)
    kv = GROUPS * SIZE

    def matrix(rows, cols):
        return (1.5 * draw.standard_normal((rows, cols)) / math.sqrt(cols)).astype(np.float16)

    def gain(n):
        return (1.0 + 0.2 * draw.standard_normal(n)).astype(np.float16)

    w = {"embed.weight": (0.2 * draw.standard_normal((TOKENS, WIDTH))).astype(np.float16)}
    for i in range(DEPTH):
        b = f"blocks.{i}."
        w[b + "norm.gain"] = gain(WIDTH)
        w[b + "attn.q.weight"] = matrix(HEADS * SIZE, WIDTH)
        w[b + "attn.kv.weight"] = matrix(2 * kv, WIDTH)
        w[b + "attn.q_gain"] = gain(SIZE)
        w[b + "attn.k_gain"] = gain(SIZE)
        w[b + "attn.out.weight"] = matrix(WIDTH, HEADS * SIZE)
        w[b + "mlp.in.weight"] = matrix(2 * FFN, WIDTH)
        w[b + "mlp.out.weight"] = matrix(WIDTH, FFN)
    w["norm.gain"] = gain(WIDTH)
    return w


def layer_norm(x, gain):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + EPSILON) * gain


def head_norm(x, gain):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + EPSILON) * gain


def turn(x):
    """Values 2 i and 2 i + 1 of each head together; x (n, heads, SIZE)."""
    x = x.copy()
    for i in range(TURNED // 2):
        angle = np.arange(len(x)) * 10000.0 ** (-2.0 * i / TURNED)
        c, s = np.cos(angle)[:, None], np.sin(angle)[:, None]
        a, b = x[:, :, 2 * i].copy(), x[:, :, 2 * i + 1].copy()
        x[:, :, 2 * i], x[:, :, 2 * i + 1] = a * c - b * s, a * s + b * c
    return x


def attention(x, w, b, window):
    n = len(x)
    q = (x @ w[b + "q.weight"].T).reshape(n, HEADS, SIZE)
    k, v = np.split((x @ w[b + "kv.weight"].T).reshape(n, 2 * GROUPS, SIZE), 2, axis=1)
    q, k = turn(head_norm(q, w[b + "q_gain"])), turn(head_norm(k, w[b + "k_gain"]))
    out = np.empty((n, HEADS, SIZE))
    for h in range(HEADS):
        g = h // (HEADS // GROUPS)
        scores = CAP * np.tanh(q[:, h] @ k[:, g].T / math.sqrt(SIZE) / CAP)
        for t in range(n):
            first = max(0, t - window + 1) if window else 0
            p = np.exp(scores[t, first:t + 1] - scores[t, first:t + 1].max())
            out[t, h] = p / p.sum() @ v[first:t + 1, g]
    return out.reshape(n, -1) @ w[b + "out.weight"].T


def mlp(x, w, b):
    gate, up = np.split(x @ w[b + "in.weight"].T, 2, axis=1)
    gelu = 0.5 * gate * (1.0 + np.vectorize(math.erf)(gate / math.sqrt(2.0)))
    return (gelu * up) @ w[b + "out.weight"].T


def losses(ids, w):
    h = w["embed.weight"][ids] * math.sqrt(WIDTH)
    for i in range(DEPTH):
        x = layer_norm(h, w[f"blocks.{i}.norm.gain"])
        h = h + attention(x, w, f"blocks.{i}.attn.", WINDOW if i % 2 else 0) \
              + mlp(x, w, f"blocks.{i}.mlp.")
    logits = layer_norm(h, w["norm.gain"]) @ w["embed.weight"].T
    top = logits.max(-1)
    total = top + np.log(np.exp(logits - top[:, None]).sum(-1))
    return (total[:-1] - logits[np.arange(len(ids) - 1), ids[1:]])


shutil.rmtree(FOLDER, ignore_errors=True)
FOLDER.mkdir()
w = weights()
save_file(w, FOLDER / "model.safetensors")
(FOLDER / "config.json").write_text(json.dumps(CONFIG, indent=1) + "\n")
for name in "tokenizer.json", "tokenizer_config.json":
    shutil.copyfile(TOKENIZER.parent / name, FOLDER / name)
ids = Tokenizer.from_file(str(TOKENIZER)).encode(TEXT.read_text(), add_special_tokens=False).ids
w = {name: value.astype(np.float64) for name, value in w.items()}
windows = [float(losses(np.array(ids[64 * i:64 * i + 64]), w).mean()) for i in range(2)]
text = {"window_nll": windows, "perplexity": math.exp(sum(windows) / 2)}
(FOLDER / "reference.json").write_text(json.dumps(text) + "\n")
print(text)
