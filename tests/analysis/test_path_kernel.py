import json

import pytest
import torch
from torch import nn

from kexue.analysis.descent import DescentStep, descend
from kexue.analysis.path_kernel import PathKernel, path_kernel
from kexue.analysis.tangent_kernel import tangent_kernel


def network(outputs=None, *, width=16):
    torch.manual_seed(0)
    last = [nn.Linear(width, outputs or 1)]
    if outputs is None:
        last.append(nn.Flatten(0))
    return nn.Sequential(nn.Linear(3, width), nn.Tanh(), *last).double()


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(12, 3, generator=generator).double()
    y = x[:, 0].sin() + x[:, 1]
    return x, y, torch.randn(5, 3, generator=generator).double()


def squared(y):
    return lambda outputs, rows: (outputs - y[rows]).square().sum() / 2


def explained(model, data, *, rate, steps, nodes=2, **options):
    x, y, queries = data
    path = descend(model, x, squared(y), rate=rate, steps=steps, **options)
    return path_kernel(model, path, queries, x, nodes=nodes)


@pytest.mark.parametrize("rate", [1e-3, 0.1, 1.7])
@pytest.mark.parametrize("nodes", [1, 2])
def test_a_linear_model_is_exact_at_any_rate(data, rate, nodes):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 1), nn.Flatten(0)).double()
    found = explained(model, data, rate=rate, steps=4, nodes=nodes)
    scale = found.outputs.abs().max()
    assert (rate < 1) == (scale < 10), "a large rate is to diverge"
    assert found.gap.abs().max() < 1e-12 * scale


def test_a_network_is_reconstructed_to_fourth_order(data):
    gaps = [
        explained(network(), data, rate=rate, steps=round(0.4 / rate)).gap.abs().max()
        for rate in (0.04, 0.02, 0.01)
    ]
    assert gaps[0] < 1e-4
    assert gaps[0] / gaps[1] > 10
    assert gaps[1] / gaps[2] > 10


def riemann(model, data, rate, steps):
    """The article's sum, with the kernel where each step begins."""
    x, y, queries = data
    total = model(queries).detach()
    for step in descend(model, x, squared(y), rate=rate, steps=steps):
        total += rate * tangent_kernel(model, queries, x, parameters=step.before) @ step.pulls
    return total


def test_the_article_s_sum_is_of_first_order(data):
    gaps = []
    for rate in (0.02, 0.01):
        found = explained(network(), data, rate=rate, steps=round(0.4 / rate))
        gaps.append((riemann(network(), data, rate, round(0.4 / rate)) - found.outputs).abs().max())
        assert found.gap.abs().max() < gaps[-1] / 100
    assert 1.5 < gaps[0] / gaps[1] < 2.5


def test_it_is_the_kernel_flow_in_the_limit():
    """A linear model on y = wx: the flow has the closed form y (1 - exp(-K t))."""
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Flatten(0)).double()
    nn.init.zeros_(model[0].weight)
    x, y = torch.tensor([[2.0]]).double(), torch.tensor([3.0]).double()
    path = descend(model, x, squared(y), rate=5e-4, steps=200)
    found = path_kernel(model, path, x, x, nodes=1)
    expected = 3 * (1 - torch.tensor(-4 * 0.1).exp())
    assert found.outputs.item() == pytest.approx(expected.item(), rel=2e-3)
    assert found.kernel.item() == pytest.approx(4 * 0.1, rel=1e-9)


def test_outputs_and_starts_are_those_of_the_model(data):
    x, y, queries = data
    model = network()
    found = explained(model, data, rate=0.05, steps=7)
    torch.testing.assert_close(found.start, model(queries).detach())
    *_, last = descend(model, x, squared(y), rate=0.05, steps=7)
    model.load_state_dict(last.after)
    torch.testing.assert_close(found.outputs, model(queries).detach())


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_several_outputs_batches_and_decay(data, decay):
    x, _, queries = data
    target = torch.stack((x[:, 0], x[:, 1] * x[:, 2]), 1)
    path = descend(
        network(2),
        x,
        squared(target),
        rate=0.02,
        steps=9,
        batch_size=5,
        decay=decay,
        generator=torch.Generator().manual_seed(0),
    )
    found = path_kernel(network(2), path, queries, x, nodes=4)
    assert found.kernel.shape == (5, 12, 2, 2)
    assert found.contributions.shape == (5, 12, 2)
    assert found.gap.abs().max() < 1e-12
    assert (found.decayed.abs().max() > 1e-3) == (decay > 0)


def test_decay_spares_what_is_frozen(data):
    model = network()
    model[0].requires_grad_(False)
    found = explained(model, data, rate=0.05, steps=5, decay=0.3)
    assert found.gap.abs().max() < 1e-12


def test_the_same_example_twice_adds_the_same_twice(data):
    x, y, queries = data
    x, y = torch.cat((x, x[:1])), torch.cat((y, y[:1]))
    found = explained(network(), (x, y, queries), rate=0.02, steps=10)
    torch.testing.assert_close(found.contributions[:, 0], found.contributions[:, 12])


def test_an_example_that_loses_nothing_adds_nothing(data):
    x, y, queries = data

    def loss(outputs, rows):
        return ((outputs - y[rows]).square() * (rows != 3)).sum()

    path = descend(network(), x, loss, rate=0.02, steps=5)
    found = path_kernel(network(), path, queries, x)
    assert (found.contributions[:, 3] == 0).all()
    assert (found.contributions[:, 2] != 0).all()
    assert found.gap.abs().max() < 1e-4


def test_examples_that_are_left_out_of_batches_have_no_kernel(data):
    found = explained(network(), data, rate=0.02, steps=2, batch_size=3)
    assert ((found.kernel != 0).sum(1) == 6).all()
    assert torch.equal(found.kernel == 0, found.contributions == 0)


def test_the_nearest_example_moves_a_query_most(data):
    x, y, _ = data
    found = explained(network(), (x, y, x[[4, 9]] + 0.01), rate=0.05, steps=20)
    rows, added = found.influential(3)
    assert rows.shape == added.shape == (2, 3)
    assert (added.abs().diff(dim=1) <= 0).all()
    torch.testing.assert_close(added, found.contributions.gather(1, rows))
    assert 4 in rows[0]


def test_influence_is_asked_for_by_output():
    contributions = torch.tensor([[[1.0, 0.0], [-2.0, 0.5]]])
    nothing = torch.zeros(1, 2)
    found = PathKernel(torch.zeros(1, 2, 2, 2), contributions, nothing, nothing, nothing)
    assert [part.tolist() for part in found.influential(2)] == [[[1, 0]], [[-2, 1]]]
    assert found.influential(1, output=1)[1].tolist() == [[0.5]]
    with pytest.raises(ValueError, match="count is 3; allowed: 1 to 2"):
        found.influential(3)


def test_a_wrong_pull_shows_in_the_gap(data):
    x, y, queries = data
    path = [
        step._replace(pulls=2 * step.pulls)
        for step in descend(network(), x, squared(y), rate=0.02, steps=5)
    ]
    assert path_kernel(network(), path, queries, x).gap.abs().max() > 1e-3


def test_steps_from_elsewhere_will_do(data):
    """Checkpoints of another loop, here of the optimizer of torch."""
    x, y, queries = data
    model, steps = network(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(4):
        before = {name: value.detach().clone() for name, value in model.named_parameters()}
        outputs = model(x)
        optimizer.zero_grad()
        squared(y)(outputs, torch.arange(12)).backward()
        optimizer.step()
        after = {name: value.detach().clone() for name, value in model.named_parameters()}
        pulls = (y - outputs).detach()
        steps.append(DescentStep(before, after, torch.arange(12), pulls, 0.01))
    found = path_kernel(network(), steps, queries, x)
    assert found.gap.abs().max() < 1e-7


def test_a_dict_is_json(data):
    found = explained(network(), data, rate=0.02, steps=2)
    read = json.loads(json.dumps(found.to_dict()))
    assert len(read["contributions"][0]) == 12
    assert max(map(abs, read["gap"])) < 1e-5


def test_an_empty_path_is_refused(data):
    x, _, queries = data
    with pytest.raises(ValueError, match="no steps"):
        path_kernel(network(), [], queries, x)
    with pytest.raises(ValueError, match="nodes is 0"):
        path_kernel(network(), [], queries, x, nodes=0)
