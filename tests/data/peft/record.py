#!/usr/bin/env python3
"""Makes the adapters of this folder with the library PEFT, and what a model says with them.

    record.py              writes NAME/, lrec.qtk and expected.json
    record.py NLL BASE FOLDER    prints what PEFT makes of an adapter's folder

Needs torch, transformers, tokenizers and peft; 0.21 made what is stored here. qtk, which the
variable QTK may name, trains the adapter that is no LoRA; PEFT reads it all the same."""
import hashlib
import json
import os
import subprocess
import sys
import tempfile

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

here = os.path.dirname(os.path.abspath(__file__))
root = os.path.join(here, "..", "..", "..")
CONTEXT, WINDOWS = 64, 2

ADAPTERS = {
    "llama": dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj"]),
    "gpt2": dict(r=2, lora_alpha=3, use_rslora=True, fan_in_fan_out=True,
                 target_modules=["c_fc", "mlp.c_proj"], layers_to_transform=[1]),
    "bf16": dict(r=2, lora_alpha=4, lora_dropout=0.05, target_modules=["o_proj"]),
}
BASES = {"bf16": "llama"}  # of adapters that are not named after theirs


LREC = """
[model]
path = "{base}"
source = "{base}"
[[stage]]
run = "adapt"
method = "lrec"
data = {{ path = "{text}", tokens = 2000 }}
rank = 2
alpha = 5
roles = "q v"
steps = 8
batch = 2
length = 32
ce = 1
learning_rate = 0.05
[[stage]]
run = "export"
format = "peft"
path = "folder"
[output]
bundle = ""
adapter = "{bundle}"
"""


def base_of(name):
    folder = os.path.join(root, "tests", "data", "nano", name)
    return folder, AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def nll(model, folder):
    text = open(os.path.join(root, "examples", "text", "evaluate.txt"), encoding="utf-8").read()
    ids = Tokenizer.from_file(os.path.join(folder, "tokenizer.json")).encode(text).ids
    result = []
    for w in range(WINDOWS):
        window = torch.tensor([ids[w * CONTEXT:(w + 1) * CONTEXT]])
        with torch.no_grad():
            logits = model(window).logits[0, :-1].double()
        losses = torch.nn.functional.cross_entropy(logits, window[0, 1:], reduction="none")
        result.append(losses.mean().item())
    return result


def make(name):
    base = BASES.get(name, name)
    folder, model = base_of(base)
    plain = nll(model, folder)
    torch.manual_seed(5)
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **ADAPTERS[name]))
    for key, value in model.named_parameters():
        if "lora_" in key:
            torch.nn.init.normal_(value, std=0.3)
            if name == "bf16":
                value.data = value.data.bfloat16().float()
    model.eval()
    adapted = nll(model, folder)
    for key, value in model.named_parameters():
        if name == "bf16" and "lora_" in key:
            value.data = value.data.bfloat16()
    model.peft_config["default"].base_model_name_or_path = base
    model.save_pretrained(os.path.join(here, name))
    os.remove(os.path.join(here, name, "README.md"))
    return {"plain": plain, "adapted": adapted}


def make_lrec():
    """An adapter of qtk's method lrec, and what PEFT says with it."""
    base, model = base_of("llama")
    plain = nll(model, base)
    with tempfile.TemporaryDirectory() as work:
        with open(os.path.join(work, "job.toml"), "w", encoding="utf-8") as job:
            job.write(LREC.format(base=base, bundle=os.path.join(here, "lrec.qtk"),
                                  text=os.path.join(root, "examples", "text", "evaluate.txt")))
        subprocess.run([os.environ.get("QTK", "qtk"), "run", "job.toml"], cwd=work, check=True)
        folder = os.path.join(work, "folder")
        with open(os.path.join(folder, "adapter_model.safetensors"), "rb") as f:
            digest = hashlib.sha256(f.read()).hexdigest()
        adapted = nll(PeftModel.from_pretrained(model, folder).eval(), base)
    return {"plain": plain, "adapted": adapted, "sha256": digest}


def main():
    if len(sys.argv) == 4:
        folder, model = base_of(sys.argv[2])
        print(json.dumps(nll(PeftModel.from_pretrained(model, sys.argv[3]).eval(), folder)))
        return
    expected = {name: make(name) for name in ADAPTERS}
    expected["lrec"] = make_lrec()
    with open(os.path.join(here, "expected.json"), "w", encoding="utf-8") as f:
        json.dump(expected, f, indent=1)
        f.write("\n")


main()
