"""Names that scripts of users import keep working."""

from __future__ import annotations

import data.ofrecord
import data.ofrecord.records
import data.recordio.dataset
import data.recordio_dataset
import data.verification.bin_file
import data.verification_bin


def test_former_names_are_the_present_ones() -> None:
    assert data.recordio_dataset.open_recordio is data.recordio.dataset.open_recordio
    assert data.verification_bin.read_bin is data.verification.bin_file.read_bin
    assert data.ofrecord.read_part is data.ofrecord.records.read_part
    assert data.ofrecord.decode_train_record is data.ofrecord.records.decode_train_record
