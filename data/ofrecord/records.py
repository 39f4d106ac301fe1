"""Read and write OFRecord part files: records of an int64 little-endian length and a serialized ``OFRecord`` message.

The message class is built here, in a separate descriptor pool, so that reading does not need OneFlow and cannot clash
with OneFlow's registration of the same message in the same process.
"""

from __future__ import annotations

import json
import os
import re
import struct
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import IO, Any

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

from common.errors import UserError
from common.json_text import parse_json
from common.wording import counted
from data.ofrecord.encoding import bytes_after, bytes_before

SUCCESS_FILE = "_SUCCESS"
INFO_FILE = "dataset.json"
_PART_NAME = re.compile(r"part-(\d+)")
LENGTH = struct.Struct("<q")

_FIELD = descriptor_pb2.FieldDescriptorProto
# Ordered by the field numbers 1 to 5 of oneflow/core/record/record.proto.
_LISTS = {
    "bytes_list": ("BytesList", _FIELD.TYPE_BYTES),
    "float_list": ("FloatList", _FIELD.TYPE_FLOAT),
    "double_list": ("DoubleList", _FIELD.TYPE_DOUBLE),
    "int32_list": ("Int32List", _FIELD.TYPE_INT32),
    "int64_list": ("Int64List", _FIELD.TYPE_INT64),
}


class RecordError(ValueError):
    """The bytes are not an OFRecord, or the record lacks a required feature."""


@cache
def ofrecord_class() -> type[message.Message]:
    """Return the message class ``OFRecord``: ``map<string, Feature> feature = 1``."""
    file = descriptor_pb2.FileDescriptorProto(name="ofrecord.proto", package="ofrecord", syntax="proto2")
    feature = descriptor_pb2.DescriptorProto(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (field, (name, kind)) in enumerate(_LISTS.items(), start=1):
        values = file.message_type.add(name=name)
        value = values.field.add(name="value", number=1, label=_FIELD.LABEL_REPEATED, type=kind)
        if kind != _FIELD.TYPE_BYTES:
            value.options.packed = True
        feature.field.add(
            name=field,
            number=number,
            label=_FIELD.LABEL_OPTIONAL,
            type=_FIELD.TYPE_MESSAGE,
            oneof_index=0,
            type_name=f".ofrecord.{name}",
        )
    file.message_type.append(feature)
    record = file.message_type.add(name="OFRecord")
    entry = record.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=_FIELD.LABEL_OPTIONAL, type=_FIELD.TYPE_STRING)
    entry.field.add(
        name="value", number=2, label=_FIELD.LABEL_OPTIONAL, type=_FIELD.TYPE_MESSAGE, type_name=".ofrecord.Feature"
    )
    record.field.add(
        name="feature",
        number=1,
        label=_FIELD.LABEL_REPEATED,
        type=_FIELD.TYPE_MESSAGE,
        type_name=".ofrecord.OFRecord.FeatureEntry",
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.MessageFactory(pool).GetPrototype(pool.FindMessageTypeByName("ofrecord.OFRecord"))


def encode_train_record(encoded: bytes, label: int) -> bytes:
    """Serialize a training record: ``encoded`` (bytes) and ``label`` (int32)."""
    return _encode(encoded, "label", label)


def encode_verification_record(encoded: bytes, issame: bool) -> bytes:
    """Serialize one image of a verification pair: ``encoded`` (bytes) and ``issame`` (int32) of its pair."""
    return _encode(encoded, "issame", int(issame))


def decode_train_record(payload: bytes) -> tuple[bytes, int]:
    """Return (encoded image, label).

    Raises:
        RecordError: the payload is not an OFRecord, or a feature is missing.
    """
    return _decode(payload, "label")


def locate_train_image(payload: bytes) -> tuple[int, int, int]:
    """Return the byte offset and the length of the encoded image within a training record, and the label.

    Raises:
        RecordError: the payload is not an OFRecord, a feature is missing, or the label is not a class number.
    """
    encoded, label = decode_train_record(payload)
    if not 0 <= label < 1 << 31:
        raise RecordError(f"label {label} is not a class number (0, 1, 2, ...)")
    return payload.find(encoded), len(encoded), label


def decode_verification_record(payload: bytes) -> tuple[bytes, bool]:
    """Return (encoded image, issame).

    Raises:
        RecordError: the payload is not an OFRecord, or a feature is missing.
    """
    encoded, issame = _decode(payload, "issame")
    return encoded, bool(issame)


def write_record(handle: IO[bytes], payload: bytes) -> None:
    """Append one serialized record to an open part file."""
    handle.write(LENGTH.pack(len(payload)))
    handle.write(payload)


def read_part(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (byte offset, payload) of every record of a part.

    Raises:
        UserError: a record's length is impossible, or the part is truncated.
    """
    with open(path, "rb", buffering=1 << 20) as handle:
        size, offset = os.fstat(handle.fileno()).st_size, 0
        while offset < size:
            length = check_length(path, offset, handle.read(LENGTH.size), size)
            yield offset, handle.read(length)
            offset += LENGTH.size + length


def list_parts(directory: str | Path, part_num: int = 0) -> list[Path]:
    """List the part files of a folder (``part-0`` or ``part-00000``, ...) by number.

    Args:
        directory: the folder.
        part_num: required number of parts; 0 accepts any number above 0.

    Raises:
        UserError: the folder is missing, contains no parts, or does not contain ``part_num`` parts.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise UserError(f"looked for OFRecord parts part-00000, ... in {directory}, which is not a folder")
    numbers = {entry.name: _PART_NAME.fullmatch(entry.name) for entry in directory.iterdir() if entry.is_file()}
    parts = {name: int(match[1]) for name, match in numbers.items() if match}
    if not parts:
        raise UserError(f"looked in {directory} and found no part files; expected part-00000, ...")
    if part_num and len(parts) != part_num:
        raise UserError(
            f"{directory} has {counted(len(parts), 'part file')}, but the config expects {part_num}; "
            "correct the number of parts (0 accepts any) or convert the dataset again"
        )
    return [directory / path for path in sorted(parts, key=lambda path: (parts[path], path))]


def write_dataset_info(directory: str | Path, info: dict[str, Any]) -> None:
    """Write ``dataset.json`` beside the parts: their contents as counted by the converter."""
    (Path(directory) / INFO_FILE).write_text(json.dumps(info, indent=2) + "\n")


def read_dataset_info(directory: str | Path) -> dict[str, Any] | None:
    """Return the contents of ``dataset.json``, or None if there is none, as for parts written by other tools.

    Raises:
        UserError: the file is not a JSON object.
    """
    path = Path(directory) / INFO_FILE
    if not path.exists():
        return None
    try:
        info = parse_json(path.read_text())
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error}); remove it or convert the dataset again") from error
    if not isinstance(info, dict):
        raise UserError(f"{path}: found a {type(info).__name__}, expected a JSON object; convert the dataset again")
    return info


def _encode(encoded: bytes, name: str, number: int) -> bytes:
    after = bytes_after(name, number)
    return bytes_before(len(encoded), len(after))[LENGTH.size :] + encoded + after


def _decode(payload: bytes, name: str) -> tuple[bytes, int]:
    record = ofrecord_class()()
    try:
        with warnings.catch_warnings():  # of a part that was not converted, which the length shows
            warnings.simplefilter("ignore", RuntimeWarning)
            read = record.MergeFromString(payload)
    except message.DecodeError as error:
        raise RecordError(f"{len(payload)} bytes that are not an OFRecord") from error
    if read != len(payload):
        raise RecordError(f"an OFRecord that ends {len(payload) - read} bytes before its record")
    feature = record.feature
    images = feature["encoded"].bytes_list.value if "encoded" in feature else ()
    numbers = (feature[name].int32_list.value or feature[name].int64_list.value) if name in feature else ()
    if not images or not numbers:
        raise RecordError(f"an OFRecord with the features {sorted(map(str, feature))}, expected 'encoded' and '{name}'")
    return images[0], numbers[0]


def check_length(path: Path, offset: int, field: bytes, size: int) -> int:
    """Return the length in the ``field`` at byte ``offset`` of a part of ``size`` bytes.

    Raises:
        UserError: the field is incomplete, or the part does not have that many bytes.
    """
    length = LENGTH.unpack(field)[0] if len(field) == LENGTH.size else None
    if length is None or length <= 0 or offset + LENGTH.size + length > size:
        found = "an incomplete length field" if length is None else f"the length {length}"
        raise UserError(
            f"{path}: byte {offset} holds {found}, but the file has {size} bytes; "
            "the part is truncated or damaged; copy or convert it again"
        )
    return length
