#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes cases.json: what Hugging Face's tokenizers (0.23.3) makes of awkward texts
with many tokenizers. Each case changes the tokenizer of tests/data/nano/llama.

    pip install tokenizers==0.23.3 && ./make-cases.py
"""
import base64
import json
import os
import random
import struct
import tomllib

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

here = os.path.dirname(os.path.abspath(__file__))
root = os.path.join(here, "..", "..", "..")
base = json.load(open(os.path.join(here, "..", "nano", "llama", "tokenizer.json")))
draw = random.Random(7)

PIECES = [
    " ", "  ", "\n", "\r\n", "\t", "Hello", "hello world", "don't I'LL we'Ve", "<|endoftext|>",
    "<a>", "<ab>", "<abc", "XX", "XXX", "x", "_", "1", "2345", "٣", "½", "①", "ⅷ", "\u00a0",
    "\u3000", "\u180e", "\u0085", "é", "e\u0301", "a\u0327\u0301", "Å", "ſ", "'S", "İ", "ß",
    "Σ", "ǅ", "한국어", "漢字ひらカナ", "🙂👍🏽👩\u200d👧", "▁", "▁▁", "Ġ", "<0x41>", "ﬁ", "!",
    "\"#$", "¿?!", "„tok tok“", "\u0300", "\ufeff", "\u2028", "<mask>", "ÀÉ", ".", "\u0000",
    "𝟘", "ⓐ", "‿", "  lead ", "trail  ", "ไทย", "עברית", "\ue000", "𐍈", "snake_case camelCase",
]
FIXED = [
    "The cat sat.  It   waited 12,345 days\n\n\nfor 3.14 mice!",
    "  leading and trailing  ", "naïve café\r\n\tfin", "a" * 70, "",
]


def texts():
    return FIXED + ["".join(draw.choices(PIECES, k=draw.randint(1, 6))) for _ in range(9)]


def byte_level(prefix=False, cut=True):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": cut}


def seq(*parts):
    return {"type": "Sequence", "pretokenizers": list(parts)}


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def added(id, content, **flags):
    token = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=False)
    return {"id": id, "content": content, **token, **flags}


def pre(*parts):
    return {"pre_tokenizer": seq(*parts, byte_level(cut=False))}


END = added(0, "<|endoftext|>", special=True)
cases = {
    "as it is": {},
    "prefix space": {"pre_tokenizer": byte_level(True)},
    "no expression": {"pre_tokenizer": byte_level(False, False)},
    "digits": {"pre_tokenizer": seq({"type": "Digits", "individual_digits": True}, byte_level())},
    "digit runs": {"pre_tokenizer": seq({"type": "Digits", "individual_digits": False},
                                        byte_level(True))},
    "punctuation": pre({"type": "Punctuation", "behavior": "Isolated"}),
    "punctuation runs": pre({"type": "Punctuation", "behavior": "Contiguous"}),
    "whitespace": pre({"type": "Whitespace"}),
    "whitespace split": pre({"type": "WhitespaceSplit"}),
    "script": pre(split(r"\p{Han}+|\p{Hiragana}|\p{Greek}|\p{^L}")),
    "lines": pre(split(r"^.+$")),
    "hexadecimal": pre(split(r"\h+|[\h\s]|\H")),
    "word sets": pre(split(r"[\w\d]+?|[^\W\s]\S|\u00e9")),
    "negated space": pre(split(r"[^\S\n]+|(?<=o) ")),
    "whole words": {"model": {"ignore_merges": True}},
    "unknown": {"model": {"unk_token": "!", "fuse_unk": True}},
    "no decoder": {"decoder": None},
    "template": {"post_processor": {
        "type": "Sequence", "processors": [byte_level(), {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "B", "type_id": 0}},
                       {"Sequence": {"id": "A", "type_id": 0}},
                       {"SpecialToken": {"id": "E", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}},
                     {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"B": {"id": "B", "ids": [5, 6], "tokens": ["x", "y"]},
                               "E": {"id": "E", "ids": [0], "tokens": ["z"]}}}]}},
    "roberta": {"post_processor": {"type": "RobertaProcessing", "sep": ["a", 2], "cls": ["b", 4],
                                   "trim_offsets": True, "add_prefix_space": False}},
    "added": {"added_tokens": [END, added(384, "<a>"), added(385, "<ab>", special=True),
                               added(386, "<abc", normalized=True), added(387, "XX"),
                               added(388, "tok tok", special=True)]},
    "added strip": {"added_tokens": [END, added(384, "<a>", lstrip=True),
                                     added(385, "<mask>", lstrip=True, rstrip=True, special=True),
                                     added(386, "XX", rstrip=True),
                                     added(166, "é", lstrip=True, normalized=True)]},
    "added single": {"added_tokens": [END, added(384, "XX", single_word=True),
                                      added(385, "<a>", single_word=True, lstrip=True),
                                      added(386, "tok", single_word=True, special=True)]},
    "added normalized": {"normalizer": {"type": "NFKC"},
                         "added_tokens": [END, added(384, "ﬁ", normalized=True),
                                          added(166, "é", normalized=True), added(385, "①")]},
    "prepend and replace": {"normalizer": {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "ab"},
        {"type": "Replace", "pattern": {"String": "l"}, "content": ""},
        {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}]}},
    "strip": {"normalizer": {"type": "Strip", "strip_left": True, "strip_right": True}},
    "strip right": {"normalizer": {"type": "Strip", "strip_left": False, "strip_right": True}},
    "lower": {"normalizer": {"type": "Sequence", "normalizers": [
        {"type": "NFD"}, {"type": "Lowercase"}, {"type": "NFC"}]}},
}
for form in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase"):
    cases[form] = {"normalizer": {"type": form}}
for behavior in ("Isolated", "Removed", "Contiguous", "MergedWithPrevious", "MergedWithNext"):
    for invert in (False, True):
        cases[f"split {behavior} {invert}"] = pre(split(r"\w\w?", behavior, invert),
                                                  split(" ", behavior, invert, "String"))

# A model of characters with bytes to fall back to, as SentencePiece makes them.
trainer = trainers.BpeTrainer(vocab_size=420, show_progress=False, special_tokens=[
    "<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)])
small = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
small.pre_tokenizer = pre_tokenizers.Metaspace()
small.train_from_iterator(["hello world, the cat sat and waited for the mice to come home",
                           "camel case and snake case are two ways to write down a name"] * 9,
                          trainer)
model = json.loads(small.to_str())["model"]
specials = [added(i, c, special=True) for i, c in enumerate(("<unk>", "<s>", "</s>"))]
pieces = {"model": model, "added_tokens": specials, "pre_tokenizer": None,
          "normalizer": {"type": "Sequence", "normalizers": [
              {"type": "Prepend", "prepend": "▁"},
              {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
          "decoder": {"type": "Sequence", "decoders": [
              {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
              {"type": "ByteFallback"}, {"type": "Fuse"},
              {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}}
cases["pieces"] = pieces
for scheme in ("always", "first", "never"):
    for cut in (True, False):
        meta = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": cut}
        cases[f"metaspace {scheme} {cut}"] = {**pieces, "model": "pieces", "normalizer": None,
                                              "pre_tokenizer": meta, "decoder": meta}
for fuse in (True, False):
    cases[f"pieces, unknown {fuse}"] = {
        **pieces, "model": {"byte_fallback": False, "fuse_unk": fuse}, "from": "pieces"}

data = tomllib.load(open(os.path.join(root, "arch", "data", "pretokenizers.toml"), "rb"))
for entry in data["pretokenizer"]:
    cases["named " + entry["names"][0]] = {
        "pre_tokenizer": {"type": "Named", "name": entry["names"][0]}, "named": entry}


def fields(data):
    """Number and value of each field of a protocol buffer."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while at < len(data):
        number, kind = divmod(varint(), 8)
        if kind == 0:
            yield number, varint()
        else:
            size = varint() if kind == 2 else 4
            yield number, data[at:at + size]
            at += size


def unigram(name, **flags):
    """A tokenizer.json of what make-pieces.py trained."""
    with open(os.path.join(here, name + ".model"), "rb") as f:
        parts = list(fields(f.read()))
    vocab, charsmap = [], b""
    for number, part in parts:
        if number == 1:
            piece = dict(fields(part))
            vocab.append([piece[1].decode(), struct.unpack("<f", piece.get(2, bytes(4)))[0]])
        elif number == 3:
            charsmap = dict(fields(part)).get(2, b"")
    meta = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    normal = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap).decode()}
    return {"model": {"type": "Unigram", "unk_id": 0, "vocab": vocab, **flags},
            "normalizer": normal if charsmap else {"type": "StripAccents"},
            "added_tokens": specials, "pre_tokenizer": meta, "decoder": meta}


cases["unigram"] = unigram("unigram")
cases["unigram bytes"] = unigram("unigram-bytes", byte_fallback=True)


def change(case):
    """The tokenizer of a case, as the test makes it."""
    made = json.loads(json.dumps(base))
    patch = dict(case)
    start = patch.pop("from", None)
    if patch.get("model") == "pieces":
        patch["model"], start = {}, "pieces"
    if start:
        made["model"] = json.loads(json.dumps(model))
    if patch.get("model", {}).get("type") == "Unigram":
        made["model"] = {}
    made["model"].update(patch.pop("model", {}))
    entry = patch.pop("named", None)
    made.update(patch)
    if entry:
        made["pre_tokenizer"] = seq(*[split(x) for x in entry["split"]], byte_level(cut=False))
        made["model"]["ignore_merges"] = entry.get("ignore_merges", False)
    return made


out = {"models": {"pieces": model}, "cases": []}
for name, case in cases.items():
    tokenizer = Tokenizer.from_str(json.dumps(change(case)))
    rows = []
    for text in texts():
        ids = tokenizer.encode(text).ids
        # That version decodes added tokens as normalized, not as the file has them.
        back = [] if name == "added normalized" else [
            tokenizer.decode(ids, skip_special_tokens=False),
            tokenizer.decode(ids, skip_special_tokens=True)]
        rows.append([text, ids] + back)
    patch = {k: v for k, v in case.items() if k not in ("named", "from")}
    if case.get("model") in ("pieces", model) or "from" in case:
        patch["from"] = "pieces"
        if not isinstance(case["model"], dict) or case["model"] is model:
            patch.pop("model")
    out["cases"].append({"name": name, "patch": patch, "rows": rows})
with open(os.path.join(here, "cases.json"), "w") as f:
    f.write('{"models":' + json.dumps(out["models"], ensure_ascii=False, separators=(",", ":")))
    f.write(',\n"cases":[\n')
    f.write(",\n".join(json.dumps(c, separators=(",", ":")) for c in out["cases"]))
    f.write("\n]}\n")
