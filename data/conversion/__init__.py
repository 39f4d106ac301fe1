"""RecordIO and ``.bin`` files to OFRecord parts."""
