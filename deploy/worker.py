"""The process in which a runtime works: ``python -m deploy.worker MODULE CORES``, requests on stdin, answers on stdout.

CORES 1 binds the process to one core, 0 leaves it all. A request is a line of JSON with ``do``:

- ``load``: ``path``, ``size``, ``threads``, ``options``, ``package``; loads the model, answers the package's version.
- ``embed``: ``images`` (.npy, uint8 [N, 3, S, S]), ``batch``, ``output`` (.npy to write, float32 [N, E]), ``alone``
  (.npy to write: the first images again, one at a time).
- ``time``: ``images``, ``seconds``; embeds one image at a time for that long; answers how many, in how many seconds and
  processor seconds.
- ``convert``: ``source``, ``target``, ``options``; for a module of ``deploy.conversions``.

The answer is a line of JSON: the result, or ``error`` and, if a package is missing, ``missing``. What a runtime prints
goes to stderr.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import itertools
import json
import os
import sys
import time
from typing import Any

import numpy as np

ALONE = 4  # images that are embedded once more, one at a time


def answer(module: Any, state: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    """Do what a request asks; ``state`` keeps the loaded model between requests."""
    kind = request["do"]
    if kind == "convert":
        return module.convert(request["source"], request["target"], **request["options"]) or {}
    if kind == "load":
        state["model"] = module.load(request["path"], request["size"], request["threads"], **request["options"])
        owners = importlib.metadata.packages_distributions().get(request["package"], [])
        return {"version": state["model"].version or (importlib.metadata.version(owners[0]) if owners else "")}
    model, images = state["model"], np.load(request["images"], mmap_mode="r")
    if kind == "embed":
        np.save(request["output"], model.embed_all(images, request["batch"]))
        np.save(request["alone"], model.embed_all(images[:ALONE], 1))
        return {"batch": model.batch}
    singles = [np.array(image[None], np.float32) for image in images[:ALONE]]
    model.embed(singles[0])
    started, worked = time.perf_counter(), model.processor_seconds()
    for count, image in enumerate(itertools.cycle(singles), 1):
        model.embed(image)
        passed = time.perf_counter() - started
        if passed >= request["seconds"]:
            return {"images": count, "seconds": passed, "processor_seconds": model.processor_seconds() - worked}
    raise ValueError("there are no images")


def main() -> None:
    """Answer requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    if int(sys.argv[2]):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[2])])
    module, state = None, {}
    for line in sys.stdin:
        try:
            module = module or importlib.import_module(sys.argv[1])
            result = answer(module, state, json.loads(line))
        except ModuleNotFoundError as error:
            result = {"error": str(error), "missing": error.name}
        except Exception as error:  # noqa: BLE001 (a runtime raises what it likes; the caller reports it)
            result = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(result), file=answers)


if __name__ == "__main__":
    main()
