"""From a published version to batches: bytes, checksums, decoding, the loader."""
