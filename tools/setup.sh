#!/usr/bin/env bash
# Creates .venv with Python 3.10 and the pinned requirements, unless it is up to date.
# INSIGHTFACE_CUDA=1 installs the CUDA libraries, 0 omits them; unset, they are installed if an NVIDIA driver is found.
set -euo pipefail
cd "$(dirname "$0")/.."

version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true; }

if [ "$(version .venv/bin/python)" != 3.10 ]; then
    rm -rf .venv
    if [ "$(version python3.10)" = 3.10 ] && python3.10 -c 'import ensurepip, venv' 2>/dev/null; then
        echo "setup: creating .venv with $(command -v python3.10)"
        python3.10 -m venv .venv
    elif command -v uv >/dev/null; then
        echo "setup: creating .venv with uv"
        uv venv --quiet --seed --python 3.10 .venv
    else
        echo "error: Python 3.10 is required (OneFlow 0.9 does not support newer versions), but neither python3.10 with its venv" \
            "module nor uv was found; install one of them and run this again" >&2
        exit 1
    fi
fi

stamp=.venv/requirements.installed
choice=$(.venv/bin/python -m common.choose_cuda) # "cuda: ..." or "light: ..."
wanted=$(echo "${choice%%:*}" && cat requirements.txt requirements-cuda.txt requirements-interop.txt)
if [ "$wanted" != "$(cat "$stamp" 2>/dev/null)" ]; then
    echo "setup: ${choice#*: }"
    echo "setup: installing the requirements into .venv (takes some minutes the first time)"
    pip() { .venv/bin/python -m pip --quiet --disable-pip-version-check "$@"; }
    if [ "${choice%%:*}" = cuda ]; then
        pip install -r requirements.txt -r requirements-cuda.txt
    else
        pip install -r requirements.txt
        pip uninstall --quiet --yes -r requirements-cuda.txt # installed only if the choice has changed
    fi
    pip install --no-deps -r requirements-interop.txt
    .venv/bin/python -c 'from ops import flow' # builds native code now, so that the first training does not wait for it
    echo "$wanted" >"$stamp"
fi
# Compiled once here: where Python may not or must not write compiled modules (PYTHONDONTWRITEBYTECODE), each process of
# each command would compile them again, half a second of a training's start.
.venv/bin/python -m compileall -qq ./*.py backbones benchmarks common data deploy engine evaluation interchange launch ops \
    settings snapshots tests tools || true
