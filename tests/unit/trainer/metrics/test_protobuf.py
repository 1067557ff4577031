"""The wire format, against the implementation of Protocol Buffers itself."""

import contextlib

import pytest
from google.protobuf import struct_pb2, wrappers_pb2
from hypothesis import given
from hypothesis import strategies as st

from envbuild.trainer.metrics.protobuf import (
    bytes_field,
    double_field,
    fields,
    float_field,
    signed,
    varint_field,
    varints,
)


@given(st.integers(-(2**63), 2**63 - 1))
def test_whole_numbers(number: int) -> None:
    assert wrappers_pb2.Int64Value.FromString(varint_field(1, number)).value == number
    assert [signed(value) for _, value in fields(varint_field(1, number)) if isinstance(value, int)] == [number]


@given(st.floats(allow_nan=False))
def test_doubles(number: float) -> None:
    assert wrappers_pb2.DoubleValue.FromString(double_field(1, number)).value == number


@given(st.floats(allow_nan=False, width=32))
def test_floats(number: float) -> None:
    assert wrappers_pb2.FloatValue.FromString(float_field(1, number)).value == number


@given(st.text())
def test_texts(text: str) -> None:
    assert wrappers_pb2.StringValue.FromString(bytes_field(1, text.encode())).value == text


def test_a_message_in_a_message() -> None:
    message = struct_pb2.ListValue(values=[struct_pb2.Value(number_value=1.5)]).SerializeToString()
    (number, inner), *rest = fields(message)
    assert (number, rest) == (1, [])
    assert isinstance(inner, bytes) and list(fields(inner)) == [(2, b"\0\0\0\0\0\0\xf8?")]


def test_packed_numbers() -> None:
    assert varints(b"\x01\xac\x02") == [1, 300]


@pytest.mark.parametrize("damaged", [b"\x80", b"\x0a\x05abc", b"\x09abc", b"\x0b", b"\x08" + b"\xff" * 11])
def test_what_is_no_message_is_an_error(damaged: bytes) -> None:
    with pytest.raises(ValueError, match=r"varint|longer|wire type"):
        list(fields(damaged))


@given(st.binary())
def test_any_bytes_end_in_fields_or_a_value_error(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        list(fields(data))
