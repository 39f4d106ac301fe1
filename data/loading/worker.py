"""The worker process of the loader: decodes the requested images into shared memory.

A worker is a new interpreter (not a fork, which would copy a running OneFlow) that imports only this package. It exits
when the parent's end of the connection closes, however the parent ended.
"""

from __future__ import annotations

import mmap
import pickle
import signal
import sys
import traceback
from multiprocessing.connection import Connection

import cv2
import numpy as np

from common.errors import UserError
from data.loading.augment import Change
from data.sources.bad_images import BadImage, BadImageError
from data.sources.base import ImageSource

Places = list[np.ndarray]  # the memory of each image of a batch, uint8 [size, size, 3]


def fill_batch(
    source: ImageSource, locations: np.ndarray, draws: np.ndarray, change: Change, places: Places
) -> list[BadImage]:
    """Read and augment the images of one batch, and return its bad images, whose places become black.

    Args:
        source: the images.
        locations: int64 [B, K], as returned by ``source.locate``.
        draws: float32 [B, columns], the random numbers of each image for ``change``; [B, 0] leaves images unchanged.
        change: the augmentation, from ``Augmentation.make_change``.
        places: the memory of the B images.

    Raises:
        UserError: the images cannot be read.
    """
    images, bad = _fetch(source, locations, places)
    for image, draw, place in zip(images, draws.tolist(), places, strict=True):
        changed = change(image, draw) if draw else image
        if changed is not place:
            place[...] = changed
    for number, _ in bad:
        places[number][...] = 0
    return bad


def _fetch(source: ImageSource, locations: np.ndarray, places: Places) -> tuple[list[np.ndarray], list[BadImage]]:
    """Return the images and the bad ones among them, in whose places anything may be."""
    try:
        return source.fetch(locations, places), []
    except BadImageError:
        pass
    images, bad = [], []
    for number, place in enumerate(places):
        try:
            images += source.fetch(locations[number : number + 1], [place])
        except BadImageError as error:
            images.append(place)
            bad.append(BadImage(number, error.rejection))
    return images, bad


def list_places(slots: np.ndarray) -> list[Places]:
    """Return views of the images of every slot of [slots, B, size, size, 3]; made once, because making them is slow."""
    return [list(batch) for batch in slots]


def map_images(handle: int, shape: tuple[int, ...]) -> np.ndarray:
    """Map the shared memory behind a file descriptor as a uint8 array."""
    return np.frombuffer(mmap.mmap(handle, int(np.prod(shape))), np.uint8).reshape(shape)


def pack_request(slot: int, locations: np.ndarray, draws: np.ndarray) -> bytes:
    """Encode a request for ``serve`` as plain bytes, because pickling small arrays takes longer than sending them."""
    return b"".join((np.array([slot, draws.shape[1]], np.int64).tobytes(), draws.tobytes(), locations.tobytes()))


def unpack_request(request: bytes, batch_size: int) -> tuple[int, np.ndarray, np.ndarray]:
    """Decode a request: slot, locations, draws."""
    slot, columns = np.frombuffer(request[:16], np.int64).tolist()
    split = 16 + 4 * columns * batch_size
    draws = np.frombuffer(request[16:split], np.float32).reshape(batch_size, columns)
    locations = np.frombuffer(request[split:], np.int64).reshape(batch_size, -1)
    return slot, locations, draws


def serve(connection_handle: int, memory_handle: int) -> None:
    """Answer the parent's requests until the connection closes.

    Args:
        connection_handle: file descriptor of the connection. It carries ``sys.path``, then (source, augmentation, shape
            [slots, B, size, size, 3] of the shared memory), then requests. The answer to a request is empty, or a
            pickled (list of ``BadImage``, message of a UserError or None, traceback of another error or None).
        memory_handle: file descriptor of the shared memory.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and then closes the connection
    cv2.setNumThreads(1)
    connection = Connection(connection_handle)
    try:
        sys.path[:] = connection.recv()
        source, augmentation, shape = connection.recv()
        change = augmentation.make_change()
        slots = list_places(map_images(memory_handle, shape))
        while True:
            slot, locations, draws = unpack_request(connection.recv_bytes(), shape[1])
            answer = b""
            try:
                bad = fill_batch(source, locations, draws, change, slots[slot])
                if bad:
                    answer = pickle.dumps((bad, None, None))
            except UserError as error:
                answer = pickle.dumps(([], str(error), None))
            except Exception:
                answer = pickle.dumps(([], None, traceback.format_exc()))
            connection.send_bytes(answer)
    except (EOFError, ConnectionError):
        return
