"""Reads a GPTQ checkpoint by the rules of the format alone, and compares.

usage: gptq-reader.py CHECKPOINT FLOATS VERSION [turned]

CHECKPOINT is a folder with packed linears, FLOATS one with the same model in F32: each
linear must stand for the same weights to the last bit, and each other tensor must be the
same. VERSION is gptq or gptq_v2, what the checkpoint must say. "turned": FLOATS holds
linears [in, out]. Prints the number of linears.
"""
import glob
import json
import struct
import sys

SIZES = {"F32": ("f", 4), "F16": ("e", 2), "I32": ("I", 4)}


def tensors(folder):
    """Name -> (dtype, shape, bytes), from all the files."""
    found = {}
    for path in sorted(glob.glob(folder + "/*.safetensors")):
        data = open(path, "rb").read()
        (length,) = struct.unpack_from("<Q", data)
        for name, entry in json.loads(data[8:8 + length]).items():
            if name != "__metadata__":
                begin, end = entry["data_offsets"]
                found[name] = (entry["dtype"], entry["shape"],
                               data[8 + length + begin:8 + length + end])
    return found


def values(tensor):
    dtype, shape, data = tensor
    if dtype == "BF16":
        data = b"".join(b"\0\0" + data[i:i + 2] for i in range(0, len(data), 2))
        dtype = "F32"
    code, size = SIZES[dtype]
    return struct.unpack("<%d%s" % (len(data) // size, code), data)


def field(words, bits, i):
    """Field i of the little-endian stream of words."""
    stream = 0
    first = i * bits // 32
    for k, word in enumerate(words[first:first + 2]):
        stream |= word << (32 * k)
    return stream >> (i * bits % 32) & ((1 << bits) - 1)


def weights(linear, n, bits, add):
    """The matrix [in][out] of a linear; `linear` gives its parts."""
    qweight, qzeros = values(linear("qweight")), values(linear("qzeros"))
    scales, index = values(linear("scales")), values(linear("g_idx"))
    row = n * bits // 32
    zeros = [[field(qzeros[g * row:(g + 1) * row], bits, o) + add for o in range(n)]
             for g in range(len(qzeros) // row)]
    columns = [qweight[o::n] for o in range(n)]
    return [[scales[index[i] * n + o] * (field(columns[o], bits, i) - zeros[index[i]][o])
             for o in range(n)] for i in range(len(index))]


def main():
    folder, floats, version = sys.argv[1:4]
    turned = len(sys.argv) > 4
    config = json.load(open(folder + "/quantize_config.json"))
    inner = json.load(open(folder + "/config.json"))["quantization_config"]
    assert config == inner, "the two configurations differ"
    assert config["checkpoint_format"] == version, config["checkpoint_format"]
    packed, plain, linears = tensors(folder), tensors(floats), 0
    rules = {key[3:].replace("\\.", ".").rstrip("$"): rule
             for key, rule in config.get("dynamic", {}).items()}
    for name, tensor in plain.items():
        stem = name[:-len(".weight")] if name.endswith(".weight") else name
        if stem + ".qweight" not in packed:
            assert values(packed[name]) == values(tensor), name
            continue
        bits = rules.get(stem, config).get("bits", config["bits"])
        group = rules.get(stem, config).get("group_size", config["group_size"])
        n = packed[stem + ".qweight"][1][1]
        found = weights(lambda part: packed[stem + "." + part], n, bits, version == "gptq")
        groups = packed[stem + ".scales"][1][0]
        assert groups == (1 if group == -1 else -(-len(found) // group)), stem
        if not turned:
            found = list(zip(*found))
        assert [w for row in found for w in row] == list(values(tensor)), stem
        linears += 1
    print(linears)


if __name__ == "__main__":
    main()
