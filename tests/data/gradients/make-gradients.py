#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What PyTorch computes when everything of a model in ../nano is trained.

    python make-gradients.py

writes reference.json: for each model the losses of four steps of AdamW over the first
four sequences of 24 of its token_ids (all four in every step), and of the gradient
before the first step, for each tensor, its length, its products with two vectors of
signs, and some of its values. All in float64, with transformers and eager attention.
Tensors have the shapes that qtk gives them: linears [out, in], rows of q, then k, then v.
"""

import json
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

HERE = Path(__file__).resolve().parent
NANO = HERE.parent / "nano"
SEQUENCES, LENGTH = 4, 24
RULE = dict(lr=2e-3, betas=(0.9, 0.99), eps=1e-8)
DECAY, CLIP = 0.1, 1.0


def signs(n, which):
    """The same as signs in base-gradient.c."""
    i = np.arange(n, dtype=np.uint64) * 2 + which
    i = (i * 2654435761) & 0xFFFFFFFF
    i = ((i ^ (i >> 16)) * 0x45D9F3B) & 0xFFFFFFFF
    return np.where((i ^ (i >> 16)) & 1, 1.0, -1.0)


def ours(model, name, value):
    """A gradient in the shape and order of rows that qtk gives it."""
    owner = model.get_submodule(name.rsplit(".", 1)[0])
    if isinstance(owner, Conv1D) and value.ndim == 2:
        value = value.T
    if "query_key_value" in name:
        heads = model.config.num_attention_heads
        rest = value.shape[1:]
        value = value.reshape(heads, 3, -1, *rest).transpose(0, 1).reshape(-1, *rest)
    return value.contiguous().numpy()


def canonical(model, name):
    return "embed_out.weight" if "neox" in model.config.model_type and "lm_head" in name else name


def describe(gradient):
    flat = gradient.reshape(-1)
    at = [int(k) for k in np.linspace(0, flat.size - 1, 3)]
    return {"norm": float(np.linalg.norm(flat)),
            "products": [float(flat @ signs(flat.size, which)) for which in range(2)],
            "values": [[k, float(flat[k])] for k in at]}


def rounded(value):
    if isinstance(value, float):
        return float(f"{value:.8g}")
    if isinstance(value, list):
        return [rounded(v) for v in value]
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return value


def record(folder):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32,
                                                 attn_implementation="eager").double()
    ids = json.loads((folder / "reference.json").read_text())["token_ids"]
    batch = torch.tensor(ids[:SEQUENCES * LENGTH]).reshape(SEQUENCES, LENGTH)
    named = dict(model.named_parameters())
    groups = [{"params": [p for p in named.values() if p.ndim == 2], "weight_decay": DECAY},
              {"params": [p for p in named.values() if p.ndim != 2], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, **RULE)
    out = {"losses": [], "norms": [], "gradients": {}}
    for step in range(4):
        optimizer.zero_grad()
        logits = model(batch).logits[:, :-1].reshape(-1, model.config.vocab_size)
        loss = torch.nn.functional.cross_entropy(logits, batch[:, 1:].reshape(-1))
        loss.backward()
        if step == 0:
            out["gradients"] = {canonical(model, name): describe(ours(model, name, p.grad))
                                for name, p in named.items()}
        out["losses"].append(float(loss))
        out["norms"].append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)))
        optimizer.step()
    return rounded(out)


def main():
    torch.manual_seed(0)
    out = {folder.name: record(folder) for folder in sorted(NANO.iterdir()) if folder.is_dir()}
    lines = []
    for name, r in out.items():
        tensors = ",\n".join(f'   "{t}": {json.dumps(g)}' for t, g in r["gradients"].items())
        lines.append(f' "{name}": {{"losses": {r["losses"]}, "norms": {r["norms"]},\n'
                     f'  "gradients": {{\n{tensors}}}}}')
    (HERE / "reference.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


main()
