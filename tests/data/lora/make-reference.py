#!/usr/bin/env python3
"""Records what PyTorch computes for pairs of low rank beside linears of small models.

usage: make-reference.py NANO-FOLDER

Needs PyTorch and transformers. NANO-FOLDER is tests/data/nano. Writes beside itself
reference.json: for each case the loss over the first 48 token ids before each of four
steps of AdamW; and CASE.f32: the gradients of all A and B before the first step, float32
little endian, one after the other. The values of parameter i begin as 0.1 noise(100000 i + k).
"""
import json
import os
import sys

import numpy
import torch
from transformers import AutoModelForCausalLM

MASK = (1 << 64) - 1
TOKENS, STEPS, RATE = 48, 4, 1e-2
CASES = [
    {"name": "llama", "rank": 4, "alpha": 16, "rslora": False, "roles": "q v",
     "modules": ["self_attn.q_proj", "self_attn.v_proj"]},
    {"name": "gpt2", "rank": 3, "alpha": 5, "rslora": True, "roles": "qkv down",
     "modules": ["attn.c_attn", "mlp.c_proj"]},
]


def noise(i):
    i = ((i + 1) * 0x9E3779B97F4A7C15) & MASK
    i = ((i ^ (i >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    return (i >> 40) / (1 << 23) - 1.0


class Pair(torch.nn.Module):
    """base(x) + scale (x AT) BT"""

    def __init__(self, base, sides, rank, scale, number):
        super().__init__()
        self.base, self.scale = base, scale
        self.a = self.values(number, (rank, sides[1]))
        self.b = self.values(number + 1, (sides[0], rank))

    @staticmethod
    def values(number, shape):
        n = shape[0] * shape[1]
        values = [0.1 * noise(100000 * number + k) for k in range(n)]
        return torch.nn.Parameter(torch.tensor(values, dtype=torch.float32).reshape(shape))

    def forward(self, x):
        return self.base(x) + self.scale * (x @ self.a.T) @ self.b.T


def put_pairs(model, case):
    pairs = []
    scale = case["alpha"] / (case["rank"] ** 0.5 if case["rslora"] else case["rank"])
    layers = model.model.layers if case["name"] == "llama" else model.transformer.h
    for layer in layers:
        for path in case["modules"]:
            parent, name = path.split(".")
            parent = getattr(layer, parent)
            base = getattr(parent, name)
            sides = base.weight.shape if case["name"] == "llama" else base.weight.T.shape
            pair = Pair(base, sides, case["rank"], scale, 2 * len(pairs))
            setattr(parent, name, pair)
            pairs.append(pair)
    return pairs


def run(folder, here, case):
    path = os.path.join(folder, case["name"])
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32,
                                                 attn_implementation="eager")
    model.requires_grad_(False)
    pairs = put_pairs(model, case)
    with open(os.path.join(path, "reference.json")) as f:
        ids = torch.tensor([json.load(f)["token_ids"][:TOKENS]])
    parameters = [p for pair in pairs for p in (pair.a, pair.b)]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, betas=(0.9, 0.999), eps=1e-8,
                                  weight_decay=0)
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad()
        logits = model(ids).logits[0, :-1]
        loss = torch.nn.functional.cross_entropy(logits, ids[0, 1:])
        loss.backward()
        if step == 0:
            gradients = numpy.concatenate([p.grad.numpy().ravel() for p in parameters])
            gradients.astype("<f4").tofile(os.path.join(here, case["name"] + ".f32"))
        optimizer.step()
        losses.append(loss.item())
    kept = {k: case[k] for k in ("name", "rank", "alpha", "rslora", "roles")}
    return {**kept, "tokens": TOKENS, "learning_rate": RATE, "losses": losses}


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    cases = [run(sys.argv[1], here, case) for case in CASES]
    with open(os.path.join(here, "reference.json"), "w") as f:
        json.dump({"source": "PyTorch " + torch.__version__ + ", float32", "cases": cases}, f,
                  indent=1)
        f.write("\n")


main()
