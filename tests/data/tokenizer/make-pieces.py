#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Trains small SentencePiece models (*.model) and writes pieces.json: what the
sentencepiece package (0.2.3) makes of awkward texts with them.

    pip install sentencepiece==0.2.3 && ./make-pieces.py TEXT
"""
import json
import os
import random
import sys

import sentencepiece as spm

here = os.path.dirname(os.path.abspath(__file__))
draw = random.Random(11)

PIECES = [
    " ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", "Hello", "hello world", "KING. The", "don't",
    "<tool>", "<too", "<0x41>", "1", "2345", "½", "①", "\u00a0", "\u3000", "é", "e\u0301", "Å", "ß",
    "한국어", "漢字ひらカナ", "🙂👍🏽👩\u200d👧", "▁", "▁▁", "a▁b", "ﬁ", "!", "\"#$", "¿?!", "\u0300", "\ufeff",
    "\u2028", ".", "\u0000", "\u0001\u007f", "ไทย", "עברית", "العربية", "\ufffd", "snake_case", "ABC", "ab",
    "the and of thou", " lead", "trail ", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "æ", "ij",
]
FIXED = ["", " ", "  ", "The cat sat.  It   waited 12,345 days\n\n\nfor 3.14 mice!", "  both ends  ",
         "What, ho! my lord, the king is dead; and thou art slain.", "▁the", "x"]

# Rules of the user's own: the character maps of the names built in have 200 KB.
RULES = "41\t61\n42\t62\n65 301\tE9\nFB01\t66 69\n3000\t20\nA0\t20\n2460\t31\nAD\t\n"

common = dict(vocab_size=384, hard_vocab_limit=True, num_threads=1, minloglevel=2,
              input_sentence_size=3000, shuffle_input_sentence=False, max_sentence_length=4000)
models = {
    "bpe": dict(model_type="bpe", byte_fallback=True, normalization_rule_name="identity",
                remove_extra_whitespaces=False, split_digits=True, user_defined_symbols=["<tool>"],
                control_symbols=["<turn>"], character_coverage=0.9995),
    "bpe-plain": dict(model_type="bpe", normalization_rule_name="identity", add_dummy_prefix=False,
                      character_coverage=0.999),
    "unigram": dict(model_type="unigram", normalization_rule_tsv="@RULES", character_coverage=0.999,
                    user_defined_symbols=["<tool>", "  "]),
    "unigram-bytes": dict(model_type="unigram", byte_fallback=True, add_dummy_prefix=False,
                          normalization_rule_name="identity", remove_extra_whitespaces=False,
                          allow_whitespace_only_pieces=True),
}


def main():
    rules = os.path.join("/tmp", "qtk-rules.tsv")
    with open(rules, "w") as f:
        f.write(RULES)
    out = {}
    for name, options in models.items():
        options = {k: rules if v == "@RULES" else v for k, v in options.items()}
        prefix = os.path.join(here, name)
        spm.SentencePieceTrainer.train(input=sys.argv[1], model_prefix=prefix, **common, **options)
        os.remove(prefix + ".vocab")
        sp = spm.SentencePieceProcessor(model_file=prefix + ".model")
        texts = FIXED + ["".join(draw.choices(PIECES, k=draw.randint(1, 8))) for _ in range(60)]
        out[name] = [[t, sp.encode(t), sp.decode(sp.encode(t))] for t in texts]
    with open(os.path.join(here, "pieces.json"), "w") as f:
        json.dump(out, f, ensure_ascii=True, indent=0)
        f.write("\n")


main()
