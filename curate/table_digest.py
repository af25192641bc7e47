"""Hash of an Arrow table by its values alone: not by chunks, slices or what lies below a null."""

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from shards.errors import ContractError

pc: Any = pyarrow.compute  # its stubs refuse the plain values that the functions take

ROWS_AT_ONCE = 1 << 16


def table_digest(table: pa.Table) -> str:
    """Sha256 over names, types and values, 64 hex digits; rows never become Python objects.

    Args:
        table: columns of numbers, flags, texts, and lists of these; row order counts.
    """
    hasher = hashlib.sha256(str([(field.name, str(field.type)) for field in table.schema]).encode())
    for start in range(0, len(table), ROWS_AT_ONCE):
        for column in table.slice(start, ROWS_AT_ONCE).combine_chunks().columns:
            for chunk in column.chunks:
                _update(hasher, chunk)
    return hasher.hexdigest()


def _update(hasher: Any, values: Any) -> None:
    hasher.update(np.packbits(values.is_valid().to_numpy(zero_copy_only=False)))
    values = values.drop_null()
    if pa.types.is_list(values.type) or pa.types.is_fixed_size_list(values.type):
        hasher.update(pc.list_value_length(values).to_numpy(zero_copy_only=False).tobytes())
        _update(hasher, values.flatten())
    elif pa.types.is_string(values.type) or pa.types.is_binary(values.type):
        hasher.update(pc.binary_length(values).to_numpy(zero_copy_only=False).tobytes())
        if len(values):
            offsets = np.frombuffer(values.buffers()[1], np.int32)[values.offset : values.offset + len(values) + 1]
            hasher.update(memoryview(values.buffers()[2] or b"")[offsets[0] : offsets[-1]])
    elif not pa.types.is_primitive(values.type):  # of others to_numpy gives pointers
        raise ContractError(f"column type is {values.type}; numbers, text and lists are hashed; teach it this one")
    else:
        hasher.update(values.to_numpy(zero_copy_only=False).tobytes())
