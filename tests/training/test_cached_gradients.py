import itertools
import json
import os
import random
import subprocess
import sys
import weakref
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from kexue.losses.contrastive import info_nce, symmetric_info_nce
from kexue.losses.cosent import cosent_loss
from kexue.training.cached_gradients import cached_backward
from kexue.training.token_chunks import plan_chunks


class Encoder(nn.Module):
    """Mean of mixed token vectors, with dropout in two places; padding changes nothing."""

    def __init__(self, width=6, dropout=0.1, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.embed = nn.Embedding(50, width)
        self.mix = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.dropout = dropout
        self.double()

    def forward(self, input_ids, attention_mask):
        x = F.dropout(self.embed(input_ids), self.dropout, self.training)
        x = torch.tanh(self.mix(x)) * attention_mask.unsqueeze(-1)
        x = x.sum(1) / attention_mask.sum(1, keepdim=True)
        return self.out(F.dropout(x, self.dropout, self.training))


def batch(count, *, longest=9, seed=0):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, longest + 1, (count,), generator=generator)
    lengths[0] = longest
    mask = (torch.arange(longest + 2) < lengths[:, None]).long()
    ids = torch.randint(1, 50, mask.shape, generator=generator) * mask
    return {"input_ids": ids, "attention_mask": mask}


def rows_of(inputs, rows, length=None):
    return {name: x[rows][:, :length] for name, x in inputs.items()}


def plan(inputs, chunk_size=None, tokens_per_chunk=None):
    """The rows of each chunk and their longest text: in order, or as planned for a budget."""
    if tokens_per_chunk is None:
        order = list(range(len(inputs["attention_mask"])))
        return [(order[i : i + chunk_size], None) for i in range(0, len(order), chunk_size)]
    chunks = plan_chunks(inputs, chunk_size=chunk_size, tokens_per_chunk=tokens_per_chunk)
    lengths = inputs["attention_mask"].sum(1)
    return [(rows.tolist(), int(lengths[rows].max())) for rows, _ in chunks]


def plain(encode, loss, columns, **rule):
    """One big graph: the same chunks one after another, put back into order, then backward."""
    vectors = []
    for inputs in columns:
        chunks = plan(inputs, **rule)
        parts = [encode(rows_of(inputs, torch.tensor(rows), length)) for rows, length in chunks]
        order = torch.tensor(list(itertools.chain.from_iterable(rows for rows, _ in chunks)))
        vectors.append(torch.cat(parts)[order.argsort()])
    value = loss(*vectors)
    value.backward()
    return value.detach()


def gradients(*modules):
    """Take the gradients of all parameters away from them."""
    found = {}
    for number, module in enumerate(modules):
        parameters = module.named_parameters() if isinstance(module, nn.Module) else [("", module)]
        for name, parameter in parameters:
            found[f"{number}{name}"], parameter.grad = parameter.grad, None
    return found


def assert_same(found, expected, tolerance=1e-10):
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert gradient is not None, name
        error = (found[name] - gradient).norm() / gradient.norm()
        assert error < tolerance, (name, error)


def contrast(q, k, *negatives):
    return info_nce(q, torch.cat((k, *negatives)), temperature=0.2)


RULES = [
    {"chunk_size": 1},
    {"chunk_size": 5},  # does not divide 13
    {"chunk_size": 13},
    {"chunk_size": 100},
    {"tokens_per_chunk": 20},
    {"tokens_per_chunk": 1},
    {"tokens_per_chunk": 30, "chunk_size": 4},
]


@pytest.mark.parametrize("keep_graphs", [0, 1, 3, 1000])
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_gradients_equal_one_big_graph_on_the_same_chunks_with_dropout(rule, keep_graphs):
    columns = [batch(13), batch(13, seed=1)]
    model, temperature = Encoder(), torch.tensor(0.3, dtype=torch.float64, requires_grad=True)

    def loss(q, k):
        return symmetric_info_nce(q, k, temperature=temperature)

    def encode(chunk):
        return model(**chunk)

    torch.manual_seed(5)
    expected = plain(encode, loss, columns, **rule)
    expected_gradients = gradients(model, temperature)
    after = torch.rand(1)
    torch.manual_seed(5)
    value = cached_backward(encode, loss, columns, keep_graphs=keep_graphs, **rule)
    assert value.item() == pytest.approx(expected.item(), abs=1e-12)
    assert value.shape == ()
    assert not value.requires_grad
    assert_same(gradients(model, temperature), expected_gradients)
    # The random numbers that come next are those of a computation that was done once.
    assert torch.equal(torch.rand(1), after)


def test_another_dropout_in_the_second_pass_would_be_seen(monkeypatch):
    """The comparison above can fail: without the repeated random state it does."""

    @contextmanager
    def forgets(state):
        yield

    columns = [batch(13), batch(13, seed=1)]
    model = Encoder(dropout=0.5)
    monkeypatch.setattr("kexue.training.cached_gradients.repeated", forgets)
    with pytest.raises(ValueError, match=r"vectors differ by \d+%.*Take randomness from torch"):
        cached_backward(lambda c: model(**c), contrast, columns, chunk_size=5)
    monkeypatch.setattr("kexue.training.cached_gradients._DRIFT", 1e9)
    gradients(model)
    torch.manual_seed(5)
    cached_backward(lambda c: model(**c), contrast, columns, chunk_size=5)
    found = gradients(model)
    torch.manual_seed(5)
    plain(lambda c: model(**c), contrast, columns, chunk_size=5)
    with pytest.raises(AssertionError):
        assert_same(found, gradients(model), 0.1)


def test_without_dropout_chunks_do_not_matter():
    columns = [batch(13), batch(13, seed=1), batch(13, seed=2)]
    model = Encoder().eval()
    plain(lambda c: model(**c), contrast, columns, chunk_size=13)
    expected = gradients(model)
    for rule in RULES:
        cached_backward(lambda c: model(**c), contrast, columns, **rule)
        assert_same(gradients(model), expected)


def test_simcse_two_views_of_the_same_texts_differ_by_their_dropout():
    texts, model = batch(10), Encoder(dropout=0.3)
    views = []

    def loss(first, second):
        views.append((first.detach().clone(), second.detach().clone()))
        return contrast(first, second)

    torch.manual_seed(1)
    cached_backward(lambda c: model(**c), loss, [texts, texts], chunk_size=4)
    found = gradients(model)
    torch.manual_seed(1)
    plain(lambda c: model(**c), loss, [texts, texts], chunk_size=4)
    assert_same(found, gradients(model))
    assert not torch.allclose(*views[0])


def test_two_encoders_and_a_tied_one():
    columns = [batch(7), batch(7, seed=1)]
    left, right = Encoder(seed=1), Encoder(seed=2)
    encoders = [lambda c: left(**c), lambda c: right(**c)]
    torch.manual_seed(0)
    cached_backward(encoders, contrast, columns, chunk_size=3, keep_graphs=2)
    found = gradients(left, right)
    torch.manual_seed(0)
    vectors = [
        torch.cat([encode(rows_of(inputs, slice(i, i + 3))) for i in (0, 3, 6)])
        for encode, inputs in zip(encoders, columns, strict=True)
    ]
    contrast(*vectors).backward()
    assert_same(found, gradients(left, right))
    right.load_state_dict(left.state_dict())
    left.eval(), right.eval()
    cached_backward(encoders, contrast, columns, chunk_size=3)
    apart = gradients(left, right)
    cached_backward(encoders[0], contrast, columns, chunk_size=3)
    for name, gradient in gradients(left).items():
        torch.testing.assert_close(gradient, apart[name] + apart[f"1{name[1:]}"])


def test_the_article_s_closed_form_of_the_gradient_by_the_vectors():
    """h~_i = sum_j (p_ij + p_ji - 2 t_ij) h_j / tau, for inner products and symmetric targets."""
    torch.manual_seed(0)
    tau, half = 0.7, 6
    h = torch.randn(2 * half, 5, dtype=torch.float64, requires_grad=True)
    partner = torch.arange(2 * half).roll(half)
    itself = partner[None, :] == torch.arange(2 * half)[:, None]
    # The key of text i is its partner; the text itself, which is the key of its partner, is out.

    def loss(vectors):
        keys = vectors[partner]
        kept = itself & ~torch.eye(2 * half, dtype=torch.bool)
        mean = info_nce(vectors, keys, temperature=tau, same=kept, cosine=False)
        return mean * 2 * half

    for size in (1, 5, 12):
        h.grad = None
        cached_backward(lambda c: c * 1.0, loss, h, chunk_size=size)
        fixed = h.detach()
        scores = (fixed @ fixed.T / tau).fill_diagonal_(-torch.inf)
        p, t = scores.softmax(1), F.one_hot(partner).double()
        torch.testing.assert_close(h.grad, (p + p.T - 2 * t) @ fixed / tau, rtol=0, atol=1e-12)


def test_naive_accumulation_is_something_else():
    """Gradients of losses of parts, added up, are far from the loss of the whole batch."""
    columns, model = [batch(24), batch(24, seed=1)], Encoder().eval()
    cached_backward(lambda c: model(**c), contrast, columns, chunk_size=4)
    right = torch.cat([g.flatten() for g in gradients(model).values()])
    for start in range(0, 24, 4):
        part = [rows_of(inputs, slice(start, start + 4)) for inputs in columns]
        (plain(lambda c: model(**c), lambda q, k: contrast(q, k) / 6, part, chunk_size=4))
    naive = torch.cat([g.flatten() for g in gradients(model).values()])
    assert (naive - right).norm() > 0.2 * right.norm()


def test_any_loss_will_do():
    """Labels, several columns of different sizes, one column alone."""
    model = Encoder().eval()
    labels = torch.randint(4, (9,))

    def cosent(u, v):
        return cosent_loss(F.cosine_similarity(u, v), labels)

    def spread(vectors):
        return vectors.T.cov().diagonal().sum() + vectors.mean() ** 2

    cases = [(cosent, [batch(9), batch(9, seed=1)]), (contrast, [batch(9), batch(20, seed=1)])]
    for loss, columns in [*cases, (spread, [batch(9)])]:
        plain(lambda c: model(**c), loss, columns, chunk_size=50)
        expected = gradients(model)
        cached_backward(lambda c: model(**c), loss, columns, tokens_per_chunk=25)
        assert_same(gradients(model), expected)


def test_gradients_are_added_to_what_is_there():
    inputs, model = batch(5), Encoder().eval()
    for _ in range(2):
        cached_backward(lambda c: model(**c), lambda x: x.var(), inputs, chunk_size=2)
    twice = gradients(model)
    cached_backward(lambda c: model(**c), lambda x: x.var(), inputs, chunk_size=2)
    assert_same(twice, {name: 2 * gradient for name, gradient in gradients(model).items()})


class Kept:
    """A tensor that a graph holds on to."""

    def __init__(self, tensor):
        # With its graph, which holds on to this, it would never be let go.
        self.tensor = tensor.detach()


@contextmanager
def most_kept():
    """Measure how many numbers graphs hold on to at the same time, at most."""
    alive, most = weakref.WeakSet(), [0]

    def pack(tensor):
        kept = Kept(tensor)
        alive.add(kept)
        most[0] = max(most[0], sum(k.tensor.numel() for k in alive))
        return kept

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor):
        yield most


@pytest.mark.parametrize("keep_graphs", [0, 1, 2])
def test_memory_does_not_grow_with_the_batch(keep_graphs):
    model = Encoder()
    peaks = []
    for count in (8, 16, 64, 256):
        with most_kept() as most:
            cached_backward(
                lambda c: model(**c),
                lambda x: x.sum(),
                batch(count),
                chunk_size=4,
                keep_graphs=keep_graphs,
            )
        peaks.append(most[0])
    with most_kept() as most:
        kept = [model(**rows_of(batch(16), slice(0, 4))) for _ in range(max(1, keep_graphs))]
    del kept
    assert len(set(peaks)) == 1
    assert peaks[0] <= most[0]


def test_kept_graphs_are_not_computed_again():
    calls = []
    model = Encoder()

    def encode(chunk):
        calls.append((len(chunk["input_ids"]), torch.is_grad_enabled()))
        return model(**chunk)

    for keep in range(6):
        calls.clear()
        cached_backward(encode, contrast, [batch(6)] * 2, chunk_size=3, keep_graphs=keep)
        assert len(calls) == 4 + max(0, 4 - keep)


def test_a_frozen_column_is_encoded_once():
    model, frozen, calls = Encoder(), Encoder(seed=1).eval(), []

    def target(chunk):
        calls.append(len(calls))
        with torch.no_grad():
            return frozen(**chunk)

    def loss(p, z):
        return -F.cosine_similarity(p, z).mean()

    cached_backward([lambda c: model(**c), target], loss, [batch(6), batch(6)], chunk_size=2)
    assert len(calls) == 3
    assert all(gradient is None for gradient in gradients(frozen).values())
    assert gradients(model)["0mix.weight"].norm() > 0


def test_a_column_that_the_loss_does_not_use_is_left_alone():
    model = Encoder().eval()
    plain(lambda c: model(**c), lambda x: x.var(), [batch(6)], chunk_size=2)
    expected = gradients(model)
    columns = [batch(6), batch(6, seed=1)]
    cached_backward(lambda c: model(**c), lambda x, _: x.var(), columns, chunk_size=2)
    assert_same(gradients(model), expected)


def test_it_works_where_gradients_are_off():
    model = Encoder().eval()
    with torch.no_grad():
        cached_backward(lambda c: model(**c), lambda x: x.var(), batch(6), chunk_size=2)
    found = gradients(model)
    plain(lambda c: model(**c), lambda x: x.var(), [batch(6)], chunk_size=2)
    assert_same(found, gradients(model))


@pytest.mark.parametrize("inside", [True, False])
def test_autocast(inside):
    """Within `encode`, as it should be, or around everything."""
    model, columns = Encoder().float().eval(), [batch(9), batch(9, seed=1)]

    def encode(chunk):
        with torch.autocast("cpu", torch.bfloat16, enabled=inside):
            return model(**chunk)

    with torch.autocast("cpu", torch.bfloat16, enabled=not inside):
        value = cached_backward(encode, contrast, columns, chunk_size=4)
    found = gradients(model)
    with torch.autocast("cpu", torch.bfloat16):
        vectors = [model(**inputs) for inputs in columns]
    assert vectors[0].dtype == torch.bfloat16
    loss = contrast(*vectors)
    loss.backward()
    assert value.item() == pytest.approx(loss.item(), rel=1e-3)
    # Gradients of parameters are added up over chunks in float32, of the batch within a product.
    assert_same(found, gradients(model), 0.03)


@pytest.mark.parametrize("keep_graphs", [0, 1])
def test_autocast_around_everything_does_not_round_the_backward_pass(keep_graphs):
    h = torch.randn(6, 16, requires_grad=True)
    first, second = torch.randn(2, 16, 16)

    def encode(x):
        with torch.autocast("cpu", enabled=False):
            return x @ first

    def loss(x):
        with torch.autocast("cpu", enabled=False):
            return (x @ second).square().sum()

    with torch.autocast("cpu", torch.bfloat16):
        cached_backward(encode, loss, h, chunk_size=4, keep_graphs=keep_graphs)
    product = first @ second
    torch.testing.assert_close(h.grad, 2 * h.detach() @ product @ product.T, rtol=1e-4, atol=0.02)


def test_the_scaler_scales_once():
    model, inputs = Encoder().float(), batch(9)
    gradients_of = {}
    for scale in (1.0, 1024.0):
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        torch.manual_seed(0)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        options = {"chunk_size": 4, "scaler": scaler}
        value = cached_backward(lambda c: model(**c), lambda x: x.var(), inputs, **options)
        raw = model.mix.weight.grad.clone()
        scaler.unscale_(optimizer)
        assert torch.equal(model.mix.weight.grad * scale, raw)
        gradients_of[scale] = gradients(model), value
    assert gradients_of[1.0][1] == gradients_of[1024.0][1]
    assert_same(gradients_of[1024.0][0], gradients_of[1.0][0], 1e-6)


def test_steps_taken_with_it_train():
    torch.manual_seed(0)
    model = Encoder(width=16)
    columns = [batch(64), batch(64)]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        value = cached_backward(lambda c: model(**c), contrast, columns, tokens_per_chunk=90)
        optimizer.step()
        losses.append(value.item())
    assert losses[-1] < 0.5 * losses[0]


def test_compiled_models_repeat_their_dropout_too():
    """Without a compiler, but through the same wrapper and with the same random numbers."""
    model = Encoder()
    compiled = torch.compile(model, backend="eager")
    columns = [batch(8), batch(8, seed=1)]
    torch.manual_seed(0)
    cached_backward(lambda c: compiled(**c), contrast, columns, chunk_size=4)
    found = gradients(model)
    torch.manual_seed(0)
    plain(lambda c: model(**c), contrast, columns, chunk_size=4)
    assert_same(found, gradients(model))


def test_batch_norm_in_training_mode_is_refused_and_frozen_batch_norm_is_not():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).double()
    x = torch.randn(8, 3, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"BatchNorm in training mode.*call \.eval"):
        cached_backward(lambda c: 2 * model(c), lambda v: v.var(), x, chunk_size=4)
    assert all(gradient is None for gradient in gradients(model).values())
    model.eval()
    cached_backward(model, lambda v: v.var(), x, chunk_size=3)
    found = gradients(model)
    model(x).var().backward()
    assert_same(found, gradients(model))


def test_randomness_that_is_not_torch_s_is_refused():
    model = Encoder().eval()

    def encode(chunk):
        return model(**chunk) * (1 + random.random())

    with pytest.raises(ValueError, match="encode is 'a function whose vectors differ"):
        cached_backward(encode, lambda x: x.var(), batch(8), chunk_size=2)


def detached(chunk):
    return torch.ones(len(chunk["input_ids"]), 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chunk_size": None}, "chunk_size is None; allowed: a number of rows"),
        ({"keep_graphs": -1}, "keep_graphs is -1; allowed: 0 or more"),
        ({"encode": [detached, detached]}, "2 encoders for 1 columns"),
        ({"inputs": []}, "1 encoders for 0 columns|0 encoders for 0 columns"),
        ({"encode": lambda c: {"x": 1}}, "a function that gives dict.*last_hidden_state"),
        ({"encode": lambda c: torch.ones(7, 3)}, r"is \(7, 3\); allowed: \(2, D\)"),
        ({"encode": lambda c: torch.ones(2)}, r"is \(2,\); allowed: \(2, D\)"),
        (
            {"encode": lambda c: torch.ones(len(c["input_ids"]), int(c["input_ids"].sum()))},
            r"allowed: \(2, \d+\)",
        ),
        ({"loss": lambda x: x}, r"the loss is \(6, 6\); allowed: a scalar"),
        ({"loss": lambda x: 0.0}, "the loss is 'float'"),
        ({"encode": detached}, "the loss is 'a constant'.*frozen"),
        ({"loss": lambda x: x.detach().sum()}, "the loss is 'a constant'"),
    ],
)
def test_errors_say_what_is_wrong(change, message):
    model = Encoder()
    call = {
        "encode": lambda c: model(**c),
        "loss": lambda x: x.var(),
        "inputs": batch(6),
        "chunk_size": 2,
    }
    call |= change
    encode, loss, inputs = (call.pop(name) for name in ("encode", "loss", "inputs"))
    with pytest.raises(ValueError, match=message):
        cached_backward(encode, loss, inputs, **call)


def test_it_agrees_with_the_cached_loss_of_sentence_transformers():
    pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    from sentence_transformers.sentence_transformer.losses import (
        CachedMultipleNegativesRankingLoss,
    )

    class Peer(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, features):
            ids, mask = features["input_ids"], features["attention_mask"]
            return {**features, "sentence_embedding": self.model(ids, mask)}

    model = Encoder().eval()
    columns = [batch(11), batch(11, seed=1), batch(11, seed=2)]
    # It looks at the first module of a SentenceTransformer, which is a Sequential.
    sequence = nn.Sequential(Peer(model))
    peer = CachedMultipleNegativesRankingLoss(sequence, mini_batch_size=4, scale=5.0)
    theirs = peer([dict(inputs) for inputs in columns], None)
    theirs.backward()
    expected = gradients(model)
    ours = cached_backward(lambda c: model(**c), contrast, columns, tokens_per_chunk=30)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-12)
    assert_same(gradients(model), expected)


PROGRAM = """
import sys, types
import kexue
# The package itself would load transformers, which takes longer than all the rest.
light = types.ModuleType("kexue.training")
light.__path__ = [kexue.__path__[0] + "/training"]
sys.modules["kexue.training"] = light
import json, torch
import torch.distributed as dist
import torch.nn.functional as F
from datetime import timedelta
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from kexue.losses.contrastive import info_nce
from kexue.losses.cosent import cosent_loss
from kexue.training.cached_gradients import cached_backward
from kexue.training.gather import gather_rows

rank, store = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2,
                        timeout=timedelta(seconds=60))

class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.out = nn.Embedding(50, 6), nn.Linear(6, 6)
        self.register_buffer("shift", torch.ones(6))
        self.double()
    def forward(self, input_ids, attention_mask):
        x = torch.tanh(self.embed(input_ids)) * attention_mask.unsqueeze(-1)
        return self.out(x.sum(1) / attention_mask.sum(1, keepdim=True)) + self.shift

def batch(count, seed):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 10, (count,), generator=generator)
    mask = (torch.arange(10) < lengths[:, None]).long()
    return {"input_ids": torch.randint(1, 50, mask.shape, generator=generator) * mask,
            "attention_mask": mask}

# Process 0 has 9 texts, process 1 has 4, hence another number of chunks.
mine = slice(0, 9) if rank == 0 else slice(9, 13)
whole = [batch(13, seed) for seed in (1, 2)]
columns = [{name: x[mine] for name, x in inputs.items()} for inputs in whole]
labels = torch.randint(3, (13,), generator=torch.Generator().manual_seed(3))
model = Encoder()
temperature = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)

def contrast(q, k):
    return info_nce(q, k, temperature=temperature)

def order(u, v):
    y = labels if len(u) == 13 else None
    if gathering:
        y = gather_rows(labels[mine])
    return cosent_loss(F.cosine_similarity(u, v), y) * temperature

def learnt(module):
    return [*module.parameters(), temperature]

def taken(module):
    found = torch.cat([p.grad.flatten() for p in learnt(module)])
    for p in learnt(module):
        p.grad = None
    return found

def average(found):
    dist.all_reduce(found)
    return found / 2

results = {}
for name, loss in (("contrast", contrast), ("order", order)):
    gathering = False
    value = loss(*(model(**inputs) for inputs in whole))
    value.backward()
    right = taken(model)
    gathering = True
    ours = cached_backward(lambda c: model(**c), loss, columns, chunk_size=2, gather=True)
    found = average(taken(model))
    results[name] = [abs(float(ours - value)), float((found - right).norm() / right.norm())]

for keep, rules in ((0, [{"chunk_size": 3}]), (1, [{"tokens_per_chunk": 20}, {"chunk_size": 100}]),
                    (50, [{"chunk_size": 3}])):
    for rule in rules:
        wrapped = DistributedDataParallel(model, bucket_cap_mb=0.0001)
        syncs = []
        def count(state, bucket):
            syncs.append(bucket.index())
            from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
            return allreduce_hook(None, bucket)
        wrapped.register_comm_hook(None, count)
        errors = []
        for step in range(3):
            gathering = False
            contrast(*(model(**inputs) for inputs in whole)).backward()
            right = taken(model)
            syncs.clear()
            cached_backward(lambda c: wrapped(**c), contrast, columns, gather=True,
                            keep_graphs=keep, **rule)
            temperature.grad = average(temperature.grad)
            found = taken(model)
            errors.append(float((found - right).norm() / right.norm()))
            # Every bucket travels once a step, however many chunks there are.
            assert len(syncs) == len(set(syncs)) >= 1, syncs
        results[f"ddp {keep} {rule}"] = [max(errors)]

# Without gathered vectors: each process has its own negatives, and gradients are averaged.
wrapped = DistributedDataParallel(model)
contrast(*(model(**inputs) for inputs in columns)).backward()
temperature.grad = None
right = average(torch.cat([p.grad.flatten() for p in model.parameters()]))
model.zero_grad()
cached_backward(wrapped_call := (lambda c: wrapped(**c)), contrast, columns, chunk_size=2)
found = torch.cat([p.grad.flatten() for p in model.parameters()])
results["apart"] = [float((found - right).norm() / right.norm())]

model.zero_grad()

# A temperature that is the wrapped model's own, but that only the loss uses.
class Whole(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = model
        self.temperature = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))
    def forward(self, input_ids, attention_mask):
        return self.encoder(input_ids, attention_mask)

for gathered in (True, False):
    for find in (True, False):
        owner = Whole()
        wrapped = DistributedDataParallel(owner, find_unused_parameters=find, bucket_cap_mb=0.0001)
        def own(q, k):
            return info_nce(q, k, temperature=owner.temperature)
        errors = []
        for step in range(3):
            own(*(model(**inputs) for inputs in (whole if gathered else columns))).backward()
            right = torch.cat([p.grad.flatten() for p in owner.parameters()])
            right = right if gathered else average(right)
            owner.zero_grad()
            cached_backward(lambda c: wrapped(**c), own, columns, chunk_size=2, gather=gathered)
            found = torch.cat([p.grad.flatten() for p in owner.parameters()])
            owner.zero_grad()
            errors.append(float(((found - right).abs() / right.norm()).max()))
        results[f"own temperature {gathered} {find}"] = [max(errors)]
print("RESULT" + json.dumps(results), flush=True)
dist.barrier()
dist.destroy_process_group()
"""


def launch(tmp_path, program):
    """Run a program in two processes; gives what each printed after RESULT."""
    path = tmp_path / "program.py"
    path.write_text(program)
    source = Path(__file__).parents[2] / "src"
    search = os.pathsep.join(filter(None, [str(source), os.environ.get("PYTHONPATH")]))
    started = [
        subprocess.Popen(
            [sys.executable, str(path), str(rank), str(tmp_path / "store")],
            env={**os.environ, "PYTHONPATH": search, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=300) for process in started]
    # Not the exit status: gloo at times aborts while its threads end, after all is done.
    for out, errors in outputs:
        assert "RESULT" in out, errors[-3000:]
    return [json.loads(out.split("RESULT")[1].splitlines()[0]) for out, _ in outputs]


@pytest.mark.slow
def test_two_processes_with_gathered_vectors_equal_one_with_the_whole_batch(tmp_path):
    for results in launch(tmp_path, PROGRAM):
        assert len(results) == 2 + 4 + 1 + 4
        for name, errors in results.items():
            assert max(errors) < 1e-10, (name, errors)
