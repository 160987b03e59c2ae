import pytest
import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from kexue.attention import attend
from kexue.attention.realformer import residual_attend

LAYERS = 4


def draw(queries, keys=None, *, dtype=torch.float64, layers=LAYERS):
    """Give [(q, k, v)] of layers; 2 texts, 3 heads."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((queries, 8), (keys or queries, 8), (keys or queries, 5))
    return [
        tuple(torch.randn(2, 3, *s, generator=generator, dtype=dtype) for s in shapes)
        for _ in range(layers)
    ]


def unrolled(layers, *, mask=None, scale=8**-0.5, bias=0.0):
    """The paper: the scores of layer l are those of its own and of all layers below."""
    outputs, scores = [], bias
    for number, (_, _, v) in enumerate(layers):
        scores = bias + sum(q @ k.mT * scale for q, k, _ in layers[: number + 1])
        seen = scores if mask is None else scores.masked_fill(~mask, torch.finfo(v.dtype).min)
        outputs.append(seen.softmax(-1) @ v)
    return outputs, scores


def stacked(layers, previous=None, **options):
    outputs = []
    for q, k, v in layers:
        out, previous = residual_attend(q, k, v, previous, **options)
        outputs.append(out)
    return outputs, previous


def ragged(length):
    return (torch.arange(length) < torch.tensor([[length], [length - 3]]))[:, None, None]


def masks(length):
    triangle = torch.ones(length, length, dtype=torch.bool).tril()
    return {
        "all": None,
        "ragged": ragged(length),
        "causal": triangle,
        "pairs": ragged(length) & triangle,
    }


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("kind", ["all", "ragged", "causal", "pairs"])
@pytest.mark.parametrize("length", [1, 5, 70])
def test_equals_the_unrolled_loop(length, kind, grad):
    mask, layers = masks(max(length, 4))[kind], draw(max(length, 4))
    with torch.set_grad_enabled(grad):
        outputs, scores = stacked(layers, mask=mask)
    expected, carried = unrolled(layers, mask=mask)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(scores, carried)


@pytest.mark.parametrize("kind", ["all", "ragged", "pairs"])
@pytest.mark.parametrize("carried", [False, True])
def test_gradients_equal_those_of_the_unrolled_loop(kind, carried):
    """With and without a loss on the scores that the last layer carries."""
    layers = [tuple(x.requires_grad_() for x in layer) for layer in draw(9)]
    leaves = [x for layer in layers for x in layer]

    def gradients(outputs, scores):
        loss = sum(out.sin().sum() for out in outputs) + (scores.cos().sum() if carried else 0)
        return torch.autograd.grad(loss, leaves)

    mask = masks(9)[kind]
    ours = gradients(*stacked(layers, mask=mask))
    torch.testing.assert_close(ours, gradients(*unrolled(layers, mask=mask)))


def test_gradients_of_many_rows():
    # More scores than one part of the walk over queries holds
    layers = [tuple(x.requires_grad_() for x in layer) for layer in draw(300, 700, layers=2)]
    leaves = [x for layer in layers for x in layer]
    grads = [
        torch.autograd.grad(sum(o.sin().sum() for o in f(layers)[0]), leaves)
        for f in (stacked, unrolled)
    ]
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("masked", [False, True])
def test_gradcheck(masked):
    q, k, v = (x[:1, :1, :3].clone().requires_grad_() for x in draw(3, layers=1)[0])
    previous = torch.randn(1, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([True, True, False]) if masked else None
    inputs = [q, k, v, previous]
    assert torch.autograd.gradcheck(lambda *x: residual_attend(*x, mask=mask), inputs)


def test_one_layer_is_plain_attention():
    q, k, v = draw(20, layers=1)[0]
    out, scores = residual_attend(q, k, v)
    torch.testing.assert_close(out, F.scaled_dot_product_attention(q, k, v))
    torch.testing.assert_close(scores, q @ k.mT / 8**0.5)


def test_what_is_carried_is_scaled_and_not_masked():
    q, k, v = draw(6, layers=1)[0]
    _, scores = residual_attend(q, k, v, mask=ragged(6), scale=0.3)
    torch.testing.assert_close(scores, q @ k.mT * 0.3)


def test_all_layers_below_count_and_not_only_the_last():
    layers = draw(6)
    silent = [(torch.zeros_like(q), k, v) for q, k, v in layers[1:]]
    # Layers that add nothing attend as the first one did.
    _, scores = stacked(layers[:1] + silent)
    torch.testing.assert_close(scores, layers[0][0] @ layers[0][1].mT / 8**0.5)
    outputs, _ = stacked([layers[0], *silent[:1], (layers[0][0], *layers[0][1:])])
    twice = F.scaled_dot_product_attention(*layers[0], scale=2 * 8**-0.5)
    torch.testing.assert_close(outputs[-1], twice)


def test_a_bias_before_the_first_layer_counts_once():
    layers = draw(6)
    bias = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    outputs, scores = stacked(layers, previous=bias)
    expected, carried = unrolled(layers, bias=bias)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(scores, carried)


class Layer(torch.nn.Module):
    """A residual layer with attention over carried scores."""

    def __init__(self):
        super().__init__()
        self.mix = torch.nn.Linear(12, 36).double()

    def forward(self, hidden, previous, mask):
        q, k, v = self.mix(hidden).unflatten(-1, (3, 3, 4)).permute(2, 0, 3, 1, 4)
        out, scores = residual_attend(q, k, v, previous, mask=mask, overwrite_previous=True)
        return hidden + out.transpose(1, 2).flatten(2), scores


@pytest.mark.parametrize("reentrant", [False, True])
def test_under_checkpointing_gradients_are_the_same(reentrant):
    torch.manual_seed(0)
    model = [Layer() for _ in range(LAYERS)]
    parameters = [p for layer in model for p in layer.parameters()]
    start, mask = torch.randn(2, 7, 12, dtype=torch.float64), ragged(7)

    def gradients(run):
        hidden, scores = start.clone().requires_grad_(), None
        leaf = hidden
        for layer in model:
            hidden, scores = run(layer, hidden, scores)
        loss = hidden.sin().sum()
        return (
            torch.autograd.grad(loss, [leaf, *parameters])
            if not reentrant
            else backward(loss, leaf)
        )

    def backward(loss, leaf):
        # The older form of checkpointing knows .backward() only.
        for p in parameters:
            p.grad = None
        loss.backward()
        return [leaf.grad, *(p.grad for p in parameters)]

    plain = gradients(lambda layer, *x: layer(*x, mask))
    again = gradients(lambda layer, *x: checkpoint(layer, *x, mask, use_reentrant=reentrant))
    torch.testing.assert_close(again, plain)
    assert all(g.any() for g in plain)


@pytest.mark.parametrize("kind", ["all", "ragged"])
def test_overwriting_keeps_one_matrix_of_scores(kind):
    layers, mask = draw(40), masks(40)[kind]
    expected, carried = unrolled(layers, mask=mask)
    with torch.no_grad():
        first, scores = residual_attend(*layers[0], mask=mask)
        place, outputs = scores.data_ptr(), [first]
        for layer in layers[1:]:
            out, scores = residual_attend(*layer, scores, mask=mask, overwrite_previous=True)
            outputs.append(out)
            assert scores.data_ptr() == place
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(scores, carried)


def test_nothing_is_overwritten_unasked_or_while_gradients_are_recorded():
    (q, k, v), *_ = draw(6)
    previous = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    copy = previous.clone()
    residual_attend(q, k, v, previous, overwrite_previous=True)
    with torch.no_grad():
        residual_attend(q, k, v, previous)
    assert torch.equal(previous, copy)


@pytest.mark.parametrize("grad", [True, False])
def test_a_query_that_sees_nothing_sees_everything_alike(grad):
    q, k, v = (x.requires_grad_(grad) for x in draw(6, layers=1)[0])
    mask = torch.ones(6, 6, dtype=torch.bool)
    mask[2] = False
    out, _ = residual_attend(q, k, v, mask=mask)
    torch.testing.assert_close(out, attend(q, k, v, mask=mask))
    torch.testing.assert_close(out[:, :, 2], v.mean(2))
    if grad:
        assert all(g.isfinite().all() for g in torch.autograd.grad(out.sum(), (q, k, v)))


def test_tensors_need_not_be_contiguous():
    layers = draw(30)
    strided = [tuple(x.transpose(1, 2).contiguous().transpose(1, 2) for x in y) for y in layers]
    torch.testing.assert_close(stacked(strided), stacked(layers))


def test_more_keys_than_queries():
    layers = draw(4, 11)
    torch.testing.assert_close(stacked(layers), unrolled(layers))


@pytest.mark.parametrize("threads", [2, 3])
def test_the_number_of_threads_changes_nothing(threads):
    layers = [tuple(x.requires_grad_() for x in layer) for layer in draw(40)]
    leaves = [x for layer in layers for x in layer]
    before = torch.get_num_threads()

    def run():
        outputs, scores = stacked(layers, mask=ragged(40))
        return scores, torch.autograd.grad(sum(o.sin().sum() for o in outputs), leaves)

    try:
        torch.set_num_threads(1)
        one = run()
        torch.set_num_threads(threads)
        torch.testing.assert_close(run(), one)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_carries_scores_in_full(dtype):
    layers = [tuple(x.to(dtype).requires_grad_() for x in y) for y in draw(50, dtype=torch.float32)]
    wide = [tuple(x.detach().double().requires_grad_() for x in y) for y in layers]
    outputs, scores = stacked(layers, mask=ragged(50))
    expected, carried = unrolled(wide, mask=ragged(50))
    assert scores.dtype == torch.float32
    assert {out.dtype for out in outputs} == {dtype}
    torch.testing.assert_close(scores.double(), carried, atol=0.05, rtol=0.01)
    torch.testing.assert_close(outputs[-1].double(), expected[-1], atol=0.05, rtol=0.05)
    found = torch.autograd.grad(outputs[-1].float().sin().sum(), layers[0][:2])
    exact = torch.autograd.grad(expected[-1].sin().sum(), wide[0][:2])
    for left, right in zip(found, exact, strict=True):
        assert left.dtype == dtype
        error = (left.double() - right).norm() / right.norm()
        assert error < 0.05


def test_inside_autocast():
    layers = [tuple(x.requires_grad_() for x in y) for y in draw(20, dtype=torch.float32)]
    leaves = layers[0][:2]
    expected, _ = unrolled(layers)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs, scores = stacked(layers)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(outputs, expected, atol=1e-4, rtol=1e-4)
    ours = torch.autograd.grad(outputs[-1].sum(), leaves)
    torch.testing.assert_close(
        ours, torch.autograd.grad(expected[-1].sum(), leaves), atol=1e-4, rtol=1e-3
    )


def test_scores_are_all_that_is_kept_of_their_size():
    layers, kept = [tuple(x.requires_grad_() for x in y) for y in draw(64)], []

    def keep(x):
        kept.append(x)
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        stacked(layers)
    large = {x.data_ptr() for x in kept if x.shape[-1] == 64}
    assert len(large) == LAYERS


@pytest.mark.parametrize(
    "previous", [torch.zeros(2, 3, 6, 5).double(), torch.zeros(2, 3, 6, 6)], ids=["shape", "dtype"]
)
def test_scores_of_something_else_are_refused(previous):
    (q, k, v), *_ = draw(6)
    with pytest.raises(ValueError, match="the scores that residual_attend gave"):
        residual_attend(q, k, v, previous)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", ["all", "pairs"])
def test_a_gpu_agrees_with_the_cpu(kind):
    def run(device):
        layers = [tuple(x.to(device).requires_grad_() for x in y) for y in draw(70)]
        mask = masks(70)[kind]
        outputs, scores = stacked(layers, mask=None if mask is None else mask.to(device))
        leaves = [x for layer in layers for x in layer]
        grads = torch.autograd.grad(sum(out.sin().sum() for out in outputs), leaves)
        return [x.cpu() for x in (*outputs, scores, *grads)]

    torch.testing.assert_close(run("cuda"), run("cpu"))
