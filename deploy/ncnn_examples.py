"""Programs that use a network converted to ncnn, with its names and its precision."""

from __future__ import annotations

from pathlib import Path

_CPP = """\
// Prints the embedding of an aligned face of {size}x{size} pixels: example FACE.png
// Build with ncnn and OpenCV, for example: g++ -std=c++17 example.cpp -lncnn -lopencv_imgcodecs -lopencv_core -lgomp
#include <cstdio>

#include <ncnn/net.h>
#include <opencv2/imgcodecs.hpp>

int main(int argc, char** argv)
{{
    if (argc < 2)
        return 2;
{options}
    if (net.load_param("model.param") || net.load_model("model.bin"))
        return 1;
    cv::Mat bgr = cv::imread(argv[1], cv::IMREAD_COLOR);
    if (bgr.cols != {size} || bgr.rows != {size})
        return 1;
    // RGB 0..255: the network normalises, so there is no substract_mean_normalize.
    ncnn::Mat image = ncnn::Mat::from_pixels(bgr.data, ncnn::Mat::PIXEL_BGR2RGB, bgr.cols, bgr.rows);
    ncnn::Extractor extractor = net.create_extractor();
    extractor.input("{source}", image);
    ncnn::Mat embedding;
    if (extractor.extract("{target}", embedding))
        return 1;
    for (int i = 0; i < embedding.w; i++)
        std::printf("%g\\n", embedding[i]);
    return 0;
}}
"""

_PYTHON = """\
\"\"\"Prints the embedding of an aligned face of {size}x{size} pixels: python example.py FACE.png\"\"\"
import sys

import cv2
import ncnn
import numpy as np

{options}
if net.load_param("model.param") or net.load_model("model.bin"):
    sys.exit("ncnn does not load the network")
image = cv2.cvtColor(cv2.imread(sys.argv[1]), cv2.COLOR_BGR2RGB)
planes = np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)  # RGB 0..255: the network normalises
extractor = net.create_extractor()
extractor.input("{source}", ncnn.Mat(planes).clone())  # a Mat does not keep the array alive, its clone owns the values
code, embedding = extractor.extract("{target}")
if code:
    sys.exit(f"ncnn returns {{code}}")
print(*np.array(embedding), sep="\\n")
"""

_OPTIONS = {
    "float16": {},
    "float32": dict.fromkeys(("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic"), False),
    "bf16": {"use_bf16_storage": True},
}


def blob_names(param: str) -> tuple[str, str]:
    """Return the names of input and output in the text of a .param file: those of its Input and its last layer."""
    layers = [line.split() for line in param.splitlines()[2:] if line.strip()]
    entry = next(words for words in layers if words[0] == "Input")
    last = layers[-1]
    inputs, outputs = int(last[2]), int(last[3])
    return entry[4], last[4 + inputs : 4 + inputs + outputs][-1]


def write_examples(folder: Path, size: int, precision: str) -> None:
    """Write example.cpp and example.py beside model.param in ``folder``."""
    source, target = blob_names((folder / "model.param").read_text())
    options = _OPTIONS[precision]
    cpp = [f"    net.opt.{name} = {str(value).lower()};" for name, value in options.items()]
    python = [f"net.opt.{name} = {value}" for name, value in options.items()]
    names = {"size": size, "source": source, "target": target}
    (folder / "example.cpp").write_text(_CPP.format(options="\n".join(["    ncnn::Net net;", *cpp]), **names))
    (folder / "example.py").write_text(_PYTHON.format(options="\n".join(["net = ncnn.Net()", *python]), **names))
