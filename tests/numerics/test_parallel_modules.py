import pytest
import torch
from torch import nn

from kexue.numerics.parallel_modules import ParallelGRU, ParallelRNN, parallelize

KINDS = [nn.RNN, nn.GRU]


def pair(kind, *arguments, dtype=torch.float64, **options):
    """A layer of torch with its parallel twin."""
    torch.manual_seed(0)
    module = kind(*arguments, **options).to(dtype)
    return module, parallelize(module)


def numbers(*shape, seed=1, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def check_equal(module, twin, given, hx=None, *, tolerance=1e-11):
    """Compare results, and gradients by input, first state and parameters."""
    outcomes = []
    for layer in (module, twin):
        leaves = [given.clone().requires_grad_()]
        leaves += [] if hx is None else [hx.clone().requires_grad_()]
        output, last = layer(*leaves)
        weights = torch.linspace(-1, 2, output.numel(), dtype=output.dtype).reshape(output.shape)
        loss = (weights * output.square()).sum() + 3 * last.square().sum()
        felt = torch.autograd.grad(loss, [*leaves, *module.parameters()])
        outcomes.append((output, last, *felt))
    for theirs, mine in zip(*outcomes, strict=True):
        assert mine.shape == theirs.shape
        assert mine.dtype == theirs.dtype
        assert (mine - theirs).abs().max() <= tolerance * (1 + theirs.abs().max())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("times", [1, 12, 700])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_first": True},
        {"num_layers": 2},
        {"bidirectional": True},
        {"bias": False},
        {"num_layers": 2, "bidirectional": True, "batch_first": True},
    ],
)
def test_results_and_gradients_are_torch_s(kind, times, options):
    module, twin = pair(kind, 3, 4, **options)
    given = numbers(2, times, 3) if "batch_first" in options else numbers(times, 2, 3)
    check_equal(module, twin, given)
    directions = 2 if "bidirectional" in options else 1
    layers = directions * options.get("num_layers", 1)
    check_equal(module, twin, given, numbers(layers, 2, 4, seed=2))
    assert len(twin.solutions) == layers
    in_parallel = all(s["method"] == "blockwise" for s in twin.solutions)
    assert in_parallel == (times == 700)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["newton", "blockwise", "sequential"])
def test_a_method_can_be_asked_for(kind, method):
    module, twin = pair(kind, 3, 2)
    twin.method = method
    check_equal(module, twin, numbers(2500, 1, 3))
    assert [s["method"] for s in twin.solutions] == [method]


@pytest.mark.parametrize("width", [1, 4, 9, 33])
@pytest.mark.parametrize("kind", KINDS)
def test_widths_on_both_sides_of_every_choice(kind, width):
    module, twin = pair(kind, 3, width)
    check_equal(module, twin, numbers(600, 3, 3))


@pytest.mark.parametrize("kind", KINDS)
def test_one_text_without_an_axis_of_texts(kind):
    for options in ({}, {"batch_first": True, "bidirectional": True}):
        module, twin = pair(kind, 3, 4, **options)
        check_equal(module, twin, numbers(300, 3))
        check_equal(module, twin, numbers(300, 3), numbers(len(module.all_weights), 4))


def test_relu():
    module, twin = pair(nn.RNN, 3, 4, nonlinearity="relu")
    check_equal(module, twin, numbers(900, 2, 3))
    assert twin.solutions[0]["method"] != "sequential"


@pytest.mark.parametrize("kind", KINDS)
def test_float32_is_torch_s_to_rounding(kind):
    module, twin = pair(kind, 3, 4, dtype=torch.float32)
    check_equal(module, twin, numbers(1500, 1, 3, dtype=torch.float32), tolerance=1e-4)
    assert twin.solutions[0]["converged"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_unstable_layer_falls_back_on_torch_s_loop(kind):
    """Chaos, where nothing but the loop gives the states of the loop; they are equal to the bit."""
    module, twin = pair(kind, 3, 16)
    with torch.no_grad():
        module.weight_hh_l0.mul_(40)
        given = numbers(800, 1, 3)
        expected, _ = module(given)
        found, _ = twin(given)
        assert twin.solutions[0]["method"] == "sequential"
        assert twin.solutions[0]["iterations"] > 0
        assert torch.equal(found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_dict_goes_either_way(kind):
    module, _ = pair(kind, 3, 4, num_layers=2)
    made = {nn.RNN: ParallelRNN, nn.GRU: ParallelGRU}[kind](3, 4, num_layers=2).double()
    made.load_state_dict(module.state_dict())
    given = numbers(700, 2, 3)
    assert torch.allclose(made(given)[0], module(given)[0], rtol=0, atol=1e-11)
    module.load_state_dict(made.state_dict())


@pytest.mark.parametrize("kind", KINDS)
def test_the_twin_has_the_parameters_themselves(kind):
    module, twin = pair(kind, 3, 4, num_layers=2, bidirectional=True, dropout=0.3)
    assert isinstance(twin, kind)
    mine, theirs = dict(twin.named_parameters()), dict(module.named_parameters())
    assert mine.keys() == theirs.keys()
    assert all(mine[name] is theirs[name] for name in mine)
    assert twin.dropout == 0.3
    with torch.no_grad():
        module.weight_hh_l0.mul_(0.5)
    module.eval()
    assert not parallelize(module).training
    assert torch.allclose(
        parallelize(module)(numbers(9, 3))[0], module(numbers(9, 3))[0], rtol=0, atol=1e-13
    )


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_lies_between_layers_in_training_alone(kind):
    module, twin = pair(kind, 3, 4, num_layers=2, dropout=0.5)
    given = numbers(700, 1, 3)
    torch.manual_seed(0)
    first, second = twin(given)[0], twin(given)[0]
    assert not torch.allclose(first, second)
    with pytest.warns(UserWarning, match="dropout"):
        single = kind(3, 4, dropout=0.5).double()
    with pytest.warns(UserWarning, match="dropout"):
        lone = parallelize(single)
    assert torch.equal(lone(given)[0], lone(given)[0])
    twin.eval()
    assert torch.allclose(twin(given)[0], module.eval()(given)[0], rtol=0, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
def test_packed_sequences_are_torch_s(kind):
    module, twin = pair(kind, 3, 4)
    packed = nn.utils.rnn.pack_sequence([numbers(9, 3), numbers(5, 3)])
    twin(numbers(20, 1, 3))
    found, last = twin(packed)
    expected, theirs = module(packed)
    assert torch.equal(found.data, expected.data)
    assert torch.equal(last, theirs)
    assert twin.solutions == ()


@pytest.mark.parametrize("kind", KINDS)
def test_training_takes_the_same_steps(kind):
    """Ten steps of gradient descent on a task that needs memory, by torch and in parallel."""
    losses = []
    for choose in (lambda m: m, parallelize):
        torch.manual_seed(3)
        layer = choose(kind(1, 3).double())
        given = numbers(250, 1, 1)
        target = given.roll(2, 0)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.3)
        for _ in range(10):
            optimizer.zero_grad()
            loss = (layer(given)[0][..., :1] - target).square().mean()
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    assert losses[1] == pytest.approx(losses[0], rel=1e-9)
    assert losses[0] < 1.2


def test_errors_say_what_to_type():
    with pytest.raises(ValueError, match=r"module is 'LSTM'; allowed: a torch\.nn\.RNN or"):
        parallelize(nn.LSTM(3, 4))
    with pytest.raises(ValueError, match=r"input is \(3,\); allowed: \[T, B, K\]"):
        ParallelGRU(3, 4)(torch.zeros(3))
    twin = ParallelRNN(3, 4)
    twin.method = "fast"
    with pytest.raises(ValueError, match="method is 'fast'"):
        twin(torch.zeros(5, 3))
    with pytest.raises(RuntimeError, match=r"input\.size"):
        ParallelRNN(3, 4)(torch.zeros(5, 2, 7))
    with pytest.raises(RuntimeError, match="hidden size"):
        ParallelRNN(3, 4)(torch.zeros(5, 2, 3), torch.zeros(1, 3, 4))
