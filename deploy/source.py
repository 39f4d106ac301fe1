"""The model that is deployed: opened as this project opens any, and written as ONNX for the converters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from interchange.image_input import InputFlags
from interchange.onnx.form import ExportForm
from interchange.onnx.writer import write_onnx
from interchange.open_model import TrainedModel, open_model


@dataclass(frozen=True, eq=False)
class Source:
    """A model that this project reads.

    Attributes:
        model: network, arrays and facts.
        size: height and width of the images that it takes.
    """

    model: TrainedModel
    size: int

    @classmethod
    def open(cls, name: str, flags: InputFlags | None = None) -> Source:
        """Open a model and print what was assumed about it.

        Raises:
            UserError: it cannot be read.
        """
        model = open_model(name, flags)
        model.print_notes()
        size = next(model.network.shapes[node.name][1] for node in model.network.nodes if node.op == "input")
        return cls(model, size)

    def write_onnx(self, path: Path) -> Path:
        """Write the network with its BatchNorms folded, float32, as the ONNX file ``path``; return the path."""
        about = {key: str(value) for key, value in self.model.about.items() if key in ("network", "loss", "step")}
        form = ExportForm(fold=True, metadata="short")
        model = write_onnx(self.model.network, self.model.arrays, about, form)
        path.write_bytes(model.SerializeToString())
        return path
