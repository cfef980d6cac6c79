# Steps of LoRA by the peft package on one window, beside `qtk bench`: rank 8 on q and v,
# AdamW. Prints a JSON object with tokens a second and the most bytes held.
#
#   python bench/training.py MODEL.gguf float32|bfloat16 TOKENS REPETITIONS THREADS
import json
import os
import sys
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

path, dtype, tokens, repetitions, threads = sys.argv[1:]
tokens, repetitions = int(tokens), int(repetitions)
torch.set_num_threads(int(threads))
torch.manual_seed(1)

base = AutoModelForCausalLM.from_pretrained(
    os.path.dirname(os.path.abspath(path)), gguf_file=os.path.basename(path),
    dtype=getattr(torch, dtype))
model = get_peft_model(base, LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"]))
model.train()
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
ids = torch.randint(0, base.config.vocab_size, (1, tokens))


def step():
    optimizer.zero_grad()
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()


# Reading the file took memory of its own: the peak starts again here.
with open("/proc/self/clear_refs", "w") as f:
    f.write("5")
step()  # not counted
rates = []
for _ in range(repetitions):
    begin = time.monotonic()
    step()
    rates.append(tokens / (time.monotonic() - begin))
with open("/proc/self/status") as f:
    peak = next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM"))
print(json.dumps({"test": f"peft {dtype}", "tokens_per_second": sum(rates) / len(rates),
                  "resident_bytes": peak}))
