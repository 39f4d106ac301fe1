"""Parts written here, read by OneFlow's own reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from data.image import decode_image, encode_jpeg
from data.ofrecord.records import encode_train_record, write_record
from data.sources.synthetic import SyntheticSource
from ops import flow


def test_oneflow_reads_our_parts(tmp_path: Path) -> None:
    source = SyntheticSource(6, 4)
    records = [(encode_jpeg(image), label) for image, label in map(source.read, range(6))]
    for part in range(2):
        with open(tmp_path / f"part-{part:05d}", "wb") as handle:
            for encoded, label in records[3 * part : 3 * part + 3]:
                write_record(handle, encode_train_record(encoded, label))
    reader = flow.nn.OFRecordReader(
        str(tmp_path), batch_size=6, data_part_num=2, part_name_suffix_length=5, random_shuffle=False
    )
    decode_label = flow.nn.OFRecordRawDecoder("label", shape=(), dtype=flow.int32)
    decode_bytes = flow.nn.OFRecordImageDecoder("encoded", color_space="RGB")
    batch = reader()
    assert decode_label(batch).numpy().tolist() == [label for _, label in records]
    images = decode_bytes(batch).numpy()
    for image, (encoded, _) in zip(images, records, strict=True):
        assert np.abs(image.astype(int) - decode_image(encoded)).max() <= 1
