#!/usr/bin/env bash
# Creates .venv-peers with PyTorch and OpenVINO for the benchmarks, unless it is up to date. Called by `make bench`.
set -euo pipefail
cd "$(dirname "$0")/.."

is_recent() { "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

if ! is_recent .venv-peers/bin/python; then
    for python in python3.11 python3.12 python3.13 python3; do
        if is_recent "$python"; then
            found=$(command -v "$python")
            break
        fi
    done
    if [ -z "${found:-}" ]; then
        echo "error: PyTorch needs Python 3.11 or newer with its venv module, and none was found; install one and run this" \
            "again, or run benchmarks/bench_backbone.py without PyTorch" >&2
        exit 1
    fi
    echo "setup: creating .venv-peers with $found"
    rm -rf .venv-peers
    "$found" -m venv .venv-peers
fi

stamp=.venv-peers/requirements.installed
if ! cmp -s requirements-peers.txt "$stamp"; then
    echo "setup: installing requirements-peers.txt into .venv-peers (takes some minutes the first time)"
    install() { .venv-peers/bin/python -m pip install --quiet --disable-pip-version-check "$@"; }
    install -r <(grep -v '^openvino==' requirements-peers.txt)
    install --no-deps -r <(grep '^openvino==' requirements-peers.txt)
    cp requirements-peers.txt "$stamp"
fi
