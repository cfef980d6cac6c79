#!/usr/bin/env python3
"""Records linears that AutoGPTQ itself packed, with the weights that they stand for.

usage: make-reference.py QLINEAR FOLDER

QLINEAR is auto_gptq/nn_modules/qlinear/qlinear_cuda.py of the wheel auto_gptq 0.7.1;
PyTorch, transformers and safetensors are needed besides. FOLDER gets config.json,
quantize_config.json and model.safetensors, in which NAME.expected is scale (q - zero)
in float32, made of the integers before they were packed.
"""
import importlib.util
import json
import os
import sys

import torch
from safetensors.torch import save_file

OUT, IN = 32, 96


def module(path):
    spec = importlib.util.spec_from_file_location("qlinear", path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def linear(pack, name, bits, group, order, symmetric, tensors):
    """One linear: random integers; as weights they are on the grid that pack rounds to."""
    size = IN if group == -1 else group
    groups = -(-IN // size)
    index = torch.arange(IN) // size
    if order:
        index = index[torch.randperm(IN)]
    scales = (torch.rand(OUT, groups) * 0.05 + 0.01).half().float()
    zeros = torch.randint(1, 1 << bits, (OUT, groups)).float()
    if symmetric:
        zeros.fill_(1 << (bits - 1))
    codes = torch.randint(0, 1 << bits, (OUT, IN)).float()
    expected = scales[:, index] * (codes - zeros[:, index])
    layer = torch.nn.Linear(IN, OUT, bias=False)
    layer.weight.data = expected.clone()
    packed = pack.QuantLinear(bits, group, IN, OUT, False)
    packed.pack(layer, scales, zeros, index.to(torch.int32))
    for part in ("qweight", "qzeros", "scales", "g_idx"):
        tensors[f"{name}.{part}"] = getattr(packed, part).contiguous()
    tensors[f"{name}.scales"] = tensors[f"{name}.scales"].half()
    tensors[f"{name}.expected"] = expected


def main():
    torch.manual_seed(1)
    pack, folder, tensors = module(sys.argv[1]), sys.argv[2], {}
    for bits in (2, 3, 4, 8):
        linear(pack, f"bits{bits}.plain", bits, 32, False, False, tensors)
        linear(pack, f"bits{bits}.order", bits, 32, True, False, tensors)
        linear(pack, f"bits{bits}.row", bits, -1, False, False, tensors)
        linear(pack, f"bits{bits}.middle", bits, 32, False, True, tensors)
    os.makedirs(folder, exist_ok=True)
    save_file(tensors, os.path.join(folder, "model.safetensors"), {"format": "pt"})
    rules = {f"+:^bits{b}\\.row$": {"bits": b, "group_size": -1} for b in (2, 3, 4, 8)}
    rules |= {f"+:^bits{b}\\.": {"bits": b} for b in (2, 3, 8)}
    config = {"bits": 4, "group_size": 32, "desc_act": True, "sym": False,
              "quant_method": "gptq", "checkpoint_format": "gptq", "dynamic": rules}
    with open(os.path.join(folder, "quantize_config.json"), "w") as file:
        json.dump(config, file, indent=2)
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump({"model_type": "linears"}, file)


if __name__ == "__main__":
    main()
