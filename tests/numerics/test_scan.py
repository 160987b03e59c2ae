import pytest
import torch

from kexue.numerics.scan import adjoint_scan, scan_affine, scan_diagonal


def draw(times, *batch, width, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    options = {"dtype": dtype, "generator": generator}
    return (
        torch.randn(times, *batch, width, width, **options) * 0.7 / width**0.5,
        torch.randn(times, *batch, width, **options),
        torch.randn(*batch, width, **options),
    )


def loop(matrices, offsets, start):
    """The definition, differentiable."""
    states = []
    for matrix, offset in zip(matrices, offsets, strict=True):
        start = (matrix @ start.unsqueeze(-1)).squeeze(-1) + offset
        states.append(start)
    return torch.stack(states)


def gradients(function, tensors):
    leaves = [x.detach().clone().requires_grad_() for x in tensors]
    states = function(*leaves)
    weights = torch.linspace(-1, 2, states.numel(), dtype=torch.float64).reshape(states.shape)
    loss = (weights * (states * states.conj()).real).sum()
    return states.detach(), torch.autograd.grad(loss, leaves)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("width", [1, 2, 8])
@pytest.mark.parametrize("times", [1, 2, 5, 600])
def test_states_and_gradients_are_those_of_the_loop(times, width, dtype):
    problem = draw(times, 2, width=width, dtype=dtype)
    states, felt = gradients(scan_affine, problem)
    expected, wanted = gradients(loop, problem)
    assert torch.allclose(states, expected, rtol=0, atol=1e-12)
    for mine, theirs in zip(felt, wanted, strict=True):
        assert (mine - theirs).abs().max() <= 1e-12 * theirs.abs().max()


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("times", [1, 2, 5, 600])
def test_the_diagonal_scan_is_the_affine_one_with_diagonal_matrices(times, dtype):
    matrices, offsets, start = draw(times, 3, width=4, dtype=dtype)
    problem = matrices[..., 0], offsets, start
    states, felt = gradients(scan_diagonal, problem)
    expected, wanted = gradients(lambda a, b, x: loop(a.diag_embed(), b, x), problem)
    assert torch.allclose(states, expected, rtol=0, atol=1e-12)
    for mine, theirs in zip(felt, wanted, strict=True):
        assert (mine - theirs).abs().max() <= 1e-12 * theirs.abs().max()


def test_gradcheck():
    problem = [x.requires_grad_() for x in draw(5, 2, width=2)]
    assert torch.autograd.gradcheck(scan_affine, problem)
    factors = problem[0].detach()[..., 0].requires_grad_()
    assert torch.autograd.gradcheck(scan_diagonal, (factors, *problem[1:]))
    mixed = [x.detach() for x in draw(5, 2, width=2, dtype=torch.complex128)]
    real = draw(5, 2, width=2)[1].requires_grad_()
    assert torch.autograd.gradcheck(lambda b: scan_affine(mixed[0], b, mixed[2]), (real,))
    assert torch.autograd.gradcheck(lambda b: scan_diagonal(mixed[1], b, mixed[2]), (real,))


def test_factors_that_do_not_change_are_given_once_and_get_one_gradient():
    factor = torch.tensor([0.5, 0.9], dtype=torch.float64, requires_grad=True)
    _, offsets, start = draw(300, 4, width=2)
    states = scan_diagonal(factor, offsets, start)
    assert torch.allclose(
        states.detach(), loop(factor.detach().diag().expand(300, 4, 2, 2), offsets, start)
    )
    states.sum().backward()
    assert factor.grad.shape == (2,)
    by_hand = factor.detach().clone().requires_grad_()
    loop(by_hand.diag_embed().expand(300, 4, 2, 2), offsets, start).sum().backward()
    assert torch.allclose(factor.grad, by_hand.grad)


def test_the_scan_lasts_where_powers_of_the_decay_overflow():
    """The form lambda^t cumsum(lambda^-t b) against ours, over 4096 steps."""
    times, decay = 4096, torch.tensor(0.9)
    offsets = torch.ones(times, 1)
    powers = decay ** torch.arange(1, times + 1).unsqueeze(-1)
    naive = powers * (offsets / powers).cumsum(0)
    assert not naive.isfinite().all()
    states = scan_diagonal(decay, offsets, torch.zeros(1))
    assert states[-1].item() == pytest.approx(1 / (1 - 0.9), rel=1e-5)


def test_two_halves_are_one_whole():
    """A scan goes on from where another one ended."""
    matrices, offsets, start = draw(77, 2, width=3)
    whole = scan_affine(matrices, offsets, start)
    first = scan_affine(matrices[:30], offsets[:30], start)
    second = scan_affine(matrices[30:], offsets[30:], first[-1])
    assert torch.allclose(torch.cat((first, second)), whole, rtol=0, atol=1e-13)


def test_products_are_taken_in_their_order():
    """A turn, then a stretch, is not the stretch and then the turn."""
    turn, stretch = torch.tensor([[0.0, -1.0], [1.0, 0.0]]), torch.diag(torch.tensor([2.0, 1.0]))
    none, start = torch.zeros(2, 2), torch.tensor([1.0, 0.0])
    assert scan_affine(torch.stack((turn, stretch)), none, start)[-1].tolist() == [0.0, 1.0]
    assert scan_affine(torch.stack((stretch, turn)), none, start)[-1].tolist() == [0.0, 2.0]


@pytest.mark.parametrize("times", [1, 2, 9, 600])
def test_the_adjoint_is_the_recurrence_from_the_end(times):
    matrices, upstream, _ = draw(times, 2, width=3, dtype=torch.complex128)
    felt = adjoint_scan(matrices, upstream)
    expected = [upstream[-1]]
    for t in range(times - 2, -1, -1):
        back = matrices[t + 1].mH @ expected[-1].unsqueeze(-1)
        expected.append(upstream[t] + back.squeeze(-1))
    assert torch.allclose(felt, torch.stack(expected[::-1]), rtol=0, atol=1e-12)


def test_there_is_no_second_derivative():
    problem = [x.requires_grad_() for x in draw(3, width=2)]
    for states in (scan_affine(*problem), scan_diagonal(problem[0][..., 0], *problem[1:])):
        with pytest.raises(NotImplementedError, match="A scan has no second derivative"):
            torch.autograd.grad(states.sum(), problem[2], create_graph=True)
        assert torch.autograd.grad(states.sum(), problem[2])[0].any()


def test_errors_say_what_to_type():
    matrices, offsets, start = draw(3, 2, width=4)
    with pytest.raises(ValueError, match=r"matrices is \(3, 4, 4\); allowed: \(3, 2, 4, 4\)"):
        scan_affine(matrices[:, 0], offsets, start)
    with pytest.raises(ValueError, match=r"start is \(4,\); allowed: \(2, 4\)"):
        scan_affine(matrices, offsets, start[0])
    with pytest.raises(ValueError, match=r"start is \(4,\); allowed: \(2, 4\)"):
        scan_diagonal(offsets, offsets, start[0])
    with pytest.raises(ValueError, match=r"offsets is \(0, 2, 4\); allowed: \[T, ..., D\]"):
        scan_affine(matrices[:0], offsets[:0], start)
    with pytest.raises(ValueError, match=r"factors is \(3,\); allowed: what broadcasts to"):
        scan_diagonal(torch.ones(3), offsets, start)
