"""OFRecord, OneFlow's record format."""
