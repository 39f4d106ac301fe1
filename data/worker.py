"""The worker process of the loader: receives which images to read, puts them decoded into shared memory.

A worker is a fresh interpreter (never a fork, which would copy a running OneFlow) that imports this package only. It
ends as soon as the parent's end of its connection is gone, however the parent ended.
"""

from __future__ import annotations

import mmap
import signal
import sys
import traceback
from multiprocessing.connection import Connection

import cv2
import numpy as np

from common.errors import UserError
from data.augment import augment_image
from data.source import ImageSource


def fill_batch(source: ImageSource, locations: np.ndarray, draws: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Read one batch.

    Args:
        source: where the images come from.
        locations: int64 [B, K], the source's locations of the images.
        draws: float32 [B, 4], what ``augment_image`` does to each.
        images: uint8 [B, 3, size, size], filled in place.

    Returns:
        The labels, int32 [B].

    Raises:
        UserError: a record is bad.
    """
    labels = np.empty(len(locations), np.int32)
    for i, location in enumerate(locations):
        image, labels[i] = source.fetch(location)
        images[i] = augment_image(image, draws[i]).transpose(2, 0, 1)
    return labels


def map_images(handle: int, shape: tuple[int, ...]) -> np.ndarray:
    """Map the shared memory behind a file descriptor as a uint8 array."""
    return np.frombuffer(mmap.mmap(handle, int(np.prod(shape))), np.uint8).reshape(shape)


def serve(connection_handle: int, memory_handle: int) -> None:
    """Answer the parent's requests until it is gone.

    Args:
        connection_handle: file descriptor of the connection. First come ``sys.path``, then (source, shape of the shared
            memory [slots, B, 3, size, size]), then requests (slot, locations, draws), each answered by
            (labels or None, message of a user error or None, traceback of another error or None).
        memory_handle: file descriptor of the shared memory.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes the connection
    cv2.setNumThreads(1)
    connection = Connection(connection_handle)
    try:
        sys.path[:] = connection.recv()
        source, shape = connection.recv()
        slots = map_images(memory_handle, shape)
        while True:
            slot, locations, draws = connection.recv()
            try:
                answer = (fill_batch(source, locations, draws, slots[slot]), None, None)
            except UserError as error:
                answer = (None, str(error), None)
            except Exception:
                answer = (None, None, traceback.format_exc())
            connection.send(answer)
    except (EOFError, ConnectionError):
        return
