#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Records what transformers makes of training data.

    record.py MODEL.gguf ../nano/llama/tokenizer.json QTK_TEST_DATA/data

writes tokenizer.json, the given one with tokens around texts and turns, and spaces.json,
one of the sort that puts a space before a text; expected.json: cases of a file, how it is read, and the sequences as ids and labels (-100: not scored;
not shifted); and files.json: whole files read with the tokenizer of MODEL, as counts and
a digest of int64 starts, int32 ids and int32 targets. MODEL is SmolLM2-135M-Instruct,
whose file holds its chat template. How each form is tokenised, and what is masked,
follows the code that is customary for it:

  messages      apply_chat_template with the answers marked as generation
  instruction   Stanford Alpaca's train.py: source and target tokenised together, as
                many labels masked as the source alone has tokens; and QLoRA's
                qlora.py: source and target tokenised apart
  completion    TRL's SFTTrainer: prompt and completion together, those of the prompt
                masked, the end token behind them
  text          run_clm.py: all documents in one row, cut; the end token behind each
"""
import hashlib
import json
import os
import sys

import gguf
import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

INPUT = ("Below is an instruction that describes a task, paired with an input that provides "
         "further context. Write a response that appropriately completes the request.\n\n"
         "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:{gap}")
PLAIN = ("Below is an instruction that describes a task. Write a response that appropriately "
         "completes the request.\n\n### Instruction:\n{instruction}\n\n### Response:{gap}")

CONVERSATIONS = [
    [{"role": "user", "content": "What is 2 + 2?"}, {"role": "assistant", "content": "4"}],
    [{"role": "system", "content": "Answer in one line."},
     {"role": "user", "content": "  Who wrote Hamlet?\n"},
     {"role": "assistant", "content": " William Shakespeare, <b>of course</b>."},
     {"role": "user", "content": "When? \u00c4h \u2026"},
     {"role": "assistant", "content": "\nAround 1600.\n\nThe date is not known."}],
]
INSTRUCTIONS = [
    {"instruction": "Name three colours.", "input": "", "output": "Red, green\nand blue."},
    {"instruction": "Add the numbers.", "input": "12, 30", "output": "42"},
    {"instruction": "Say nothing.", "output": ""},
    {"instruction": "Count.", "input": None, "output": " ".join(str(i) for i in range(60))},
]
COMPLETIONS = [
    {"prompt": "The capital of France is", "completion": " Paris."},
    {"prompt": "", "completion": "A text of its own."},
    {"prompt": "def double(x):\n", "completion": "    return 2 * x\n"},
    {"prompt": "The answer is\n", "completion": "for all of it: 42"},
]
TEXTS = ["The quick brown fox.\n\nIt jumps.", "", "Stra\u00dfe \u65e5\u672c 12345 \t end",
         " ".join(["again and"] * 20)]


def finish(t, name, eos):
    bos = t.token_to_id("<s>")
    t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B",
                                                     special_tokens=[("<s>", bos)])
    t.save(name)
    return PreTrainedTokenizerFast(tokenizer_object=t, bos_token="<s>", eos_token=eos)


def make_tokenizer(path):
    t = Tokenizer.from_file(path)
    t.add_special_tokens(["<s>", "<|im_start|>", "<|im_end|>"])
    return finish(t, "tokenizer.json", "<|im_end|>")


def make_spaces():
    t = Tokenizer(models.BPE(unk_token="<unk>"))
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    t.decoder = decoders.Metaspace(prepend_scheme="first")
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=["<unk>", "<s>", "</s>"],
                                  show_progress=False)
    t.train_from_iterator([row[key] for row in COMPLETIONS for key in row] +
                          [m["content"] for m in CONVERSATIONS[1]] + ["[INST] [/INST]"], trainer)
    return finish(t, "spaces.json", "</s>")


def marked(template):
    """The template with what the assistant says, to its end, marked."""
    body = "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    assert template.count(body) == 1, template
    return template.replace(body, (
        "{{'<|im_start|>' + message['role'] + '\n'}}"
        "{% if message['role'] == 'assistant' %}{% generation %}"
        "{{message['content'] + '<|im_end|>'}}{% endgeneration %}{{'\n'}}"
        "{% else %}{{message['content'] + '<|im_end|>' + '\n'}}{% endif %}"))


def conversation(t, template, messages):
    out = t.apply_chat_template(messages, chat_template=marked(template), tokenize=True,
                                return_dict=True, return_assistant_tokens_mask=True)
    ids, mask = out["input_ids"], out["assistant_masks"]
    end = len(ids) - mask[::-1].index(1)  # the line end behind the last answer stays out
    return ids[:end], [i if m else -100 for i, m in zip(ids[:end], mask)]


def plain_ids(t, text):
    return t(text, add_special_tokens=False)["input_ids"]


def source(row, gap, bos="<s>"):
    return bos + (INPUT if row.get("input") else PLAIN).format(gap=gap, **row)


def joined(t, row, bos="<s>"):
    prompt = source(row, "\n", bos)
    ids = plain_ids(t, prompt + row["output"] + "<|im_end|>")
    n = len(plain_ids(t, prompt))
    return ids, [-100] * n + ids[n:]


def apart(t, row):
    prompt, answer = plain_ids(t, source(row, " ")), plain_ids(t, row["output"] + "<|im_end|>")
    return prompt + answer, [-100] * len(prompt) + answer


def completion(t, row):
    ids = t(row["prompt"] + row["completion"])["input_ids"] + [t.eos_token_id]
    prompt = t(row["prompt"])["input_ids"]
    n = len(prompt)
    assert ids[:n] == prompt, row
    return ids, [-100] * n + ids[n:]


def talk_in_brackets(t, messages):
    """Llama 2's template; a token belongs to an answer if it begins in one."""
    text, answers = "", []
    for m in messages:
        if m["role"] == "user":
            text += f"<s>[INST] {m['content'].strip()} [/INST]"
        else:
            answers.append([len(text), 0])
            text += f" {m['content'].strip()} </s>"
            answers[-1][1] = len(text)
    out = t(text, add_special_tokens=False, return_offsets_mapping=True)
    ids = out["input_ids"]
    return ids, [i if any(a <= start < b for a, b in answers) else -100
                 for i, (start, _) in zip(ids, out["offset_mapping"])]


def everything(example):
    return example[0], list(example[0])


def cut(t, texts, length):
    """A label is never one of the next document: the first of each has none."""
    ids, labels = [], []
    for text in texts:
        document = t(text)["input_ids"] + [t.eos_token_id]
        ids += document
        labels += [-100] + document[1:]
    return [(ids[i:i + length], labels[i:i + length]) for i in range(0, len(ids), length)]


def truncated(examples, length):
    short = [(ids[:length], labels[:length]) for ids, labels in examples]
    return [(i, l) for i, l in short if any(x != -100 for x in l[1:])]


def packed(examples, length):
    out = []
    for ids, labels in examples:
        if not out or len(out[-1][0]) + len(ids) > length:
            out.append(([], []))
        out[-1][0].extend(ids)
        out[-1][1].extend([-100] + labels[1:])
    return out


def lines(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def asked(row):
    """An instruction as a turn: its input on a line of its own."""
    text = row["instruction"] + ("\n" + row["input"] if row.get("input") else "")
    return [{"role": "user", "content": text}, {"role": "assistant", "content": row["output"]}]


def digest(file, recipe, examples):
    starts, ids, targets = [0], [], []
    for i, labels in examples:
        ids += i
        targets += [max(x, -1) for x in labels[1:]] + [-1]
        starts.append(len(ids))
    data = np.array(starts, "<i8").tobytes() + np.array([ids, targets], "<i4").tobytes()
    return {"file": file, "recipe": recipe, "sequences": len(examples), "tokens": len(ids),
            "scored": sum(x >= 0 for x in targets), "sha256": hashlib.sha256(data).hexdigest()}


def whole_files(model, folder, length=512):
    """This tokenizer puts nothing before a text."""
    t = AutoTokenizer.from_pretrained(os.path.dirname(model), gguf_file=os.path.basename(model))
    rows = json.load(open(f"{folder}/alpaca_en_demo.json"))
    texts = [json.loads(line)["text"] for line in open(f"{folder}/c4_demo.jsonl")]
    ids = t(open(f"{folder}/tinyshakespeare.txt").read())["input_ids"]
    windows = [ids[i:i + length] for i in range(0, len(ids), length)]
    return [
        digest("alpaca_en_demo.json", {"length": length, "template": "alpaca"},
               truncated([joined(t, row, "") for row in rows], length)),
        digest("alpaca_en_demo.json", {"length": length},
               truncated([conversation(t, t.chat_template, asked(row)) for row in rows], length)),
        digest("c4_demo.jsonl", {"length": length}, cut(t, texts, length)),
        digest("tinyshakespeare.txt", {"length": length}, [(w, w) for w in windows]),
    ]


def main():
    template = gguf.GGUFReader(sys.argv[1]).fields["tokenizer.chat_template"].contents()
    t = make_tokenizer(sys.argv[2])
    talk = [conversation(t, template, m) for m in CONVERSATIONS]
    talks = lines({"id": i, "messages": m} for i, m in enumerate(CONVERSATIONS))
    stanford = [joined(t, row) for row in INSTRUCTIONS]
    qlora = [apart(t, row) for row in INSTRUCTIONS]
    array = json.dumps(INSTRUCTIONS, indent=2)
    completions = [completion(t, row) for row in COMPLETIONS]
    texts = lines({"text": text, "url": "x"} for text in TEXTS)
    spaces = make_spaces()
    turns = CONVERSATIONS[1][1:]
    longest = max(len(ids) for ids, _ in stanford)
    cases = [
        ("conversations", "t.jsonl", talks, {"length": 512}, talk),
        ("conversations, all", "t.jsonl", talks, {"length": 512, "train_on": "all"},
         [everything(e) for e in talk]),
        ("conversations, packed", "t.jsonl", talks * 3, {"length": 300, "packing": True},
         packed(talk * 3, 300)),
        ("instructions", "t.json", array, {"length": 512, "template": "alpaca"}, stanford),
        ("instructions, lines", "t.jsonl", lines(INSTRUCTIONS),
         {"length": 512, "template": "alpaca"}, stanford),
        ("instructions, apart", "t.json", array, {"length": 512, "template": "alpaca-space"}, qlora),
        ("instructions, truncated", "t.json", array,
         {"length": longest - 40, "template": "alpaca"}, truncated(stanford, longest - 40)),
        ("completions", "t.jsonl", lines(COMPLETIONS), {"length": 512}, completions),
        ("completions, all", "t.jsonl", lines(COMPLETIONS), {"length": 512, "train_on": "all"},
         [everything(e) for e in completions]),
        ("documents", "t.ndjson", texts, {"length": 16}, cut(t, TEXTS, 16)),
        ("completions, spaces", "t.jsonl", lines(COMPLETIONS), {"length": 512},
         [completion(spaces, row) for row in COMPLETIONS]),
        ("conversation, spaces", "t.jsonl", lines([{"messages": turns}]),
         {"length": 512, "template": "llama2"}, [talk_in_brackets(spaces, turns)]),
        ("documents, spaces", "t.jsonl", texts, {"length": 32}, cut(spaces, TEXTS, 32)),
        ("a text", "t.txt", TEXTS[0], {"length": 512}, [everything((t(TEXTS[0])["input_ids"], 0))]),
    ]
    json.dump({"chat_template": template, "cases": [
        {"name": name, "file": file, "content": content, "recipe": recipe,
         "tokenizer": "spaces" if "spaces" in name else "tokenizer",
         "sequences": [{"ids": ids, "labels": labels} for ids, labels in want]}
        for name, file, content, recipe, want in cases]}, open("expected.json", "w"))
    json.dump(whole_files(sys.argv[1], sys.argv[3]), open("files.json", "w"), indent=1)


main()
