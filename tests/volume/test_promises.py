"""What packed files may unpack to: many members in linear time, limits that good scans keep."""

import gzip
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import save
from volforge.errors import ScanError
from volforge.volume.promises import inflated, inflated_size, refuse_promise
from volforge.volume.read import read_volume


def members(content: bytes, size: int) -> bytes:
    return b"".join(gzip.compress(content[i : i + size], 1) for i in range(0, len(content), size))


@settings(deadline=None, max_examples=40)
@given(st.binary(min_size=1, max_size=5000), st.integers(1, 700), st.integers(0, 9))
def test_members_are_joined_and_zeros_behind_are_left_out(content, size, zeros):
    assert inflated(members(content, size) + bytes(zeros), len(content)) == content


def test_many_small_members_take_time_in_proportion():
    content = np.random.default_rng(0).integers(0, 255, 24_000_000, np.uint8).tobytes()
    packed = members(content, 65_000)
    began = time.process_time()
    assert inflated(packed, len(content)) == content
    assert time.process_time() - began < 5, "each member got a copy of all that follows: minutes"


def test_more_than_was_promised_is_refused_before_it_is_there():
    with pytest.raises(ScanError, match="unpacks to more than the 1,000 bytes"):
        inflated(gzip.compress(bytes(50_000_000)), 1000)
    with pytest.raises(ScanError, match="unpacks to more"):
        inflated(members(bytes(3000), 100), 2999)
    with pytest.raises(EOFError):
        inflated(gzip.compress(b"abc" * 100)[:-12], 1000)
    with pytest.raises(ValueError, match="something else follows"):
        inflated(gzip.compress(b"abc") + b"xyz", 1000)


@pytest.mark.parametrize("more", [0, 1, 100, 258, 1000])
def test_the_size_of_a_stream_counts_its_last_bytes(tmp_path, more):
    size = (1 << 24) + more
    (tmp_path / "z.gz").write_bytes(gzip.compress(bytes(size)))
    assert inflated_size(tmp_path / "z.gz", 0, size + 5) == size


def test_phases_and_fine_volumes_are_no_promise_too_much():
    for shape in ((512, 512, 600, 20), (1024, 1024, 2400)):
        expected = int(np.prod(shape)) * 2
        refuse_promise(shape, expected, expected)
    with pytest.raises(ScanError, match="more than any scan has"):
        refuse_promise((1 << 12, 1 << 12, 1 << 10), 1 << 34, 1 << 34)


def test_a_width_of_zero_bits_is_read_by_the_type(tmp_path):
    array = np.random.default_rng(0).integers(-1000, 1000, (40, 40, 40)).astype(np.int16)
    path = save(tmp_path / "a.nii.gz", array)
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[72:74] = bytes(2)
    path.write_bytes(gzip.compress(bytes(content)))
    assert np.array_equal(read_volume(path, labels=False).array, array)
