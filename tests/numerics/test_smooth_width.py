import math

import pytest
import torch

from kexue.numerics.smooth_width import SmoothWidth


def test_a_fixed_width_is_the_number_and_nothing_to_train():
    width = SmoothWidth(0.3)
    assert width(torch.zeros(1)) == 0.3
    assert list(width.parameters()) == []
    assert width.state_dict() == {}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_learnt_width_stays_positive(dtype):
    width = SmoothWidth(0.3, trainable=True)
    like = torch.zeros(1, dtype=dtype)
    assert width(like).dtype == dtype
    assert width(like).item() == pytest.approx(0.3, rel=1e-6)
    optimizer = torch.optim.SGD(width.parameters(), lr=10.0)
    for _ in range(20):
        optimizer.zero_grad()
        width(like).backward()
        optimizer.step()
    assert 0 < width(like).item() < 0.1


def test_a_learnt_width_is_saved():
    width, other = SmoothWidth(0.3, trainable=True), SmoothWidth(1.0, trainable=True)
    other.load_state_dict(width.state_dict())
    assert other(torch.zeros(1)) == width(torch.zeros(1))


@pytest.mark.parametrize("width", [0.0, -1.0, math.inf, math.nan])
@pytest.mark.parametrize("trainable", [True, False])
def test_no_width_is_refused(width, trainable):
    with pytest.raises(ValueError, match=r"width is .*; allowed: a positive number"):
        SmoothWidth(width, trainable=trainable)
