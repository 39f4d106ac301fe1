#!/usr/bin/env bash
# Creates .venv-deploy with the runtimes and converters of tools/deploy, unless it is up to date.
# "setup_deploy.sh NAME" creates another environment instead: tflite for onnx2tf and TensorFlow (2.5 GB), opencv4 and
# opencv5 for newer OpenCVs than .venv has (0.2 GB each).
set -euo pipefail
cd "$(dirname "$0")/../.."

name=${1:-deploy}
requirements=requirements-$name.txt
folder=.venv-$name
case $name in
    deploy | tflite | opencv4 | opencv5) ;;
    *)
        echo "error: '$name' is not an environment; give deploy (the default), tflite, opencv4 or opencv5" >&2
        exit 1
        ;;
esac

version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true; }

if [ "$(version "$folder/bin/python")" != 3.10 ]; then
    for python in .venv/bin/python python3.10; do
        if [ "$(version "$python")" = 3.10 ]; then
            found=$python
            break
        fi
    done
    if [ -z "${found:-}" ]; then
        echo "error: Python 3.10 was not found; run bash tools/setup.sh first" >&2
        exit 1
    fi
    echo "setup: creating $folder with $found"
    rm -rf "$folder"
    "$found" -m venv "$folder"
fi

stamp=$folder/requirements.installed
if ! cmp -s "$requirements" "$stamp"; then
    echo "setup: installing $requirements into $folder (takes some minutes the first time)"
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$requirements"
    cp "$requirements" "$stamp"
fi
