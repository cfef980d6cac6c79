#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Models of a few thousand random weights, and what PyTorch computes for them.

    python make-models.py [NAME ...]

makes the folders beside this file again, and nano/qwen3 and nano/gpt_neox: for each a
configuration, weights in BF16 and what transformers computes for them in float32 with
eager attention, in the layout that ../nano/README describes. Needs torch, transformers
and numpy. Those that are named OLD say their configuration as transformers 4 wrote it.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

HERE = Path(__file__).resolve().parent
NANO = HERE.parent / "nano"
LENGTH = 100  # longer than every window below

LLAMA = dict(model_type="llama", hidden_size=32, intermediate_size=48, num_hidden_layers=2,
             num_attention_heads=4, num_key_value_heads=2, vocab_size=96,
             max_position_embeddings=256)
GPT2 = dict(model_type="gpt2", n_embd=32, n_layer=3, n_head=4, vocab_size=96, n_positions=128,
            bos_token_id=0, eos_token_id=0)
OPT = dict(model_type="opt", hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
           ffn_dim=64, vocab_size=96, max_position_embeddings=128, word_embed_proj_dim=32)
NEOX = dict(model_type="gpt_neox", hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=96, vocab_size=96, max_position_embeddings=128)
GPTJ = dict(model_type="gptj", n_embd=32, n_layer=2, n_head=4, vocab_size=96, n_positions=128,
            bos_token_id=0, eos_token_id=0)
NEO = dict(model_type="gpt_neo", hidden_size=32, num_layers=3, num_heads=4, vocab_size=96,
           max_position_embeddings=128)


def rope(kind, **more):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10000.0, **more}}


MODELS = {
    "nano/qwen3": dict(LLAMA, model_type="qwen3", hidden_size=64, intermediate_size=160,
                       vocab_size=384, head_dim=24, tie_word_embeddings=True,
                       max_position_embeddings=512,
                       rope_parameters={"rope_type": "default", "rope_theta": 1e6}),
    "nano/gpt_neox": dict(NEOX, hidden_size=64, num_attention_heads=4, intermediate_size=256,
                          vocab_size=384, max_position_embeddings=512),
    "llama-bands": dict(LLAMA, **rope("llama3", factor=8.0, low_freq_factor=1.0,
                                      high_freq_factor=4.0,
                                      original_max_position_embeddings=48)),
    "llama-linear": dict(LLAMA, **rope("linear", factor=4.0)),
    "llama-head-size": dict(LLAMA, head_dim=12, attention_bias=True, hidden_act="gelu"),
    "llama-tied": dict(LLAMA, tie_word_embeddings=True, mlp_bias=True, num_key_value_heads=4,
                       hidden_act="relu"),
    "mistral-full": dict(LLAMA, model_type="mistral", sliding_window=None, head_dim=16),
    "mistral-bands": dict(LLAMA, model_type="mistral", sliding_window=24,
                          **rope("llama3", factor=4.0, low_freq_factor=1.0,
                                 high_freq_factor=8.0, original_max_position_embeddings=64)),
    "qwen2-window": dict(LLAMA, model_type="qwen2", num_hidden_layers=3, use_sliding_window=True,
                         sliding_window=16, max_window_layers=1),
    "qwen2-linear": dict(LLAMA, model_type="qwen2", **rope("linear", factor=2.0)),
    "qwen3-window": dict(LLAMA, model_type="qwen3", num_hidden_layers=3, use_sliding_window=True,
                         sliding_window=16, max_window_layers=2, head_dim=16, attention_bias=True),
    "qwen3-linear": dict(LLAMA, model_type="qwen3", head_dim=8, **rope("linear", factor=2.0)),
    "gpt_neox-sequential": dict(NEOX, use_parallel_residual=False, hidden_act="gelu_new",
                                rope_parameters={"rope_type": "default", "rope_theta": 5000.0,
                                                 "partial_rotary_factor": 0.5}),
    "gpt_neox-plain": dict(NEOX, attention_bias=False, hidden_act="relu",
                           tie_word_embeddings=True,
                           **rope("linear", factor=2.0, partial_rotary_factor=1.0)),
    "gpt2-scales": dict(GPT2, scale_attn_by_inverse_layer_idx=True, scale_attn_weights=False,
                        n_inner=72, activation_function="relu"),
    "gpt2-untied": dict(GPT2, scale_attn_by_inverse_layer_idx=True, tie_word_embeddings=False,
                        activation_function="silu"),
    "opt-no-final-norm": dict(OPT, _remove_final_layer_norm=True, enable_bias=False),
    "opt-after": dict(OPT, do_layer_norm_before=False, activation_function="gelu",
                      tie_word_embeddings=False),
    "gpt_neo-global": dict(NEO, attention_types=[[["global"], 1], [["local", "global"], 1]],
                           window_size=16, intermediate_size=80, activation_function="gelu"),
    "gptj-full": dict(GPTJ, rotary_dim=8, n_inner=80, activation_function="relu"),
    "gpt2-plain": dict(GPT2, n_layer=2),
    "gpt_neox-gelu": dict(NEOX),
    "gptj-part": dict(GPTJ, rotary_dim=4),
    "llama-ramp": dict(LLAMA, **rope("yarn", factor=4.0,
                                     original_max_position_embeddings=48)),
    "qwen3-ramp": dict(LLAMA, model_type="qwen3", head_dim=16,
                       **rope("yarn", factor=2.0, beta_fast=8.0, beta_slow=0.5, truncate=False,
                              attention_factor=1.3, original_max_position_embeddings=64)),
}


def as_before(config):
    """The keys of rotary positions as transformers 4 wrote them."""
    rope = config.pop("rope_parameters")
    kind = rope.pop("rope_type")
    if config["model_type"] == "gpt_neox":
        config["rotary_pct"] = rope.pop("partial_rotary_factor")
        config["rotary_emb_base"] = rope.pop("rope_theta")
    else:
        config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = None if kind == "default" else {"rope_type": kind, **rope}


OLD = {"llama-bands": None, "gpt_neox-sequential": None, "mistral-full": None,
       "gpt_neox-plain": "type", "qwen2-linear": "type",
       "llama-ramp": "type"}


def fill(model, generator):
    """Weights under which each part of a block matters."""
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if "norm" in name or ".ln_" in name:
            start = 0.0 if name.endswith("bias") else 1.0
            parameter.data = start + 0.2 * noise
        elif parameter.ndim == 1:
            parameter.data = 0.3 * noise
        elif "embed" in name or "wte" in name or "wpe" in name:
            parameter.data = 0.5 * noise
        else:
            parameter.data = 1.5 * noise / parameter.shape[-1] ** 0.5


def logits(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids]), use_cache=False).logits[0]


def greedy(model, prompt, count):
    ids = list(prompt)
    while len(ids) < len(prompt) + count:
        ids.append(int(logits(model, ids)[-1].argmax()))
    return {"prompt": prompt, "output": ids}


def reference(folder, generator):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32,
                                                 attn_implementation="eager").eval()
    vocabulary = model.config.vocab_size
    ids = torch.randint(0, vocabulary, (LENGTH,), generator=generator).tolist()
    positions = [0, 1, 15, 16, 17, 40, 63, 64, LENGTH - 1]
    rows = logits(model, ids)[positions].numpy().astype("<f4")
    rows.tofile(folder / "reference_logits.f32")
    text = {"token_ids": ids, "logit_positions": positions,
            "greedy": greedy(model, ids[:16], 32)}
    (folder / "reference.json").write_text(json.dumps(text) + "\n")


def make(name, keys):
    folder = NANO / name[5:] if name.startswith("nano/") else HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    generator = torch.Generator().manual_seed(1 + list(MODELS).index(name))
    keys = dict(keys)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(keys.pop("model_type"), **keys))
    fill(model, generator)
    model.tie_weights()
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    config = json.loads((folder / "config.json").read_text())
    if name in OLD:
        as_before(config)
        if OLD[name] == "type" and config["rope_scaling"]:
            config["rope_scaling"]["type"] = config["rope_scaling"].pop("rope_type")
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    reference(folder, generator)
    if name.startswith("nano/"):
        for file in "tokenizer.json", "tokenizer_config.json":
            shutil.copyfile(NANO / "llama" / file, folder / file)


for name in sys.argv[1:] or MODELS:
    make(name, MODELS[name])
    print(name, flush=True)
