import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from shards.errors import ContractError
from shards.format.npy import load_npy, npy_bytes, npy_kind


@given(npst.arrays(st.sampled_from(["<f2", "<f4", "<i8", "|u1", "|b1"]), npst.array_shapes(min_dims=0, max_dims=5)))
def test_numpy_reads_what_we_write_and_we_what_numpy_writes(array: np.ndarray):
    sink = io.BytesIO()
    np.save(sink, array, allow_pickle=False)
    assert npy_bytes(array) == sink.getvalue()
    found = load_npy(sink.getvalue(), array.dtype.str, array.shape)
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype


def test_a_loaded_array_is_a_view_of_the_bytes():
    loaded = load_npy(npy_bytes(np.ones((2, 3), np.float16)), "<f2", (2, 3))
    assert not loaded.flags.owndata
    assert not loaded.flags.writeable


@pytest.mark.parametrize(("dtype", "shape"), [("<f4", (2, 3)), ("<f2", (3, 2)), ("<f2", (6,))])
def test_another_type_or_shape_than_promised_is_refused(dtype: str, shape: tuple[int, ...]):
    with pytest.raises(ContractError, match=r"array is <f2 of shape \(2, 3\)"):
        load_npy(npy_bytes(np.ones((2, 3), np.float16)), dtype, shape)


def test_elements_that_are_no_numbers_are_refused():
    for array in (np.array(["text"]), np.zeros(2, ">f4"), np.zeros(2, [("a", "<f4")]), np.zeros(2, "<c8")):
        with pytest.raises(ContractError, match="of little-endian numbers"):
            npy_bytes(array)
    with pytest.raises(ValueError, match="allow_pickle"):
        npy_bytes(np.array([{}], object))


def test_a_pickle_is_never_unpickled():
    sink = io.BytesIO()
    np.save(sink, np.array([print], object), allow_pickle=True)
    with pytest.raises(ContractError, match="of little-endian numbers"):
        npy_kind(sink.getvalue())


@pytest.mark.parametrize("size", [0, 5, 9, 60, 127, 128, 139])
def test_a_file_that_is_not_whole_is_refused(size: int):
    """128 bytes of header, 12 of elements."""
    data = npy_bytes(np.ones((2, 3), np.float16))
    assert len(data) == 140
    with pytest.raises(ContractError, match="array file"):
        npy_kind(data[:size])
    with pytest.raises(ContractError, match="array file has 141 bytes"):
        npy_kind(data + b"x")


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(data: bytes):
    for whole in (data, b"\x93NUMPY\x01\x00" + data):
        with pytest.raises(ContractError):
            npy_kind(whole)
