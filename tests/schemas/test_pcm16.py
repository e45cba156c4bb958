"""PCM16: values by hand, a lossless round trip of every integer, and NaN refused."""

from __future__ import annotations

import numpy as np
import pytest

from soundflow.schemas.pcm16 import from_pcm16, round_to_pcm16, to_pcm16


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (-1.0, -32_768),
        (1.0, 32_767),
        (0.99997, 32_767),
        (-0.99997, -32_767),
        (0.5, 16_384),
        (-0.25, -8_192),
        (0.0, 0),
        (0.5 / 32_768, 0),
        (1.5 / 32_768, 2),
        (-1.5 / 32_768, -2),
        (1.7, 32_767),
        (-3.0, -32_768),
        (np.inf, 32_767),
        (-np.inf, -32_768),
    ],
)
def test_values_are_rounded_half_to_even_and_clipped(sample: float, expected: int) -> None:
    for dtype in (np.float32, np.float64):
        pcm = to_pcm16(np.array([sample], dtype=dtype))
        assert pcm.dtype == np.dtype("<i2") and pcm.tolist() == [expected]


def test_every_integer_survives_the_round_trip() -> None:
    pcm = np.arange(-32_768, 32_768).astype(np.int16)
    samples = from_pcm16(pcm)
    assert samples.dtype == np.float32 and (samples[0], samples[-1]) == (-1.0, np.float32(32_767 / 32_768))
    assert np.array_equal(to_pcm16(samples), pcm)
    assert np.array_equal(from_pcm16(pcm.astype("<i2").tobytes()), samples)


def test_another_full_scale_reaches_that_integer() -> None:
    assert to_pcm16(np.array([1.0, -1.0, 0.5], dtype=np.float32), full_scale=32_767.0).tolist() == [32_767, -32_767, 16_384]


@pytest.mark.parametrize("samples", [[np.nan], [0.0, np.nan, 1.0], [-np.inf, np.nan]])
def test_nan_is_refused(samples: list[float]) -> None:
    with pytest.raises(ValueError, match="NaN"):
        to_pcm16(np.array(samples, dtype=np.float32))


def test_the_input_is_left_alone_and_shapes_are_kept() -> None:
    samples = np.full((2, 3), 0.25, dtype=np.float32)
    samples.flags.writeable = False
    assert to_pcm16(samples).shape == (2, 3) and (samples == 0.25).all()
    assert to_pcm16(np.zeros(0, dtype=np.float32)).shape == (0,) == from_pcm16(b"").shape


def test_rounding_gives_the_value_of_a_round_trip_and_keeps_the_sign_of_zero() -> None:
    samples = np.random.default_rng(1).uniform(-0.9, 0.9, 10_000)
    assert np.array_equal(round_to_pcm16(samples), from_pcm16(to_pcm16(samples)))
    assert np.signbit(round_to_pcm16(np.array([-1e-6]))).tolist() == [True]
