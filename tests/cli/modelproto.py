#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Prints what SentencePiece's library reads of a tokenizer.model to encode and decode, a
line each, with the defaults of sentencepiece_model.proto. It shares no code with qtk.

    modelproto.py FILE          prints
    modelproto.py FILE N OUT    writes the file without its last N pieces"""
import struct
import sys


def varint(b, at):
    value = shift = 0
    while True:
        value |= (b[at] & 0x7F) << shift
        shift += 7
        at += 1
        if b[at - 1] < 0x80:
            return value, at


def fields(b):
    at = 0
    while at < len(b):
        key, at = varint(b, at)
        if key & 7 == 0:
            value, at = varint(b, at)
            value -= (value >> 63) << 64
        elif key & 7 == 2:
            n, at = varint(b, at)
            value, at = b[at:at + n], at + n
        else:
            n = {5: 4, 1: 8}[key & 7]
            value, at = b[at:at + n], at + n
        yield key >> 3, value
    assert at == len(b)


TRAINER = {3: 1, 24: 0, 35: 0, 40: 0, 41: 1, 42: 2, 43: -1, 45: b"<unk>", 46: b"<s>", 47: b"</s>"}
NORMALIZER = {2: b"", 3: 1, 4: 1, 5: 1}


def settings(name, defaults, message):
    given = dict(fields(message))
    for field, default in defaults.items():
        print(name, field, given.get(field, default))


def show(b):
    for number, value in fields(b):
        if number == 1:
            piece = {2: bytes(4), 3: 1, **dict(fields(value))}
            print(piece[1], struct.unpack("<f", piece[2])[0] + 0.0, piece[3])
        elif number == 2:
            settings("trainer", TRAINER, value)
        elif number == 3:
            settings("normalizer", NORMALIZER, value)


def shorten(b, n):
    """Top-level fields are all messages here."""
    kept, left, at = [], sum(number == 1 for number, _ in fields(b)) - n, 0
    for number, value in fields(b):
        end = varint(b, varint(b, at)[1])[1] + len(value)
        if number != 1 or left > 0:
            kept.append(b[at:end])
        left -= number == 1
        at = end
    return b"".join(kept)


content = open(sys.argv[1], "rb").read()
if len(sys.argv) == 2:
    show(content)
else:
    open(sys.argv[3], "wb").write(shorten(content, int(sys.argv[2])))
