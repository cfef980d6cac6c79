#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What PyTorch computes for side networks beside the model ../nano/llama.

    python make-reference.py

writes reference.json: for each form and downsampler the mean loss over the first four
sequences of 24 of the model's token_ids, and of the gradient of each parameter of the side
network its length, its products with two vectors of signs, and some of its values. In
float64, with transformers' blocks and eager attention; the values of the parameters are
those of `value` below. Hidden states are rounded to bfloat16 before a downsampler with
weights, as the adapter does.
"""

import json
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

HERE = Path(__file__).resolve().parent
NANO = HERE.parent / "nano" / "llama"
SEQUENCES, LENGTH = 4, 24
REDUCTION, RANK, LAYERS = 4, 6, 2
WIDE, NARROW = 64, 16
CASES = [("paper", "adapter"), ("code", "adapter"), ("paper", "lora"), ("code", "linear"),
         ("paper", "maxpool"), ("lst", "linear"), ("lst", "avgpool")]


def signs(n, which):
    """The same as side_sign in side.h."""
    i = np.arange(n, dtype=np.uint64) * 2 + which
    i = (i * 2654435761) & 0xFFFFFFFF
    i = ((i ^ (i >> 16)) * 0x45D9F3B) & 0xFFFFFFFF
    return np.where((i ^ (i >> 16)) & 1, 1.0, -1.0)


def value(name, shape):
    """The same as fill_value in side.h."""
    stream = 0xCBF29CE484222325
    for c in name.encode():
        stream = ((stream ^ c) * 0x100000001B3) % 2**64
    n = int(np.prod(shape))
    with np.errstate(over="ignore"):
        i = np.uint64(stream) + np.arange(1, n + 1, dtype=np.uint64)
        i *= np.uint64(0x9E3779B97F4A7C15)
        i = (i ^ (i >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    noise = (i >> np.uint64(40)).astype(np.float64) / 2**23 - 1
    base = 0.7 if name.endswith("alpha") else 1.0 if name.endswith("norm.weight") or (
        "block.norm" in name) else 0.0
    values = np.float32(base) + np.float32(0.3) * noise.astype(np.float32)
    return torch.tensor(values.astype(np.float64)).reshape(shape)


class Side:
    def __init__(self, form, kind, config):
        self.form, self.kind, self.params = form, kind, {}
        small = LlamaConfig(**{**config.to_dict(), "hidden_size": NARROW, "head_dim": 4,
                               "intermediate_size": config.intermediate_size // REDUCTION})
        small._attn_implementation = "eager"
        self.blocks = LlamaForCausalLM(small).double().model
        names = {"self_attn.q_proj": "q", "self_attn.k_proj": "k", "self_attn.v_proj": "v",
                 "self_attn.o_proj": "o", "mlp.gate_proj": "gate", "mlp.up_proj": "up",
                 "mlp.down_proj": "down", "input_layernorm": "norm1",
                 "post_attention_layernorm": "norm2"}
        for i, block in enumerate(self.blocks.layers):
            for name, p in block.named_parameters():
                ours = f"side.layers.{i + 1}.block.{names[name[:-7]]}.weight"
                p.data = value(ours, p.shape)
                self.params[ours] = p
        p = self.blocks.norm.weight
        p.data = value("side.norm.weight", p.shape)
        self.params["side.norm.weight"] = p

    def get(self, name, *shape):
        if name not in self.params:
            self.params[name] = value(name, shape).requires_grad_()
        return self.params[name]

    def down(self, layer, h):
        if self.kind.endswith("pool"):
            windows = h.unflatten(-1, (NARROW, REDUCTION))
            return windows.amax(-1) if self.kind == "maxpool" else windows.mean(-1)
        layer = 1 if layer == 0 and self.form == "code" else layer
        at = f"side.layers.{layer}.downsample."
        h = h.float().bfloat16().double()
        if self.kind == "linear":
            y = h @ self.get(at + "first", NARROW, WIDE).T
            return y + self.get(at + "bias", NARROW) if self.form == "lst" else y
        y = h @ self.get(at + "first", RANK, WIDE).T
        if self.kind == "adapter":
            y = torch.nn.functional.silu(y)
        y = y @ self.get(at + "second", NARROW, RANK).T
        if self.kind == "adapter":
            y = torch.nn.functional.layer_norm(y, (NARROW,), self.get(at + "norm.weight", NARROW),
                                               self.get(at + "norm.bias", NARROW), 1e-5)
        return y

    def run(self, hidden, last):
        length = last.shape[1]
        positions = torch.arange(length)[None].expand(last.shape[0], -1)
        mask = torch.full((length, length), -torch.inf, dtype=last.dtype).triu(1)[None, None]
        g = self.down(0, hidden[0])
        rotary = self.blocks.rotary_emb(g, positions)
        for i, block in enumerate(self.blocks.layers, 1):
            n = NARROW if self.form == "code" else 1
            gate = self.get(f"side.layers.{i}.gate", n)
            share = torch.sigmoid(gate * (10 if self.form == "lst" else 1))
            g = (1 - share) * self.down(i, hidden[i]) + share * g
            out = block(g, attention_mask=mask, position_ids=positions,
                        position_embeddings=rotary)
            g = out[0] if isinstance(out, tuple) else out
        up = self.blocks.norm(g) @ self.get("side.up.weight", WIDE, NARROW).T
        up = up + self.get("side.up.bias", WIDE)
        if self.form == "lst":
            return up
        alpha = self.get("side.alpha", WIDE if self.form == "code" else 1)
        alpha = torch.sigmoid(alpha) if self.form == "code" else alpha
        return alpha * last + (1 - alpha) * up


def describe(gradient):
    flat = gradient.detach().reshape(-1).numpy()
    at = [int(k) for k in np.linspace(0, flat.size - 1, min(3, flat.size))]
    return {"norm": float(np.linalg.norm(flat)),
            "products": [float(flat @ signs(flat.size, which)) for which in range(2)],
            "values": [[k, float(flat[k])] for k in at]}


def rounded(v):
    if isinstance(v, float):
        return float(f"{v:.8g}")
    if isinstance(v, list):
        return [rounded(x) for x in v]
    return {k: rounded(x) for k, x in v.items()} if isinstance(v, dict) else v


def main():
    model = AutoModelForCausalLM.from_pretrained(NANO, dtype=torch.float32,
                                                 attn_implementation="eager").double()
    ids = json.loads((NANO / "reference.json").read_text())["token_ids"]
    batch = torch.tensor(ids[:SEQUENCES * LENGTH]).reshape(SEQUENCES, LENGTH)
    hidden = []
    with torch.no_grad():
        hooks = [model.model.layers[0].register_forward_pre_hook(
            lambda m, args, kwargs: hidden.append(args[0] if args else kwargs["hidden_states"]),
            with_kwargs=True)]
        hooks += [block.register_forward_hook(
            lambda m, args, out: hidden.append(out[0] if isinstance(out, tuple) else out))
            for block in model.model.layers]
        last = model.model(batch).last_hidden_state
    lines = []
    for form, kind in CASES:
        side = Side(form, kind, model.config)
        logits = model.lm_head(side.run(hidden, last))[:, :-1].reshape(-1, model.config.vocab_size)
        loss = torch.nn.functional.cross_entropy(logits, batch[:, 1:].reshape(-1))
        loss.backward()
        tensors = ",\n".join(f'   "{name}": {json.dumps(rounded(describe(p.grad)))}'
                             for name, p in sorted(side.params.items()))
        lines.append(f' {{"form": "{form}", "downsample": "{kind}", "loss": {loss.item():.8g},\n'
                     f'  "gradients": {{\n{tensors}}}}}')
    (HERE / "reference.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


main()
