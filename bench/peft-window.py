# What PEFT does with one window: LoRA, rank 8, on q and v, AdamW.
#
#   python bench/peft.py FOLDER [--tokens 512] [--steps 5] [--dtype float32] [--threads N]
#
# FOLDER is a transformers folder. Prints JSON: tokens a second (the median step), peak
# resident bytes, and what the BLAS does beside it.
import argparse
import json
import resource
import statistics
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

parser = argparse.ArgumentParser()
parser.add_argument("folder")
parser.add_argument("--tokens", type=int, default=512)
parser.add_argument("--steps", type=int, default=5)
parser.add_argument("--dtype", default="float32")
parser.add_argument("--threads", type=int)
parser.add_argument("--checkpoint", action="store_true")
args = parser.parse_args()

if args.threads:
    torch.set_num_threads(args.threads)
torch.manual_seed(0)
model = AutoModelForCausalLM.from_pretrained(args.folder, dtype=getattr(torch, args.dtype))
model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"],
                                         task_type="CAUSAL_LM"))
if args.checkpoint:
    model.enable_input_require_grads()
    model.gradient_checkpointing_enable()
model.train()
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-4)
ids = torch.randint(0, model.config.vocab_size, (1, args.tokens))


def step():
    start = time.perf_counter()
    loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return time.perf_counter() - start


step()
seconds = [step() for _ in range(args.steps)]
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

a = torch.randn(2048, 2048)
b = torch.randn(2048, 2048)
a @ b
start = time.perf_counter()
for _ in range(4):
    a @ b
gflops = 4 * 2 * 2048**3 / (time.perf_counter() - start) / 1e9
print(json.dumps({"tokens_per_second": args.tokens / statistics.median(seconds),
                  "peak_bytes": peak, "sgemm_gflops": gflops, "dtype": args.dtype,
                  "tokens": args.tokens}))
