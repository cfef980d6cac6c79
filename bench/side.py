#!/usr/bin/env python3
"""A table, JSON and a plot of what bench/side.sh measured:

    side.py side.jsonl side.json side.svg "what else ran on the machine"
"""
import json
import platform
import subprocess
import sys

TITLES = {"llama": "LLaMA-7B's blocks (4), vocabulary 2048", "smollm2": "SmolLM2-135M"}


def means(lines):
    """{model: {row: figures}}, the mean of the turns, in the order of the rows."""
    out = {}
    for line in lines:
        out.setdefault(line["model"], {}).setdefault(line["row"], []).append(line)
    for rows in out.values():
        for name, turns in rows.items():
            rates = [t["tokens_per_second"] for t in turns]
            rows[name] = {
                "tokens_per_second": sum(rates) / len(rates),
                "tokens_per_second_by_turn": rates,
                "sgemm_gflops_by_turn": [t["sgemm_gflops"] for t in turns],
                "resident_bytes": max(t["resident_bytes"] for t in turns),
                "counted_bytes": max(t["counted_bytes"] for t in turns),
                "peak_bytes": turns[0]["peak_bytes"],
            }
    return out


def add_ratios(rows):
    none, block = rows["LoRA r 16"], rows["LoRA r 16, block"]
    for figures in rows.values():
        figures["memory_of_lora"] = figures["resident_bytes"] / none["resident_bytes"]
        figures["speed_by_lora_block"] = (figures["tokens_per_second"]
                                          / block["tokens_per_second"])


def table(model, rows):
    print(f"| {TITLES[model]} | tokens a second | | memory | | counted, of these |")
    print("|-|-|-|-|-|-|")
    for name, f in rows.items():
        kinds = sorted(f["peak_bytes"].items(), key=lambda k: -k[1])
        parts = ", ".join(f"{k} {v / 1e6:.0f}" for k, v in kinds if v >= 5e6)
        print(f"| {name} | {f['tokens_per_second']:.1f} | {f['speed_by_lora_block']:.2f} "
              f"| {f['resident_bytes'] / 1e6:.0f} MB | {f['memory_of_lora']:.2f} "
              f"| {f['counted_bytes'] / 1e6:.0f}: {parts} |")


def bars(rows, key, scale, unit, x, y):
    """One panel of the plot: a bar a row."""
    most = max(f[key] for f in rows.values())
    out = []
    for i, (name, f) in enumerate(rows.items()):
        top, width = y + 22 * i, 250 * f[key] / most
        colour = "#3b6ea5" if name.startswith("QST") else "#b0b0b0"
        out.append(f'<text x="{x - 6}" y="{top + 13}" text-anchor="end">{name}</text>'
                   f'<rect x="{x}" y="{top}" width="{width:.1f}" height="17" fill="{colour}"/>'
                   f'<text x="{x + width + 5:.1f}" y="{top + 13}">{f[key] * scale:.1f} {unit}</text>')
    return out


def plot(models):
    """SVG: a line of panels a model, memory at the left and speed at the right."""
    out, y = [], 0
    for model, rows in models.items():
        out.append(f'<text x="10" y="{y + 20}" font-weight="bold">{TITLES[model]}</text>')
        out.append(f'<text x="130" y="{y + 40}">memory</text>')
        out.append(f'<text x="620" y="{y + 40}">speed</text>')
        out += bars(rows, "resident_bytes", 1e-6, "MB", 130, y + 48)
        out += bars(rows, "tokens_per_second", 1, "tokens/s", 620, y + 48)
        y += 22 * len(rows) + 68
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 980 {y}" '
            'font-family="sans-serif" font-size="12">\n'
            f'<rect width="980" height="{y}" fill="white"/>\n' + "\n".join(out) + "\n</svg>\n")


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        return next(line.split(":", 1)[1].strip() for line in f if line.startswith("model name"))


def main():
    source, target, picture, beside = sys.argv[1:5]
    with open(source, encoding="utf-8") as f:
        lines = [json.loads(line) for line in f]
    models = means(lines)
    for model, rows in models.items():
        add_ratios(rows)
        table(model, rows)
        print()
    version = subprocess.run(["./run", "qtk", "--version"], check=True, text=True,
                             capture_output=True).stdout.split("\n")[0]
    result = {"what": "a step of 4 x 384 tokens at once, 4 bits in groups of 64",
              "machine": {"processor": processor(), "threads": lines[0]["threads"],
                          "system": platform.system() + " " + platform.release(),
                          "beside": beside},
              "version": version, "models": models}
    with open(target, "w", encoding="utf-8") as f:
        json.dump(result, f, indent=1)
        f.write("\n")
    with open(picture, "w", encoding="utf-8") as f:
        f.write(plot(models))


if __name__ == "__main__":
    main()
