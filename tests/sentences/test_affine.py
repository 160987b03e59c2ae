import sys

import numpy as np
import pytest
import torch

from kexue.sentences import affine
from kexue.sentences.affine import faiss_transform, linear_layer, map_rows

RANDOM = np.random.default_rng(0)
WEIGHT, BIAS = RANDOM.normal(size=(6, 4)), RANDOM.normal(size=4)


def draw(rows, *, offset=0.0, columns=6):
    return np.random.default_rng(1).normal(size=(rows, columns)) + offset


def as_double(x):
    return x.double().numpy() if isinstance(x, torch.Tensor) else np.asarray(x, np.float64)


CENTRES = {"no centre": None, "a centre": draw(1)[0]}
TOLERANCE = {"float16": 5e-3, "bfloat16": 5e-2, "float32": 5e-6, "float64": 1e-14}


@pytest.mark.parametrize("centre", CENTRES)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("kind", ["array", "tensor"])
@pytest.mark.parametrize("rows", [0, 1, 300, 20_000])
def test_equals_the_definition_in_kind_and_dtype(kind, dtype, centre, rows):
    if kind == "array" and dtype == "bfloat16":
        pytest.skip("numpy has no bfloat16")
    x = torch.from_numpy(draw(rows)).to(getattr(torch, dtype))
    x = x if kind == "tensor" else x.numpy()
    before = as_double(x).copy()
    found = map_rows(x, WEIGHT, BIAS, centre=CENTRES[centre])
    assert type(found) is type(x)
    assert found.dtype == x.dtype
    expected = before @ WEIGHT + BIAS
    assert found.shape == expected.shape
    if rows:
        assert abs(as_double(found) - expected).max() < TOLERANCE[dtype] * abs(expected).max()
    np.testing.assert_array_equal(as_double(x), before)


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_a_centre_saves_the_digits_of_rows_far_from_zero(kind):
    x = draw(1000, offset=10_000).astype(np.float32)
    centre = x.mean(0, dtype=np.float64)
    bias = -centre @ WEIGHT
    expected = (x.astype(np.float64) - centre) @ WEIGHT
    near = map_rows(kind(x), WEIGHT, bias, centre=centre)
    far = map_rows(kind(x), WEIGHT, bias, centre=None)
    assert abs(np.asarray(near) - expected).max() < 1e-5
    assert abs(np.asarray(far) - expected).max() > 1e-3


@pytest.mark.parametrize("centre", CENTRES)
def test_a_memory_map_gives_an_array(tmp_path, centre):
    x = draw(20_000).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    found = map_rows(
        np.load(tmp_path / "x.npy", mmap_mode="r"), WEIGHT, BIAS, centre=CENTRES[centre]
    )
    assert type(found) is np.ndarray
    np.testing.assert_array_equal(found, map_rows(x, WEIGHT, BIAS, centre=CENTRES[centre]))


@pytest.mark.parametrize("centre", CENTRES)
def test_bytes_of_another_order_give_those_of_this_machine(centre):
    x = draw(50).astype(">f4")
    found = map_rows(x, WEIGHT, BIAS, centre=CENTRES[centre])
    assert found.dtype == np.float32
    assert found.dtype.isnative
    np.testing.assert_allclose(found, x.astype(float) @ WEIGHT + BIAS, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("centre", CENTRES)
def test_no_gradient_flows(centre):
    x = torch.from_numpy(draw(5)).requires_grad_()
    assert not map_rows(x, WEIGHT, BIAS, centre=CENTRES[centre]).requires_grad


def test_another_width_is_refused():
    with pytest.raises(ValueError, match=r"x has shape \(3, 5\); allowed: \[N, 6\]"):
        map_rows(np.zeros((3, 5)), WEIGHT, BIAS, centre=None)


@pytest.mark.parametrize("centre", CENTRES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_the_way_of_a_gpu_finds_the_same(monkeypatch, centre, dtype):
    x = torch.from_numpy(draw(1000)).to(dtype)
    expected = map_rows(x, WEIGHT, BIAS, centre=CENTRES[centre])
    monkeypatch.setattr(affine, "on_gpu", lambda _: True)
    monkeypatch.setattr(affine, "_GPU_ROWS", 300)
    found = map_rows(x, WEIGHT, BIAS, centre=CENTRES[centre])
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("centre", CENTRES)
def test_a_gpu_finds_the_same(centre):
    x = torch.from_numpy(draw(1000)).cuda()
    found = map_rows(x, WEIGHT, BIAS, centre=CENTRES[centre])
    assert found.device == x.device
    torch.testing.assert_close(found.cpu(), map_rows(x.cpu(), WEIGHT, BIAS, centre=None))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_a_layer_maps_the_same_and_draws_no_random_numbers(dtype):
    state = torch.get_rng_state()
    layer = linear_layer(WEIGHT, BIAS, dtype=dtype)
    assert torch.equal(torch.get_rng_state(), state)
    x = torch.from_numpy(draw(50)).to(dtype).requires_grad_()
    expected = map_rows(x, WEIGHT, BIAS, centre=None)
    tolerance = 0.1 if dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(layer(x).detach(), expected, atol=tolerance, rtol=tolerance)
    assert not any(p.requires_grad for p in layer.parameters())
    layer(x).sum().backward()
    assert x.grad.abs().min() > 0


@pytest.mark.parametrize("shape", [(6, 4), (6, 6), (1, 1)])
def test_faiss_maps_the_same(shape):
    pytest.importorskip("faiss")
    weight, bias = RANDOM.normal(size=shape), RANDOM.normal(size=shape[1])
    x = draw(50, columns=shape[0]).astype(np.float32)
    found = faiss_transform(weight, bias).apply(x)
    np.testing.assert_allclose(found, x @ weight + bias, rtol=1e-4, atol=1e-5)


def test_faiss_knows_a_rotation_and_undoes_it():
    pytest.importorskip("faiss")
    rotation = np.linalg.qr(RANDOM.normal(size=(6, 6)))[0]
    x = draw(50).astype(np.float32)
    transform = faiss_transform(rotation, np.zeros(6))
    assert transform.is_orthonormal
    np.testing.assert_allclose(transform.reverse_transform(transform.apply(x)), x, atol=1e-5)
    assert not faiss_transform(2 * rotation, np.zeros(6)).is_orthonormal


def test_without_faiss_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ImportError, match=r"kexue\[search\]"):
        faiss_transform(WEIGHT, BIAS)
