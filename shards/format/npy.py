"""Arrays as members of a shard: the .npy format, version 1.0, without pickle and without copies."""

import io
import math
import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from shards.errors import ContractError

_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER = re.compile(
    rb"\{'descr': '([<|][fiub][1248])', 'fortran_order': False, 'shape': \(((?:[0-9]{1,15}, ?)*[0-9]{0,15})\), \} *\n"
)


def npy_bytes(array: np.ndarray) -> bytes:
    """An array of numbers as .npy, in C order.

    Raises:
        ContractError: its elements are no little-endian numbers.
    """
    sink = io.BytesIO()
    np.lib.format.write_array(sink, np.asarray(array, order="C"), version=(1, 0), allow_pickle=False)
    data = sink.getvalue()
    npy_kind(data)
    return data


def npy_kind(data: bytes | memoryview) -> tuple[np.dtype, tuple[int, ...]]:
    """Element type and shape of the array in a .npy file that is whole.

    Raises:
        ContractError: it is no such file, or has elements that are no little-endian numbers.
    """
    dtype, shape, _ = _parse(data)
    return dtype, shape


def load_npy(data: bytes, dtype: str, shape: Sequence[int]) -> np.ndarray:
    """The array in a .npy file: a read-only view of the bytes.

    Args:
        data: the whole file.
        dtype: what the elements must be, as `<f2`.
        shape: what the shape must be.

    Raises:
        ContractError: the file is no .npy, or holds something else.
    """
    found_dtype, found_shape, start = _parse(data)
    if found_dtype.str != dtype or found_shape != tuple(shape):
        raise ContractError(
            f"array is {found_dtype.str} of shape {found_shape}; {dtype} of shape {tuple(shape)} is named by the "
            f"index; restore or rebuild the shard"
        )
    return np.frombuffer(data, found_dtype, offset=start).reshape(found_shape)


def _parse(data: bytes | memoryview) -> tuple[np.dtype, tuple[int, ...], int]:
    """Element type, shape and where the elements begin."""
    start = 10 + int.from_bytes(data[8:10], "little")
    dtype, shape = _parse_header(bytes(data[:start]))
    if len(data) != start + dtype.itemsize * math.prod(shape):
        raise ContractError(
            f"array file has {len(data)} bytes; its header promises {dtype.itemsize * math.prod(shape)} after "
            f"{start}; write it whole"
        )
    return dtype, shape, start


@lru_cache(maxsize=256)
def _parse_header(header: bytes) -> tuple[np.dtype, tuple[int, ...]]:
    found = _HEADER.fullmatch(header[10:])
    if header[:8] != _MAGIC or not found:
        raise ContractError(
            f"array file begins with {header[:80]!r}; .npy 1.0 of little-endian numbers in C order is allowed; "
            f"write it with shards.format.npy.npy_bytes"
        )
    try:
        dtype = np.dtype(found[1].decode())
    except TypeError as error:
        raise ContractError(
            f"array's element type is {found[1].decode()}; a number type that exists is allowed; convert it"
        ) from error
    return dtype, tuple(int(size) for size in found[2].replace(b",", b" ").split())
