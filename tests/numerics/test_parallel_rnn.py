import pytest
import torch
from torch import nn

from kexue.numerics.parallel_rnn import RecurrenceResult, solve_recurrence
from kexue.numerics.recurrence import Recurrence, before
from kexue.numerics.recurrence_problem import METHODS

PARALLEL = [m for m in METHODS if m != "sequential"]


def network(*, radius=0.7, features=3, given=2, dtype=torch.float64, seed=0):
    """A small step with parameters, and the parameters."""
    torch.manual_seed(seed)
    layer = nn.Linear(given, features).to(dtype)
    a = torch.randn(features, features, dtype=torch.float64)
    a = nn.Parameter((a * radius / torch.linalg.eigvals(a).abs().max()).to(dtype))
    return lambda x, u: torch.tanh(x @ a.mT + layer(u)), [a, *layer.parameters()]


def numbers(*shape, seed=1, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def loop(f, x0, inputs):
    """The definition, differentiable by autograd."""
    states = []
    for u in inputs:
        x0 = f(x0, u)
        states.append(x0)
    return torch.stack(states)


def gradients(states, leaves):
    weights = torch.linspace(-1, 2, states.numel(), dtype=states.dtype).reshape(states.shape)
    return torch.autograd.grad((weights * states.square()).sum(), leaves)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("batch", [(), (2, 3)])
def test_states_and_gradients_are_those_of_the_loop(method, batch):
    f, parameters = network(radius=0.4)
    x0 = numbers(*batch, 3).requires_grad_()
    u = numbers(90, *batch, 2, seed=2).requires_grad_()
    leaves = [x0, u, *parameters]
    expected = loop(f, x0, u)
    found = solve_recurrence(f, x0, u, method=method, fallback=False)
    assert found.converged
    assert found.method == ("blockwise" if method == "auto" else method)
    assert found.residual < 1e-13
    assert (found.states - expected).abs().max() < 1e-12
    for mine, theirs in zip(
        gradients(found.states, leaves), gradients(expected, leaves), strict=True
    ):
        assert (mine - theirs).abs().max() <= 1e-11 * theirs.abs().max()


@pytest.mark.parametrize("method", ["newton", "blockwise", "sequential"])
def test_gradcheck(method):
    u, x0 = numbers(6, 2, 2, seed=2).requires_grad_(), numbers(2, 3).requires_grad_()
    a = (0.4 * numbers(3, 3, seed=3)).requires_grad_()
    b = numbers(3, 2, seed=4).requires_grad_()

    def states(x0, u, a, b):
        return solve_recurrence(
            lambda x, u: torch.tanh(x @ a.mT + u @ b.mT), x0, u, method=method, fallback=False
        ).states

    assert torch.autograd.gradcheck(states, (x0, u, a, b))


@pytest.mark.parametrize("method", PARALLEL)
def test_float32_is_right_to_its_own_rounding(method):
    f, _ = network(dtype=torch.float32)
    exact, _ = network()
    x0, u = numbers(3, dtype=torch.float32), numbers(3000, 2, dtype=torch.float32)
    found = solve_recurrence(f, x0, u, method=method, fallback=False)
    assert found.converged
    assert found.states.dtype == torch.float32
    expected = loop(exact, x0.double(), u.double())
    assert (found.states - expected).abs().max() < 3e-5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("method", ["newton", "auto"])
def test_half_precision_is_right_to_a_few_of_its_roundings(dtype, method):
    f, parameters = network(radius=0.3, dtype=dtype)
    x0, u = numbers(3).to(dtype), numbers(700, 2).to(dtype)
    found = solve_recurrence(f, x0, u, method=method)
    assert found.states.dtype == dtype
    expected = loop(f, x0, u)
    assert (found.states - expected).abs().max() < 8 * torch.finfo(dtype).eps
    found.states.float().mean().backward()
    assert all(p.grad.isfinite().all() and p.grad.dtype == dtype for p in parameters)


def test_the_residual_is_what_is_said():
    f, _ = network()
    x0, u = numbers(3), numbers(400, 2)
    found = solve_recurrence(f, x0, u, tolerance=1e-3, fallback=False)
    missed = (found.states - f(before(found.states, x0), u)).abs() / (1 + found.states.abs())
    assert found.residual == pytest.approx(missed.max().item(), rel=1e-6)
    assert found.residual <= 1e-3


def test_a_tighter_tolerance_takes_more():
    f, _ = network(radius=0.95)
    x0, u, guess = numbers(3), numbers(400, 2), torch.zeros(400, 3).double()
    counts = [
        solve_recurrence(f, x0, u, guess=guess, tolerance=t, fallback=False).iterations
        for t in (1e-1, 1e-4, 1e-13)
    ]
    assert counts[0] < counts[1] < counts[2]


@pytest.mark.parametrize("method", PARALLEL)
def test_what_does_not_converge_falls_back_on_the_loop(method):
    """A chaotic network, whose loop is the only way; its gradient goes the usual way too."""
    f, parameters = network(radius=6.0, features=6)
    x0, u = numbers(6), numbers(1500, 2).requires_grad_()
    expected = loop(f, x0, u)
    found = solve_recurrence(f, x0, u, method=method, max_iterations=4)
    assert found.method == "sequential"
    assert found.converged
    assert found.residual == 0
    assert torch.equal(found.states, expected)
    assert 0 < found.iterations <= 8
    # A short end of it, since gradients of chaos explode.
    leaves = [parameters[0], u]
    mine = torch.autograd.grad(found.states[:12].sum(), leaves)
    theirs = torch.autograd.grad(expected[:12].sum(), leaves)
    for a, b in zip(mine, theirs, strict=True):
        assert (a - b).abs().max() <= 1e-9 * b.abs().max()


@pytest.mark.parametrize("method", PARALLEL)
def test_without_fallback_a_failure_is_told(method):
    f, _ = network(radius=6.0, features=6)
    x0, u = numbers(6), numbers(600, 2)
    found = solve_recurrence(f, x0, u, method=method, max_iterations=4, fallback=False)
    assert not found.converged
    assert not found.residual <= 1e-3  # or it is no number
    assert not torch.allclose(found.states, loop(f, x0, u), atol=0.1)


@pytest.mark.parametrize("method", METHODS)
def test_what_would_lose_is_looped_at_once(method):
    f, _ = network()
    x0, u = numbers(3), numbers(9, 2)
    found = solve_recurrence(f, x0, u, method=method)
    assert (found.method, found.iterations) == ("sequential", 0)
    assert torch.equal(found.states, loop(f, x0, u))


@pytest.mark.parametrize("width", [3, 40])
def test_a_loop_that_loses_to_nothing_keeps_its_gradient(width):
    """Both ways: autograd through the loop, and one scan after it."""
    f, parameters = network(features=width)
    x0, u = numbers(4, width).requires_grad_(), numbers(80, 4, 2).requires_grad_()
    leaves = [x0, u, *parameters]
    found = solve_recurrence(f, x0, u, method="sequential")
    expected = gradients(loop(f, x0, u), leaves)
    for mine, theirs in zip(gradients(found.states, leaves), expected, strict=True):
        assert (mine - theirs).abs().max() <= 1e-11 * theirs.abs().max()


def test_the_gradient_does_not_depend_on_how_it_was_solved():
    f, parameters = network(radius=0.4)
    x0, u = numbers(3), numbers(500, 2)
    found = [
        gradients(solve_recurrence(f, x0, u, method=m, fallback=False).states, parameters)
        for m in ("newton", "jacobi", "blockwise")
    ]
    for other in found[1:]:
        for mine, theirs in zip(found[0], other, strict=True):
            assert torch.allclose(mine, theirs, rtol=1e-10)


def test_no_gradient_is_prepared_where_none_is_asked_for():
    f, _ = network()
    x0, u = numbers(3), numbers(900, 2)
    with torch.no_grad():
        assert not solve_recurrence(f, x0, u).states.requires_grad
    assert solve_recurrence(f, x0, u).states.requires_grad
    assert torch.is_grad_enabled()


def test_memory_of_the_backward_pass_does_not_grow_with_iterations():
    """What is kept is one step for all times: no iterate."""
    f, (a, *_) = network(radius=0.9)
    # Autograd's Jacobians would be counted, though they are gone soon.
    f = Recurrence(f, lambda x, u, y: (1 - y * y).unsqueeze(-1) * a)
    x0, u = numbers(3), numbers(900, 2)

    def kept(tolerance):
        sizes = []
        hooks = torch.autograd.graph.saved_tensors_hooks(
            lambda x: sizes.append(x.numel()) or x, lambda x: x
        )
        guess = torch.zeros(900, 3).double()
        with hooks:
            found = solve_recurrence(f, x0, u, guess=guess, tolerance=tolerance, fallback=False)
        return found.iterations, sum(sizes)

    (few, small), (many, large) = kept(1e-1), kept(1e-13)
    assert few < many
    assert small == large


def test_jacobians_and_loops_of_one_s_own_are_used():
    a = torch.tensor([[0.5, 0.1], [-0.2, 0.4]], dtype=torch.float64)
    calls = []

    def jacobian(x, u, y):
        calls.append("jacobian")
        return (1 - y * y).unsqueeze(-1) * a

    def unroll(start, inputs):
        calls.append("unroll")
        return loop(cell.step, start, inputs)

    cell = Recurrence(lambda x, u: torch.tanh(x @ a.mT + u), jacobian, None, unroll)
    x0, u = numbers(2), numbers(2000, 2).requires_grad_()
    found = solve_recurrence(cell, x0, u)
    found.states.sum().backward()
    assert found.method == "newton"
    assert set(calls) == {"jacobian", "unroll"}
    calls.clear()
    solve_recurrence(cell, x0, u, method="sequential")
    assert calls == ["unroll"]


def test_inputs_are_left_alone():
    f, _ = network()
    given = numbers(3), numbers(900, 2), torch.zeros(900, 3).double()
    copies = [x.clone() for x in given]
    solve_recurrence(f, *given[:2], guess=given[2])
    for x, copy in zip(given, copies, strict=True):
        assert torch.equal(x, copy)


def test_a_result_tells_about_itself():
    found = RecurrenceResult(torch.zeros(3, 1), False, 7, 0.5, "quasi")
    assert found.to_dict() == {
        "converged": False,
        "iterations": 7,
        "residual": 0.5,
        "method": "quasi",
    }
    with pytest.raises(AttributeError):
        found.converged = True


def test_errors_say_what_to_type():
    f, _ = network()
    x0, u = numbers(5, 3), numbers(7, 5, 2)
    with pytest.raises(ValueError, match="method is 'deer'; allowed: 'newton', 'damped', 'quasi'"):
        solve_recurrence(f, x0, u, method="deer")
    with pytest.raises(ValueError, match=r"inputs is \(5, 7, 2\); allowed: \[T, 5, K\] for x0"):
        solve_recurrence(f, x0, u.transpose(0, 1))
    with pytest.raises(ValueError, match=r"inputs is \(0, 5, 2\); .* Put the axis of time first"):
        solve_recurrence(f, x0, u[:0])
    with pytest.raises(ValueError, match=r"x0 is 'torch.int64 \(5, 3\)'; allowed: \[..., D\]"):
        solve_recurrence(f, x0.long(), u)
    with pytest.raises(ValueError, match="no axis empty"):
        solve_recurrence(f, x0[:0], u[:, :0])
    with pytest.raises(ValueError, match=r"guess is \(7, 3\); allowed: \(7, 5, 3\)"):
        solve_recurrence(f, x0, u, guess=torch.zeros(7, 3))
    with pytest.raises(ValueError, match="max_iterations is 0; allowed: 1 or more, or None"):
        solve_recurrence(f, x0, u, max_iterations=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("method", ["newton", "blockwise"])
def test_on_a_gpu(method):
    f, parameters = network(radius=0.4)
    x0, u = numbers(3), numbers(5000, 2)
    expected = gradients(loop(f, x0, u), parameters)
    a, weight, bias = (p.detach().cuda().requires_grad_() for p in parameters)

    def there(x, u):
        return torch.tanh(x @ a.mT + nn.functional.linear(u, weight, bias))

    found = solve_recurrence(there, x0.cuda(), u.cuda(), method=method, fallback=False)
    assert found.converged
    for mine, theirs in zip(gradients(found.states, (a, weight, bias)), expected, strict=True):
        assert torch.allclose(mine.cpu(), theirs, rtol=1e-9)
