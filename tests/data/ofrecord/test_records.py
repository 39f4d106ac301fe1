from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from data.ofrecord.records import (
    RecordError,
    decode_train_record,
    decode_verification_record,
    encode_train_record,
    encode_verification_record,
    list_parts,
    locate_train_image,
    ofrecord_class,
    read_dataset_info,
    read_part,
    write_dataset_info,
    write_record,
)
from ops import flow  # noqa: F401  (prepares the process for the next import)

from oneflow.core.record import record_pb2  # isort: skip


def test_wire_format_is_oneflows_for_every_kind_of_feature() -> None:
    def fill(record: object) -> bytes:
        record.feature["b"].bytes_list.value.extend([b"x", b"\0\xff"])
        record.feature["f"].float_list.value.extend([1.5, -2.0])
        record.feature["d"].double_list.value.extend([1e300])
        record.feature["i"].int32_list.value.extend([-1, 2, 1 << 30])
        record.feature["l"].int64_list.value.extend([-1, 1 << 60])
        return record.SerializeToString(deterministic=True)

    ours, theirs = fill(ofrecord_class()()), fill(record_pb2.OFRecord())
    assert ours == theirs
    assert ofrecord_class().FromString(theirs).SerializeToString(deterministic=True) == theirs
    assert record_pb2.OFRecord.FromString(ours).SerializeToString(deterministic=True) == ours


def test_oneflow_parses_our_records_and_we_parse_theirs() -> None:
    theirs = record_pb2.OFRecord.FromString(encode_train_record(b"jpeg", 7))
    assert theirs.feature["encoded"].bytes_list.value[0] == b"jpeg"
    assert theirs.feature["label"].int32_list.value[0] == 7
    assert decode_train_record(theirs.SerializeToString()) == (b"jpeg", 7)
    verification = record_pb2.OFRecord.FromString(encode_verification_record(b"jpeg", True))
    assert verification.feature["issame"].int32_list.value[0] == 1
    assert decode_verification_record(verification.SerializeToString()) == (b"jpeg", True)


def test_records_without_the_features_are_refused() -> None:
    with pytest.raises(RecordError, match="'encoded' and 'label'"):
        decode_train_record(encode_verification_record(b"jpeg", True))
    with pytest.raises(RecordError, match="not an OFRecord"):
        decode_train_record(b"\xff\xff\xff")
    payload = encode_train_record(b"jpeg", 3).replace(b"label", b"lab\xffl")  # a name that protobuf gives as bytes
    with pytest.raises(RecordError, match="expected 'encoded' and 'label'"):
        decode_train_record(payload)


def test_a_record_of_which_protobuf_reads_a_part_is_refused(recwarn: pytest.WarningsRecorder) -> None:
    with pytest.raises(RecordError, match="an OFRecord that ends 2 bytes before its record"):
        decode_train_record(encode_train_record(b"jpeg", 3) + b"\x0czz")  # 0x0c ends a group that did not begin
    assert not recwarn.list


@pytest.mark.parametrize("size", [1, 127, 128, 5000, 1 << 16])
@pytest.mark.parametrize("kind", ["int32_list", "int64_list"])
@pytest.mark.parametrize("names", [("encoded", "label"), ("label", "extra", "encoded")])
def test_the_image_is_found_wherever_it_lies(size: int, kind: str, names: tuple[str, ...]) -> None:
    image = np.random.default_rng(size).integers(0, 256, size, np.uint8).tobytes()
    payload = b""
    for name in names:  # messages written one after the other are one message with the entries of all
        record = record_pb2.OFRecord()
        if name == "encoded":
            record.feature[name].bytes_list.value.append(image)
        else:
            getattr(record.feature[name], kind).value.append(300)
        payload += record.SerializeToString()
    begin, length, label = locate_train_image(payload)
    assert payload[begin : begin + length] == image and label == 300


@pytest.mark.parametrize("label", [-1, 1 << 31])
def test_labels_that_are_no_class_numbers_are_refused(label: int) -> None:
    record = record_pb2.OFRecord()
    record.feature["encoded"].bytes_list.value.append(b"jpeg")
    record.feature["label"].int64_list.value.append(label)
    with pytest.raises(RecordError, match=f"label {label} is not a class number"):
        locate_train_image(record.SerializeToString())


def write_part(path: Path, payloads: list[bytes]) -> None:
    with open(path, "wb") as handle:
        for payload in payloads:
            write_record(handle, payload)


def test_parts_are_read_record_by_record(tmp_path: Path) -> None:
    payloads = [b"a", b"bc", b"def" * 100]
    write_part(tmp_path / "part-0", payloads)
    assert list(read_part(tmp_path / "part-0")) == [(0, b"a"), (9, b"bc"), (19, b"def" * 100)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-1], "byte 9 holds the length 2"),
        (lambda data: data[:12], "byte 9 holds an incomplete length field"),
        (lambda data: (-5).to_bytes(8, "little", signed=True) + data[8:], "byte 0 holds the length -5"),
        (lambda data: bytes(8) + data[8:], "byte 0 holds the length 0"),
    ],
)
def test_damaged_parts_name_file_and_offset(tmp_path: Path, change: object, message: str) -> None:
    part = tmp_path / "part-0"
    write_part(part, [b"a", b"bc"])
    part.write_bytes(change(part.read_bytes()))
    with pytest.raises(UserError, match=f"part-0: {message}, but the file has"):
        list(read_part(part))


def test_list_parts_sorts_by_number_and_skips_the_rest(tmp_path: Path) -> None:
    for name in ("part-10", "part-2", "part-0", "_SUCCESS", ".part-3.tmp-1", "part-4.tmp", "dataset.json", "part-x"):
        (tmp_path / name).touch()
    (tmp_path / "part-7").mkdir()
    assert [part.name for part in list_parts(tmp_path)] == ["part-0", "part-2", "part-10"]
    assert [part.name for part in list_parts(tmp_path, 3)] == ["part-0", "part-2", "part-10"]


def test_list_parts_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"looked for .*nowhere, which is not a folder"):
        list_parts(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no part files; expected part-00000, \.\.\."):
        list_parts(tmp_path)
    (tmp_path / "part-0").touch()
    with pytest.raises(UserError, match="has 1 part file, but the config expects 2"):
        list_parts(tmp_path, 2)


def test_dataset_info(tmp_path: Path) -> None:
    assert read_dataset_info(tmp_path) is None
    write_dataset_info(tmp_path, {"num_images": 3})
    assert read_dataset_info(tmp_path) == {"num_images": 3}
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(UserError, match=r"dataset\.json: not valid JSON"):
        read_dataset_info(tmp_path)
