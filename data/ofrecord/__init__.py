"""OFRecord, OneFlow's record format."""

from data.ofrecord.records import decode_train_record, read_part

__all__ = ["decode_train_record", "read_part"]
