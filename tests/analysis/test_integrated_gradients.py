import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from kexue.analysis.integrated_gradients import integrated_gradients

DOUBLE = torch.float64


@pytest.fixture
def network():
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1))
    net = net.to(DOUBLE)
    return lambda x: net(x.flatten(1)).squeeze(1)


def by_definition(f, x, baseline, count=1000):
    """The integral of one input as a plain sum over midpoints."""
    points = torch.stack([baseline + (k + 0.5) / count * (x - baseline) for k in range(count)])
    points.requires_grad_()
    return torch.autograd.grad(f(points).sum(), points)[0].mean(0) * (x - baseline)


def test_a_sum_over_many_points_gives_the_same(network):
    x, baseline = torch.randn(2, 3, 2).to(DOUBLE), torch.randn(3, 2).to(DOUBLE)
    found = integrated_gradients(network, x, baseline=baseline, tolerance=1e-10)
    for values, one in zip(found.values, x, strict=True):
        torch.testing.assert_close(values, by_definition(network, one, baseline), atol=1e-6, rtol=0)


@pytest.mark.parametrize("steps", [3, 20, 50])
def test_captum_gives_the_same_with_as_many_nodes(network, steps):
    captum = pytest.importorskip("captum.attr")
    x, baseline = torch.randn(5, 3, 2).to(DOUBLE), torch.randn(1, 3, 2).to(DOUBLE)
    peer = captum.IntegratedGradients(network)
    expected, delta = peer.attribute(
        x, baseline, n_steps=steps, method="gausslegendre", return_convergence_delta=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found = integrated_gradients(network, x, baseline=baseline, steps=steps)
    # The peer keeps its weights in single precision.
    torch.testing.assert_close(found.values, expected, atol=1e-7, rtol=0)
    torch.testing.assert_close(found.gap, delta, atol=1e-7, rtol=0)
    assert found.steps.tolist() == [steps] * 5


@pytest.mark.parametrize("tolerance", [1e-2, 1e-5, 1e-10])
def test_the_parts_add_up_to_the_difference(network, tolerance):
    x = 3 * torch.randn(9, 3, 2).to(DOUBLE)
    found = integrated_gradients(network, x, tolerance=tolerance)
    zero = network(torch.zeros(9, 3, 2).to(DOUBLE))
    sums, total = found.values.flatten(1).sum(1), network(x) - zero
    assert ((sums - total).abs() <= tolerance * total.abs() + 1e-13).all()
    torch.testing.assert_close(found.gap, sums - total, atol=1e-13, rtol=0)
    torch.testing.assert_close(found.score, network(x))
    torch.testing.assert_close(found.baseline_score, zero)
    assert found.converged.all()


def test_a_linear_score_is_exact_with_one_node():
    weight = torch.tensor([1.0, -2.0, 3.0]).to(DOUBLE)
    x = torch.tensor([[2.0, 1.0, -1.0]]).to(DOUBLE)
    found = integrated_gradients(lambda p: p @ weight, x, steps=1)
    torch.testing.assert_close(found.values, x * weight)


def test_known_integrals():
    x = torch.tensor([[1.0, 2.0, 3.0]]).to(DOUBLE)
    square = integrated_gradients(lambda p: (p**2).sum(1), x)
    torch.testing.assert_close(square.values, x**2)
    product = integrated_gradients(lambda p: p[:, 0] * p[:, 1], x)
    torch.testing.assert_close(product.values, torch.tensor([[1.0, 1.0, 0.0]]).to(DOUBLE))


def test_a_threshold_is_found_though_no_node_is_near():
    x = torch.tensor([[1.0, 1.0]]).to(DOUBLE)
    found = integrated_gradients(lambda p: (p[:, 0] - 0.93).relu() + p[:, 1], x, tolerance=1e-3)
    torch.testing.assert_close(
        found.values[0], torch.tensor([0.07, 1.0]).to(DOUBLE), atol=2e-3, rtol=0
    )


def test_the_article_s_example_halves_a_linear_score():
    """What the example does, in place of what the article says."""
    weight, x = torch.tensor([1.0, -2.0]), torch.tensor([[3.0, 1.0]])
    scaled = sum(k / 19 * x * weight for k in range(20)) / 20
    found = integrated_gradients(lambda p: p @ weight, x)
    torch.testing.assert_close(scaled, found.values / 2)


def test_what_is_the_same_in_the_baseline_gets_nothing(network):
    x = torch.randn(2, 3, 2).to(DOUBLE)
    baseline = torch.randn(2, 3, 2).to(DOUBLE)
    baseline[:, 1] = x[:, 1]
    found = integrated_gradients(network, x, baseline=baseline)
    assert (found.values[:, 1] == 0).all()
    assert (found.values[:, 0] != 0).all()


def test_the_input_itself_as_baseline_leaves_nothing_to_attribute(network):
    x = torch.randn(2, 3, 2).to(DOUBLE)
    found = integrated_gradients(network, x, baseline=x)
    assert (found.values == 0).all()
    assert found.converged.all()
    assert found.steps.tolist() == [5, 5]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.1, 4))
def test_attribution_is_linear_in_the_score(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    a, b, x = torch.randn(3, 2, 4, generator=generator).to(DOUBLE)

    def first(p):
        return (p * a[0]).sum(1).tanh()

    def second(p):
        return (p * b[0]).sum(1).sin()

    together = integrated_gradients(lambda p: first(p) - scale * second(p), x, steps=60)
    parts = [integrated_gradients(f, x, steps=60).values for f in (first, second)]
    torch.testing.assert_close(together.values, parts[0] - scale * parts[1], atol=1e-9, rtol=0)


def test_two_ways_to_write_a_score_are_attributed_alike(network):
    x = torch.randn(2, 3, 2).to(DOUBLE)
    other = integrated_gradients(lambda p: 2 * network(p) - network(p.clone()), x, steps=20)
    torch.testing.assert_close(other.values, integrated_gradients(network, x, steps=20).values)


def test_inputs_that_play_the_same_part_get_the_same():
    x = torch.tensor([[1.5, 1.5, 0.2]])
    found = integrated_gradients(lambda p: (p[:, 0] * p[:, 1] * p[:, 2]).exp(), x)
    torch.testing.assert_close(found.values[0, 0], found.values[0, 1])


def rough(p):
    return p[:, 0] * (1 + p[:, 1] * (40 * p[:, 0]).sin())


def test_each_input_takes_as_many_nodes_as_it_needs():
    x = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 0.1], [2.0, 0.0]]).to(DOUBLE)
    found = integrated_gradients(rough, x, baseline=torch.tensor([0.0, 0.0]), chunk_size=3)
    assert found.steps[0] == found.steps[3] == 5
    assert found.steps[1] > found.steps[0]
    alone = integrated_gradients(rough, x[1:2], baseline=torch.tensor([0.0, 0.0]))
    torch.testing.assert_close(found.values[1:2], alone.values)
    assert found.steps[1] == alone.steps[0]


def test_no_gradient_is_taken_twice(network):
    x, seen = 4 * torch.randn(1, 3, 2).to(DOUBLE), []

    def f(p):
        if torch.is_grad_enabled():
            seen.extend(p.detach().flatten(1).tolist())
        return network(p)

    found = integrated_gradients(f, x, tolerance=1e-9)
    assert found.steps[0] > 11
    assert len(seen) == len({tuple(point) for point in seen}) == found.steps[0]


def test_a_sum_that_is_right_by_chance_is_not_enough():
    """All nodes of the first rule but the middle one cancel; at 5 and 11 nodes the gap is 0."""

    def f(p):
        return p[:, 0] + 5 * (2 * math.pi * 3 * (p[:, 1] - 0.5)).cos()

    x = torch.ones(1, 2).to(DOUBLE)
    found = integrated_gradients(f, x, tolerance=1e-4)
    torch.testing.assert_close(
        found.values, torch.tensor([[1.0, 0.0]]).to(DOUBLE), atol=1e-4, rtol=0
    )
    assert found.steps[0] > 11


def test_missing_the_tolerance_is_said():
    x = torch.ones(3, 2).to(DOUBLE)
    x[1, 1] = 0
    with pytest.warns(
        RuntimeWarning, match="2 of 3 attributions miss their sum by more than 1e-09"
    ):
        found = integrated_gradients(rough, x, tolerance=1e-9, most_steps=23)
    assert found.converged.tolist() == [False, True, False]
    assert found.steps.tolist() == [23, 5, 23]
    assert found.relative_gap[0] > 1e-9


def test_a_score_that_is_no_number_does_not_converge():
    with pytest.warns(RuntimeWarning, match="1 of 1"):
        found = integrated_gradients(lambda p: p.sum(1).sqrt() * torch.nan, torch.ones(1, 2))
    assert not found.converged


@pytest.mark.parametrize("chunk_size", [1, 3, 100])
def test_the_size_of_chunks_changes_nothing(network, chunk_size):
    x = torch.randn(5, 3, 2).to(DOUBLE)
    found = integrated_gradients(network, x, chunk_size=chunk_size)
    expected = integrated_gradients(network, x)
    torch.testing.assert_close(found.values, expected.values)
    assert torch.equal(found.steps, expected.steps)


def test_what_is_given_is_not_attributed_to():
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    x = torch.tensor([[1.0, 2.0, 9.0], [3.0, 9.0, 9.0]])
    found = integrated_gradients(lambda p, keep: (p * keep).sum(1) ** 2, x, given=[mask])
    torch.testing.assert_close(found.values, torch.tensor([[3.0, 6.0, 0.0], [9.0, 0.0, 0.0]]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_comes_out_in_single(dtype):
    x = torch.tensor([[1.0, 2.0]], dtype=dtype)
    found = integrated_gradients(lambda p: (p**2).sum(1), x)
    assert found.values.dtype == found.score.dtype == torch.float32
    torch.testing.assert_close(found.values, torch.tensor([[1.0, 4.0]]), rtol=2e-2, atol=0)


def test_single_precision_stops_at_what_it_can_tell(network):
    """A difference of scores far below what float32 resolves is no reason to try for ever."""
    x = torch.full((1, 2), 1e-6)
    found = integrated_gradients(lambda p: 1e3 + p.sum(1).sin(), x)
    assert found.converged.all()


def test_the_inputs_are_left_alone(network):
    x, baseline = torch.randn(2, 3, 2).to(DOUBLE), torch.zeros(3, 2).to(DOUBLE)
    copy = x.clone()
    integrated_gradients(network, x.requires_grad_(), baseline=baseline)
    assert torch.equal(x, copy)
    assert x.grad is None
    assert (baseline == 0).all()


def test_the_error_falls_faster_than_any_power():
    x = torch.tensor([[2.0, 1.0]]).to(DOUBLE)

    def f(p):
        return (p[:, 0] * 2).sin() * p[:, 1].exp()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        gaps = [integrated_gradients(f, x, steps=n).gap.abs().item() for n in (2, 4, 8)]
    assert gaps[1] < gaps[0] / 20
    assert gaps[2] < gaps[1] / 1000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tolerance": 0.0}, "tolerance is 0.0; allowed: a positive number"),
        ({"tolerance": math.nan}, "tolerance is nan"),
        ({"steps": 0}, "steps is 0; allowed: 1 or more"),
        ({"most_steps": 4}, "most_steps is 4; allowed: 5 or more"),
        ({"chunk_size": 0}, "chunk_size is 0; allowed: 1 or more"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        integrated_gradients(lambda p: p.sum(1), torch.ones(1, 2), **options)


def test_no_input_is_refused():
    with pytest.raises(ValueError, match="B not 0"):
        integrated_gradients(lambda p: p.sum(1), torch.ones(0, 2))


def test_ids_are_refused():
    with pytest.raises(ValueError, match="embeddings of tokens, not to their ids"):
        integrated_gradients(lambda p: p.sum(1), torch.tensor([[1, 2]]))
