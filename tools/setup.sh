#!/usr/bin/env bash
# Makes .venv with Python 3.10 and the pinned requirements; does nothing when they are there already.
set -euo pipefail
cd "$(dirname "$0")/.."

version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true; }

if [ "$(version .venv/bin/python)" != 3.10 ]; then
    rm -rf .venv
    if [ "$(version python3.10)" = 3.10 ] && python3.10 -c 'import ensurepip, venv' 2>/dev/null; then
        echo "setup: making .venv with $(command -v python3.10)"
        python3.10 -m venv .venv
    elif command -v uv >/dev/null; then
        echo "setup: making .venv with uv"
        uv venv --quiet --seed --python 3.10 .venv
    else
        echo "error: Python 3.10 is needed (OneFlow 0.9 serves no newer one) and neither python3.10 with its venv" \
            "module nor uv was found; install one of them and run this again" >&2
        exit 1
    fi
fi

stamp=.venv/requirements.installed
if ! cmp -s requirements.txt "$stamp"; then
    echo "setup: installing requirements.txt into .venv (some minutes the first time)"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
    .venv/bin/python -c 'import ops'  # builds the CPU kernels, so that the first training does not wait for them
    cp requirements.txt "$stamp"
fi
