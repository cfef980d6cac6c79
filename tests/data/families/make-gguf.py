#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes gguf/*.gguf: models of this folder in the names of the gguf package.

    python make-gguf.py

Names of tensors and keys are the package's (TensorNameMap, GGUFWriter); the order of
rows is that of llama.cpp's converter: q and k of llama by pairs, q, k and v of gptneox
apart. Matrices are BF16, as in the folders. Needs gguf, numpy, torch and safetensors.
"""

import json
from pathlib import Path

import gguf
import numpy as np
from safetensors.torch import load_file

HERE = Path(__file__).resolve().parent
ARCH = gguf.MODEL_ARCH
MODELS = {
    "llama-linear": ARCH.LLAMA, "llama-bands": ARCH.LLAMA, "mistral-full": ARCH.LLAMA,
    "qwen2-linear": ARCH.QWEN2, "qwen3-linear": ARCH.QWEN3,
    "gpt2-plain": ARCH.GPT2, "gpt_neox-gelu": ARCH.GPTNEOX,
    "gptj-part": ARCH.GPTJ,
}
BF16 = gguf.GGMLQuantizationType.BF16


def first(config, *keys):
    for key in keys:
        if config.get(key) is not None:
            return config[key]
    return None


def write_keys(w, arch, c):
    hidden, heads = first(c, "hidden_size", "n_embd"), first(c, "num_attention_heads", "n_head")
    rope = c.get("rope_parameters") or c.get("rope_scaling") or {}
    size = c.get("head_dim") or hidden // heads
    w.add_block_count(first(c, "num_hidden_layers", "n_layer"))
    w.add_embedding_length(hidden)
    w.add_context_length(first(c, "max_position_embeddings", "n_positions"))
    w.add_feed_forward_length(first(c, "intermediate_size", "n_inner") or 4 * hidden)
    w.add_head_count(heads)
    if "num_key_value_heads" in c:
        w.add_head_count_kv(c["num_key_value_heads"])
    if "rms_norm_eps" in c:
        w.add_layer_norm_rms_eps(c["rms_norm_eps"])
    else:
        w.add_layer_norm_eps(first(c, "layer_norm_eps", "layer_norm_epsilon"))
    if arch in (ARCH.LLAMA, ARCH.QWEN2, ARCH.QWEN3):
        w.add_key_length(size)
        w.add_value_length(size)
        w.add_rope_freq_base(first(c, "rope_theta") or rope["rope_theta"])
        w.add_vocab_size(c["vocab_size"])
    if arch == ARCH.LLAMA:
        w.add_rope_dimension_count(size)
    if arch == ARCH.GPTNEOX:
        w.add_rope_dimension_count(int(rope["partial_rotary_factor"] * size))
        w.add_parallel_residual(c["use_parallel_residual"])
    if arch == ARCH.GPTJ:
        w.add_rope_dimension_count(c["rotary_dim"])
    if first(rope, "rope_type", "type") == "linear":
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(rope["factor"])


def divisors(rope, theta, size):
    """What llama3 divides each frequency by: GGUF files have it as a tensor."""
    low = rope["original_max_position_embeddings"] / rope["low_freq_factor"]
    high = rope["original_max_position_embeddings"] / rope["high_freq_factor"]
    wave = 2.0 * np.pi * theta ** (np.arange(0, size, 2) / size)
    share = (low / wave - 1.0) / (low / high - 1.0)
    mixed = 1.0 / ((1.0 - share) / rope["factor"] + share)
    return np.where(wave < high, 1.0, np.where(wave > low, rope["factor"], mixed))


def by_pairs(x, heads):
    """Rows of each head: halves become pairs."""
    half = x.shape[0] // heads // 2
    return x.reshape(heads, 2, half, -1).swapaxes(1, 2).reshape(x.shape)


def apart(x, heads):
    """Rows q, k, v of each head: all q, all k, all v."""
    return x.reshape(heads, 3, x.shape[0] // heads // 3, -1).swapaxes(0, 1).reshape(x.shape)


def rows(arch, name, x, c):
    if arch == ARCH.LLAMA and "q_proj" in name:
        return by_pairs(x, c["num_attention_heads"])
    if arch == ARCH.LLAMA and "k_proj" in name:
        return by_pairs(x, c["num_key_value_heads"])
    if arch == ARCH.GPTNEOX and "query_key_value" in name:
        return apart(x, c["num_attention_heads"])
    if arch == ARCH.GPT2 and x.ndim == 2 and ".h." in name:
        return x.T
    return x


def convert(folder, arch):
    config = json.loads((HERE / folder / "config.json").read_text())
    layers = first(config, "num_hidden_layers", "n_layer")
    names = gguf.get_tensor_name_map(arch, layers)
    path = HERE / "gguf" / f"{folder}.gguf"
    path.parent.mkdir(exist_ok=True)
    w = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[arch])
    write_keys(w, arch, config)
    for name, tensor in sorted(load_file(HERE / folder / "model.safetensors").items()):
        x = np.ascontiguousarray(rows(arch, name, tensor.float().numpy(), config))
        out = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if x.ndim == 1:
            w.add_tensor(out, x)
        else:
            w.add_tensor(out, gguf.quants.quantize(x, BF16), raw_dtype=BF16)
    rope = config.get("rope_scaling") or {}
    if first(rope, "rope_type") == "llama3":
        size = config["hidden_size"] // config["num_attention_heads"]
        x = divisors(rope, config["rope_theta"], size).astype(np.float32)
        w.add_tensor(gguf.TENSOR_NAMES[gguf.MODEL_TENSOR.ROPE_FREQS] + ".weight", x)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    print(path.name)


for folder, arch in MODELS.items():
    convert(folder, arch)
