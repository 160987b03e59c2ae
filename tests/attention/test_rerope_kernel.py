import pytest
import torch

from kexue.attention.rerope_blocks import Inputs
from kexue.attention.rerope_kernel import attend_kernel, backward_kernel, kernel_fits


def problem(length=64, *, heads=2, dtype=torch.float64, window=16, width=8):
    generator = torch.Generator().manual_seed(0)
    q, k, v, q_far, k_far = (
        torch.randn(1, heads, length, width, generator=generator, dtype=dtype) for _ in range(5)
    )
    return Inputs(q, k, v, q_far, k_far, None, window, 0.5)


def test_fits_single_and_double_precision_on_the_cpu():
    assert kernel_fits(problem())
    assert kernel_fits(problem(dtype=torch.float32))
    assert not kernel_fits(problem(dtype=torch.bfloat16))


def test_does_not_fit_features_that_are_apart_in_memory():
    inputs = problem()
    assert not kernel_fits(inputs._replace(v=inputs.v[..., :1].expand(-1, -1, -1, 8)))
    assert not kernel_fits(inputs._replace(k_far=inputs.k_far.mT.contiguous().mT))

    assert not kernel_fits(problem(length=8))
    inputs = problem()
    assert not kernel_fits(inputs._replace(mask=torch.ones(1, 1, 1, 64, dtype=torch.bool)))
    assert not kernel_fits(inputs._replace(q=inputs.q[:, :, :40], q_far=inputs.q_far[:, :, :40]))
    assert not kernel_fits(inputs._replace(v=torch.zeros(1, 2, 64, 4)))
    assert not kernel_fits(Inputs(*(x.to("meta") for x in inputs[:5]), None, 16, 0.5))


@pytest.mark.parametrize("window", [1, 16, 63, 64, 100])
def test_log_sum_exp_is_that_of_whole_rows(window):
    inputs = problem(window=window)
    r = torch.arange(64).unsqueeze(-1) - torch.arange(64)
    near, far = inputs.q @ inputs.k.mT, inputs.q_far @ inputs.k_far.mT
    scores = (torch.where(r < window, near, far) * 0.5).masked_fill(r < 0, -torch.inf)
    out, lse = attend_kernel(inputs)
    torch.testing.assert_close(lse, scores.logsumexp(-1))
    torch.testing.assert_close(out, scores.softmax(-1) @ inputs.v)


def test_the_result_is_laid_out_for_the_output_projection():
    out, _ = attend_kernel(problem())
    assert out.transpose(1, 2).is_contiguous()


def test_what_the_values_get_is_what_the_result_was_given():
    inputs = problem(length=200, window=70)
    out, lse = attend_kernel(inputs)
    grad = torch.randn(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(1))
    grads = backward_kernel(inputs, out, lse, grad)
    # Every row of weights sums to 1.
    torch.testing.assert_close(grads[2].sum(2), grad.sum(2))
    # Queries within the window have no far key, and the last keys are far from nobody.
    assert grads[3][:, :, :70].eq(0).all()
    assert grads[3][:, :, 70:].ne(0).all()
    assert grads[4][:, :, 130:].eq(0).all()
    assert grads[4][:, :, :130].ne(0).all()


def test_gradients_are_linear_in_the_gradient_of_the_result():
    inputs = problem(length=150, window=33)
    out, lse = attend_kernel(inputs)
    one, two = torch.ones_like(out), torch.arange(out.numel()).view(out.shape).to(out) / 1000
    first, second = (backward_kernel(inputs, out, lse, g) for g in (one, two))
    both = backward_kernel(inputs, out, lse, one + 2 * two)
    for a, b, c in zip(first, second, both, strict=True):
        torch.testing.assert_close(a + 2 * b, c)
