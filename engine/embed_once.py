"""Embeddings that are computed once: a file that is complete is read, one that is not is made or taken up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from common.errors import require
from common.wording import counted
from data.photos.walk import printable
from data.rejected import REJECTED_FILE, Rejection, summarize, write_rejected
from engine.embed_images import EmbeddingTask, write_embeddings
from evaluation.embedding_store import EmbeddingStore, different_work, read_store
from interchange.open_model import TrainedModel


def embed_once(
    output: str | Path, model: TrainedModel, task: EmbeddingTask, device: str, left_out: Sequence[Rejection] = ()
) -> EmbeddingStore:
    """Return the embeddings of ``task`` in the file ``output``, and say what was done.

    Args:
        output: the ``.npz``; images that cannot be used are listed in ``NAME.rejected.csv`` beside it.
        model: the model.
        task: images and settings.
        device: cpu or cuda.
        left_out: files that were not taken for images, listed too.

    Raises:
        UserError: the file holds other work, images cannot be used, or the file cannot be written.
    """
    output = Path(output)
    if output.exists():
        store = read_store(output)
        different = different_work(store.about, task.describe(model))
        require(
            not different,
            f"{output} exists already, with another {', '.join(different)}; remove it or choose another --output",
        )
        print(f"{printable(output)} is complete already")
        return store
    from engine.embedder import Embedder  # here because OneFlow takes seconds, which a complete file does not need

    rejections = write_embeddings(output, model, Embedder.of(model, task.batch_size, device), task)
    store = read_store(output)
    kind = "image + mirrored image" if task.mirrored else "image alone"
    size, dtype = store.embeddings.shape[1], store.embeddings.dtype
    print(f"{printable(output)}: {counted(len(store), 'embedding')} of {size} numbers, {dtype}, {kind}")
    rejections = [*left_out, *rejections]
    if rejections:
        rejected = output.with_name(f"{output.stem}.{REJECTED_FILE}")
        write_rejected(rejected, rejections)
        print(f"left out: {summarize(rejections)}; {printable(rejected)} lists them")
    return store
