"""6. What is kept: runs as folders of standard files, and features saved by others, read without trusting them."""

from layerpeel.records.provenance import provenance
from layerpeel.records.saved_features import SavedFeatures, read_features
from layerpeel.records.store import Record, read_record, write_record

__all__ = ["Record", "SavedFeatures", "provenance", "read_features", "read_record", "write_record"]
