#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Records what Hugging Face's rendering of chat templates gives.

    record.py MODEL.gguf LLAMA2.jinja LLAMA3.jinja LLAMA3.1.jinja >expected.json

The first is SmolLM2-135M-Instruct, whose file holds its template; the others are the
`chat_template` of the tokenizer_config.json of Llama-2-7b-chat-hf,
Meta-Llama-3-8B-Instruct and Llama-3.1-8B-Instruct, of the last only what is not
about tools. Needs jinja2 and gguf; the environment is set as that of
transformers' apply_chat_template: blocks are trimmed.
"""
import hashlib
import json
import sys

import gguf
from jinja2.sandbox import ImmutableSandboxedEnvironment

SYSTEM = {"role": "system", "content": " Answer in one line. "}
TALK = [
    {"role": "user", "content": "  What is 2 + 2?\n"},
    {"role": "assistant", "content": " 4 "},
    {"role": "user", "content": "And 3 + 3?"},
]
CASES = {"one": TALK[:1], "one with system": [SYSTEM] + TALK[:1],
         "two": TALK, "two with system": [SYSTEM] + TALK}


def render(template, bos, eos):
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    compiled = env.from_string(template)
    return {name: compiled.render(messages=messages, bos_token=bos, eos_token=eos,
                                  add_generation_prompt=True)
            for name, messages in CASES.items()}


def record(name, model, template, bos, eos):
    return {"template": name, "model": model, "bos": bos, "eos": eos,
            "sha256": hashlib.sha256(template.encode()).hexdigest(),
            "texts": render(template, bos, eos)}


def main():
    field = gguf.GGUFReader(sys.argv[1]).fields["tokenizer.chat_template"]
    llama2, llama3, llama31 = (open(path).read() for path in sys.argv[2:5])
    three = ("<|begin_of_text|>", "<|eot_id|>")
    json.dump([
        record("chatml", "SmolLM2-135M-Instruct", field.contents(), "", "<|im_end|>"),
        record("llama2", "Llama-2-7b-chat-hf", llama2, "<s>", "</s>"),
        record("llama3", "Meta-Llama-3-8B-Instruct", llama3, *three),
        record("llama3.1", "Llama-3.1-8B-Instruct", llama31, *three),
    ], sys.stdout, indent=1)
    print()


main()
