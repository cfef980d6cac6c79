"""Reads GGUF and safetensors files with nothing but the standard library, so that what
qtk writes is read by something that shares no code with it.

    modelfiles.py same A B      tensors of two GGUF files: same names, types and bytes
    modelfiles.py integers A B  two GGUF files that differ in nothing but the scales of Q4_1 blocks
    modelfiles.py llama G S     a GGUF file of the architecture llama has, to the last bit,
                                the weights of a folder of safetensors in f32
    modelfiles.py types G       how many tensors of each type
    modelfiles.py key G KEY     one value of the metadata
    modelfiles.py rounded G S   matrices of G are those of S, rounded to the type that they have
"""
import collections
import json
import struct
import sys

FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
# id: name, values and bytes of a block
TYPES = {0: ("F32", 1, 4), 1: ("F16", 1, 2), 30: ("BF16", 1, 2), 2: ("Q4_0", 32, 18),
         3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22), 8: ("Q8_0", 32, 34)}

Tensor = collections.namedtuple("Tensor", "type shape data")


def to_f32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def to_f16(value):
    return struct.unpack("<e", struct.pack("<e", value))[0]


# ---- GGUF ------------------------------------------------------------------------

class Cursor:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, code):
        size = struct.calcsize("<" + code)
        value = struct.unpack_from("<" + code, self.data, self.at)[0]
        self.at += size
        return value

    def string(self):
        n = self.take("Q")
        self.at += n
        return self.data[self.at - n:self.at].decode("utf-8")

    def value(self, kind):
        if kind == 8:
            return self.string()
        if kind == 9:
            item, n = self.take("I"), self.take("Q")
            return [self.value(item) for _ in range(n)]
        return self.take(FORMATS[kind])


def read_gguf(path):
    """Metadata, and tensors by name, shapes with the last side together in memory."""
    with open(path, "rb") as file:
        c = Cursor(file.read())
    assert c.take("4s") == b"GGUF" and c.take("I") == 3, path
    n_tensors, n_keys = c.take("Q"), c.take("Q")
    meta = {}
    for _ in range(n_keys):
        key = c.string()
        assert key not in meta, key
        meta[key] = c.value(c.take("I"))
    heads = []
    for _ in range(n_tensors):
        name = c.string()
        shape = [c.take("Q") for _ in range(c.take("I"))][::-1]
        heads.append((name, shape, c.take("I"), c.take("Q")))
    align = meta.get("general.alignment", 32)
    begin = (c.at + align - 1) // align * align
    assert set(c.data[c.at:begin]) <= {0}
    tensors, end = {}, 0
    for name, shape, kind, offset in heads:
        _, block, size = TYPES[kind]
        values = 1
        for side in shape:
            values *= side
        assert shape[-1] % block == 0 and offset % align == 0 and offset >= end, name
        end = offset + values // block * size
        assert begin + end <= len(c.data), name
        tensors[name] = Tensor(TYPES[kind][0], shape, c.data[begin + offset:begin + end])
    assert len(c.data) == begin + (end + align - 1) // align * align
    return meta, tensors


def nibbles(data):
    return [b & 15 for b in data] + [b >> 4 for b in data]


def block_q4_0(b):
    d = struct.unpack_from("<e", b)[0]
    return [to_f32(d * (q - 8)) for q in nibbles(b[2:])]


def block_q4_1(b):
    d, m = struct.unpack_from("<ee", b)
    return [to_f32(to_f32(d * q) + m) for q in nibbles(b[4:])]


def block_q5_0(b):
    d, high = struct.unpack_from("<eI", b)
    return [to_f32(d * ((q | (high >> j & 1) << 4) - 16)) for j, q in enumerate(nibbles(b[6:]))]


def block_q8_0(b):
    d = struct.unpack_from("<e", b)[0]
    return [to_f32(d * q) for q in struct.unpack_from("<32b", b, 2)]


def floats(tensor):
    """All values of a tensor."""
    data = tensor.data
    if tensor.type == "F32":
        return list(struct.unpack("<%df" % (len(data) // 4), data))
    if tensor.type == "F16":
        return list(struct.unpack("<%de" % (len(data) // 2), data))
    if tensor.type == "BF16":
        bits = struct.unpack("<%dH" % (len(data) // 2), data)
        return list(struct.unpack("<%df" % len(bits), struct.pack("<%dI" % len(bits),
                                                                  *(b << 16 for b in bits))))
    size = {t[0]: t[2] for t in TYPES.values()}[tensor.type]
    block = globals()["block_" + tensor.type.lower()]
    return [v for i in range(0, len(data), size) for v in block(data[i:i + size])]


# ---- safetensors --------------------------------------------------------------------

def read_safetensors(path):
    with open(path, "rb") as file:
        data = file.read()
    n = struct.unpack_from("<Q", data)[0]
    head = json.loads(data[8:8 + n])
    head.pop("__metadata__", None)
    return {name: Tensor(t["dtype"], t["shape"], data[8 + n + t["data_offsets"][0]:
                                                      8 + n + t["data_offsets"][1]])
            for name, t in head.items()}


# ---- llama ----------------------------------------------------------------------------

NAMES = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
         "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
         "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
         "ffn_down": "mlp.down_proj"}
OUTER = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
         "output.weight": "lm_head.weight"}


def other_name(name):
    if name in OUTER:
        return OUTER[name]
    _, layer, part, end = name.split(".")
    return "model.layers.%s.%s.%s" % (layer, NAMES[part], end)


def interleaved(rows, heads):
    """Rows of q or k: of each head, the first half and the second half by turns."""
    size = len(rows) // heads
    return [rows[h * size + i // 2 + (i % 2) * (size // 2)] for h in range(heads)
            for i in range(size)]


def pairs(gguf, folder):
    """(name, tensor of the GGUF file, values of the folder in its order)."""
    meta, tensors = read_gguf(gguf)
    others = read_safetensors(folder + "/model.safetensors")
    assert {other_name(n) for n in tensors} == set(others), (sorted(tensors), sorted(others))
    for name, t in tensors.items():
        other = others[other_name(name)]
        assert t.shape == other.shape, (name, t.shape, other.shape)
        values, cols = floats(other), t.shape[-1]
        heads = {"attn_q": "llama.attention.head_count",
                 "attn_k": "llama.attention.head_count_kv"}.get(name.split(".")[-2])
        if heads:
            rows = [values[i:i + cols] for i in range(0, len(values), cols)]
            values = [v for row in interleaved(rows, meta[heads]) for v in row]
        yield name, t, values


# ---- rounding, as ggml's reference has it ---------------------------------------------------

def round_q4_0(x):
    most = max(x, key=abs)
    d = to_f32(most / -8)
    inverse = to_f32(1 / d) if d else 0
    return [to_f32(to_f16(d) * (min(15, int(to_f32(to_f32(v * inverse) + 8.5))) - 8)) for v in x]


def round_q4_1(x):
    low = min(x)
    d = to_f32(to_f32(max(x) - low) / 15)
    inverse = to_f32(1 / d) if d else 0
    codes = [min(15, int(to_f32(to_f32(to_f32(v - low) * inverse) + 0.5))) for v in x]
    return [to_f32(to_f32(to_f16(d) * q) + to_f16(low)) for q in codes]


def round_q8_0(x):
    d = to_f32(max(map(abs, x)) / 127)
    inverse = to_f32(1 / d) if d else 0
    codes = [to_f32(v * inverse) for v in x]
    return [to_f32(to_f16(d) * int(q + (0.5 if q > 0 else -0.5))) for q in codes]


def rounded(kind, values):
    if kind == "F32":
        return values
    if kind == "F16":
        return [to_f16(v) for v in values]
    if kind == "BF16":
        return values  # what is exported so here is bf16 already
    one = globals()["round_" + kind.lower()]
    return [v for i in range(0, len(values), 32) for v in one(values[i:i + 32])]


# ---- the program ----------------------------------------------------------------------------

def same(a, b):
    one, two = read_gguf(a)[1], read_gguf(b)[1]
    assert one.keys() == two.keys(), set(one) ^ set(two)
    for name in one:
        assert one[name] == two[name], "%s differs: %s %s, %s %s" % (
            name, one[name].type, one[name].shape, two[name].type, two[name].shape)
    print("%d tensors are the same" % len(one))


def integers(a, b):
    """Q4_1 blocks of the same integers: all behind a scale and a minimum of 2 bytes each."""
    one, two = read_gguf(a)[1], read_gguf(b)[1]
    assert one.keys() == two.keys(), set(one) ^ set(two)
    scales = 0
    for name in one:
        assert one[name].type == two[name].type and one[name].shape == two[name].shape, name
        if one[name].type != "Q4_1":
            assert one[name] == two[name], name
            continue
        x, y = one[name].data, two[name].data
        for i in range(0, len(x), 20):
            assert x[i + 4:i + 20] == y[i + 4:i + 20], "%s: block %d" % (name, i // 20)
            scales += x[i:i + 4] != y[i:i + 4]
    print("%d tensors, the same integers, %d other scales" % (len(one), scales))


def compare(gguf, folder, change):
    n = 0
    for name, t, values in pairs(gguf, folder):
        wanted = change(t.type, values)
        found = floats(t)
        bad = [i for i in range(len(wanted)) if wanted[i] != found[i]]
        assert len(found) == len(wanted) and not bad, "%s (%s): %d of %d values differ, first %r %r" % (
            name, t.type, len(bad), len(wanted), wanted[bad[0]], found[bad[0]])
        n += len(found)
    print("%d values are the same" % n)


def main(verb, *args):
    if verb == "same":
        same(*args)
    elif verb == "integers":
        integers(*args)
    elif verb == "llama":
        compare(*args, lambda kind, values: values)
    elif verb == "rounded":
        compare(*args, rounded)
    elif verb == "types":
        counts = collections.Counter(t.type for t in read_gguf(*args)[1].values())
        print(" ".join("%s:%d" % item for item in sorted(counts.items())))
    elif verb == "key":
        print(read_gguf(args[0])[0][args[1]])
    else:
        sys.exit(__doc__)


main(*sys.argv[1:])
