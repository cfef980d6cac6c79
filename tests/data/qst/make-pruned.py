#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What a side network is when it is cut out of the small models in ../nano.

    python make-pruned.py

writes pruned.json: for each model and reduction, of each matrix and vector of the side network
that is cut, also of linear downsamplers and of what leads back, its length, its products with two vectors of signs, and some of its
values. Worked out with numpy from the files of the models, in the names and layouts that
transformers gives them: whole matrices are made that have a row for each channel, what to keep
is an index, and rotary pairs are found by comparing their frequencies.
"""

import json
from pathlib import Path

import numpy as np
from safetensors.torch import load_file

HERE = Path(__file__).resolve().parent
NANO = HERE.parent / "nano"
CASES = [("llama", 4), ("llama", 8), ("qwen2", 2), ("qwen3", 4), ("gpt2", 4), ("gpt_neo", 2),
         ("gpt_neox", 2), ("gptj", 4), ("opt", 4), ("opt_postln", 2)]

LLAMA = {"at": "model.layers.{}.", "embedding": "model.embed_tokens", "final": "model.norm",
         "norm1": "input_layernorm", "norm2": "post_attention_layernorm",
         "q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj",
         "o": "self_attn.o_proj", "gate": "mlp.gate_proj", "up": "mlp.up_proj",
         "down": "mlp.down_proj", "q_norm": "self_attn.q_norm", "k_norm": "self_attn.k_norm"}
GPT = {"at": "transformer.h.{}.", "embedding": "transformer.wte", "final": "transformer.ln_f",
       "norm1": "ln_1", "norm2": "ln_2", "up": "mlp.c_fc", "down": "mlp.c_proj"}
OPT = {"at": "model.decoder.layers.{}.", "embedding": "model.decoder.embed_tokens",
       "final": "model.decoder.final_layer_norm", "project_in": "model.decoder.project_in",
       "project_out": "model.decoder.project_out",
       "norm1": "self_attn_layer_norm", "norm2": "final_layer_norm", "q": "self_attn.q_proj",
       "k": "self_attn.k_proj", "v": "self_attn.v_proj", "o": "self_attn.out_proj", "up": "fc1",
       "down": "fc2"}
NAMES = {
    "llama": LLAMA, "qwen2": LLAMA, "qwen3": LLAMA, "opt": OPT, "opt_postln": OPT,
    "gpt2": {**GPT, "qkv": "attn.c_attn", "o": "attn.c_proj"},
    "gpt_neo": {**GPT, "q": "attn.attention.q_proj", "k": "attn.attention.k_proj",
                "v": "attn.attention.v_proj", "o": "attn.attention.out_proj"},
    "gptj": {**GPT, "q": "attn.q_proj", "k": "attn.k_proj", "v": "attn.v_proj",
             "o": "attn.out_proj", "up": "mlp.fc_in", "down": "mlp.fc_out"},
    "gpt_neox": {"at": "gpt_neox.layers.{}.", "embedding": "gpt_neox.embed_in",
                 "final": "gpt_neox.final_layer_norm", "norm1": "input_layernorm",
                 "norm2": "post_attention_layernorm", "qkv": "attention.query_key_value",
                 "o": "attention.dense", "up": "mlp.dense_h_to_4h",
                 "down": "mlp.dense_4h_to_h"},
}
# Values of each head of 16 that are turned, and whether pairs are neighbours.
TURNED = {"gptj": (8, True), "gpt_neox": (4, False)}


class Model:
    def __init__(self, name):
        tensors = {}
        for part in sorted((NANO / name).glob("*.safetensors")):
            tensors.update(load_file(part))
        self.tensors = {k: t.double().numpy() for k, t in tensors.items()}
        self.names, self.name = NAMES[name], name
        config = json.loads((NANO / name / "config.json").read_text())
        self.heads = config.get("num_attention_heads") or config.get("n_head") or \
            config["num_heads"]
        self.kv = config.get("num_key_value_heads", self.heads)
        self.hidden = config.get("hidden_size") or config["n_embd"]
        self.size = config.get("head_dim", self.hidden // self.heads)
        rotary = name in ("llama", "qwen2", "qwen3")
        self.turned, self.neighbours = TURNED.get(name, (self.size if rotary else 0, False))

    def get(self, role, part="weight", layer=None):
        at = "" if layer is None else self.names["at"].format(layer)
        t = self.tensors.get(f"{at}{self.names[role]}.{part}") if role in self.names else None
        if t is not None and self.name == "gpt2" and t.ndim == 2 and layer is not None:
            t = t.T
        return t

    def linear(self, role, part, layer):
        """q, k and v apart, however the file has them."""
        if role in ("q", "k", "v") and "qkv" in self.names:
            t, i = self.get("qkv", part, layer), "qkv".index(role)
            if self.name == "gpt_neox":
                t = t.reshape(self.heads, 3, self.size, *t.shape[1:])[:, i]
                return t.reshape(-1, *t.shape[2:])
            return np.split(t, 3)[i]
        return self.get(role, part, layer)


def top(scores, n):
    """Where the n largest are."""
    return np.sort(np.argsort(-scores, kind="stable")[:n])


def pairs(model, small):
    """Values of a head that turn, as the side network's do: by frequency."""
    n = model.turned * small // model.size
    if n == 0:
        return []
    theta = 10000.0
    wide = theta ** (-np.arange(0, model.turned, 2) / model.turned)
    thin = theta ** (-np.arange(0, n, 2) / n)
    at = [int(np.argmin(abs(np.log(wide) - np.log(f)))) for f in thin]
    assert np.allclose(wide[at], thin, rtol=1e-12)
    if model.neighbours:
        return [v for p in at for v in (2 * p, 2 * p + 1)]
    return at + [p + model.turned // 2 for p in at]


def block(model, layer, hidden, reduction):
    """Its parameters, by role and part."""
    small = model.hidden // (reduction * model.heads)
    size, kv, group = model.size, model.kv, model.heads // model.kv
    w = {r: model.linear(r, "weight", layer) for r in
         ("q", "k", "v", "o", "gate", "up", "down")}
    sums = {r: abs(w[r][:, hidden]).sum(1) for r in ("q", "k", "v", "gate", "up")
            if w[r] is not None}
    mlp = sums["up"] + sums.get("gate", 0) + abs(w["down"][hidden]).sum(0)
    values = sums["v"].reshape(kv, size) + \
        abs(w["o"][hidden]).sum(0).reshape(kv, group, size).sum(1)
    still = sums["k"].reshape(kv, size) + sums["q"].reshape(kv, group, size).sum(1)
    turned = pairs(model, small)
    ffn = top(mlp, len(mlp) // reduction)
    value = [top(row, small) for row in values]
    look = [np.concatenate([turned, model.turned + top(row[model.turned:], small - len(turned))])
            .astype(int) for row in still]
    rows = {
        "q": np.concatenate([h * size + look[h // group] for h in range(model.heads)]),
        "k": np.concatenate([h * size + look[h] for h in range(kv)]),
        "v": np.concatenate([h * size + value[h] for h in range(kv)]),
        "o": hidden, "gate": ffn, "up": ffn, "down": hidden, "norm1": hidden, "norm2": hidden,
        "q_norm": look[0], "k_norm": look[0]}
    cols = {"o": np.concatenate([h * size + value[h // group] for h in range(model.heads)]),
            "down": ffn}
    out = {}
    for role, keep in rows.items():
        for part in ("weight", "bias"):
            t = model.linear(role, part, layer)
            if t is not None:
                t = t[keep]
                out[role, part] = t[:, cols.get(role, hidden)] if t.ndim == 2 else t
    return out


def joined(model, params):
    if model.name not in ("gpt2", "gpt_neox"):
        return params
    for part in ("weight", "bias"):
        params["qkv", part] = np.concatenate([params.pop((r, part)) for r in "qkv"])
    return params


def signs(n, which):
    """The same as side_sign in side.h."""
    i = np.arange(n, dtype=np.uint64) * 2 + which
    i = (i * 2654435761) & 0xFFFFFFFF
    i = ((i ^ (i >> 16)) * 0x45D9F3B) & 0xFFFFFFFF
    return np.where((i ^ (i >> 16)) & 1, 1.0, -1.0)


def describe(t):
    flat = t.reshape(-1)
    at = [int(k) for k in np.linspace(0, flat.size - 1, min(3, flat.size))]
    return {"norm": float(f"{np.linalg.norm(flat):.8g}"),
            "products": [float(f"{flat @ signs(flat.size, which):.8g}") for which in range(2)],
            "values": [[k, float(f"{flat[k]:.8g}")] for k in at]}


def case(name, reduction):
    model = Model(name)
    entry = model.get("project_in")
    scores = abs(model.get("embedding")).sum(0) if entry is None else abs(entry).sum(1)
    hidden = top(scores, model.hidden // reduction)
    params = {}
    for layer in range(2):
        for (role, part), t in joined(model, block(model, layer, hidden, reduction)).items():
            params[f"side.layers.{layer + 1}.block.{role}.{part}"] = t
    for part in ("weight", "bias"):
        if model.get("final", part) is not None:
            params[f"side.norm.{part}"] = model.get("final", part)[hidden]
    pick = np.eye(model.hidden)[hidden]
    for layer in range(3):
        params[f"side.layers.{layer}.downsample.first"] = pick
    last = model.get("project_out")
    params["side.up.weight"] = pick.T if last is None else last[:, hidden]
    lines = ",\n".join(f'   "{n}": {json.dumps(describe(t))}' for n, t in sorted(params.items()))
    return f' {{"model": "{name}", "reduction": {reduction},\n  "values": {{\n{lines}}}}}'


def main():
    text = ",\n".join(case(name, reduction) for name, reduction in CASES)
    (HERE / "pruned.json").write_text("[\n" + text + "\n]\n")


main()
