import pytest
import torch

from kexue.attention.causal_sums import causal_sums

# Below, at and above a chunk, with and without a ragged last one.
LENGTHS = [0, 1, 63, 64, 65, 200]


def loop(a, b, c):
    out = torch.zeros_like(c)
    for i in range(a.shape[-2]):
        for j in range(i + 1):
            out[..., i, :] += (a[..., i, :] * b[..., j, :]).sum(-1, keepdim=True) * c[..., j, :]
    return out


def draw(length, *, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 3, length, n, generator=generator, dtype=dtype) for n in (5, 5, 4)]


@pytest.mark.parametrize("length", LENGTHS)
def test_equals_the_loop(length):
    a, b, c = draw(length)
    torch.testing.assert_close(causal_sums(a, b, c), loop(a, b, c))


@pytest.mark.parametrize("length", LENGTHS[1:])
def test_gradients_equal_those_of_the_triangle(length):
    leaves = [x.requires_grad_() for x in draw(length)]
    a, b, c = leaves
    ours = torch.autograd.grad(causal_sums(a, b, c).sin().sum(), leaves)
    theirs = torch.autograd.grad(((a @ b.mT).tril() @ c).sin().sum(), leaves)
    for left, right in zip(ours, theirs, strict=True):
        torch.testing.assert_close(left, right)


def test_gradcheck():
    # 66 tokens: two chunks
    leaves = [x[0, 0].detach()[:, :2].clone().requires_grad_() for x in draw(66)]
    assert torch.autograd.gradcheck(causal_sums, leaves)


def test_tensors_need_not_be_contiguous():
    a, b, c = draw(70)
    expected = causal_sums(a, b, c)
    strided = (x.transpose(1, 2).contiguous().transpose(1, 2) for x in (a, b, c))
    torch.testing.assert_close(causal_sums(*strided), expected)
    shared = b[:1].expand_as(b)
    torch.testing.assert_close(causal_sums(a, shared, c), causal_sums(a, shared.clone(), c))


def test_a_gradient_of_one_number_for_all():
    leaves = [x.requires_grad_() for x in draw(70)]
    ours = torch.autograd.grad(causal_sums(*leaves).sum(), leaves)
    theirs = torch.autograd.grad((causal_sums(*leaves) * torch.ones(4)).sum(), leaves)
    for left, right in zip(ours, theirs, strict=True):
        torch.testing.assert_close(left, right)


def test_adding_tokens_changes_nothing_before_them():
    a, b, c = draw(130)
    whole = causal_sums(a, b, c)
    for length in (1, 64, 100):
        part = causal_sums(*(x[..., :length, :] for x in (a, b, c)))
        torch.testing.assert_close(part, whole[..., :length, :])


def test_only_the_inputs_are_kept_for_the_backward_pass():
    kept = []

    def keep(x):
        kept.append(x)
        return x

    leaves = [x.requires_grad_() for x in draw(500)]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        causal_sums(*leaves)
    assert sum(x.numel() for x in kept) == sum(x.numel() for x in leaves)


def test_inside_autocast_the_gradient_stays_in_full():
    leaves = [x.requires_grad_() for x in draw(100, dtype=torch.float32)]
    expected = torch.autograd.grad(causal_sums(*leaves).sum(), leaves)
    out = causal_sums(*leaves)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = torch.autograd.grad(out.sum(), leaves)
    torch.testing.assert_close(found, expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_agrees_with_the_cpu():
    def run(device):
        leaves = [x.to(device).requires_grad_() for x in draw(600)]
        out = causal_sums(*leaves)
        return [x.cpu() for x in (out, *torch.autograd.grad(out.sin().sum(), leaves))]

    torch.testing.assert_close(run("cuda"), run("cpu"))
