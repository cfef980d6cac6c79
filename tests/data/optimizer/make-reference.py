#!/usr/bin/env python3
"""Records AdamW with moments in 8 bits as bitsandbytes has it, on the processor.

usage: make-reference.py

Needs PyTorch and bitsandbytes. Writes beside itself coded.f32, float32 little endian: its table
with a sign and the one without, 256 entries each, ascending; then 8448 values after STEPS steps.
Value i begins as noise(i); its gradient in step s is noise(100000 s + i) - 0.1, moved away from 0
by 0.05, and every seventh block of 256 has gradients 1000 times as small. No second moment is so
small beside the largest of its block that its code would be that of 0.
"""
import os

import numpy
import torch

import bitsandbytes
from bitsandbytes.functional import create_dynamic_map

MASK = (1 << 64) - 1
VALUES, STEPS, BLOCK = 33 * 256, 4, 256


def noise(i):
    i = ((i + 1) * 0x9E3779B97F4A7C15) & MASK
    i = ((i ^ (i >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    return (i >> 40) / (1 << 23) - 1.0


def gradient(step):
    g = numpy.array([noise(100000 * step + i) - 0.1 for i in range(VALUES)], numpy.float32)
    g += numpy.where(g < 0, numpy.float32(-0.05), numpy.float32(0.05))
    g[numpy.arange(VALUES) // BLOCK % 7 == 6] *= numpy.float32(1e-3)
    return torch.from_numpy(g)


def main():
    start = numpy.array([noise(i) for i in range(VALUES)], numpy.float32)
    value = torch.nn.Parameter(torch.from_numpy(start))
    optimizer = bitsandbytes.optim.AdamW8bit([value], lr=1e-2, betas=(0.9, 0.999), eps=1e-8,
                                             weight_decay=0)
    for step in range(1, STEPS + 1):
        value.grad = gradient(step)
        optimizer.step()
    parts = [create_dynamic_map(signed=True), create_dynamic_map(signed=False), value.detach()]
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "coded.f32"), "wb") as f:
        for part in parts:
            f.write(part.numpy().astype("<f4").tobytes())


main()
