import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kexue.training.token_chunks import Chunk, count_rows, plan_chunks, take_chunk, text_lengths


def texts(lengths, *, width=None):
    """Ids 1, 2, 3, ... of every text, padded with 0, and what goes with them."""
    width = width or max(lengths)
    mask = torch.arange(width) < torch.tensor(lengths)[:, None]
    ids = (torch.arange(len(lengths))[:, None] * 100 + torch.arange(1, width + 1)) * mask
    return {"input_ids": ids, "attention_mask": mask.long(), "label": torch.arange(len(lengths))}


@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=30),
    st.integers(1, 40),
    st.one_of(st.none(), st.integers(1, 5)),
)
def test_a_budget_holds_and_every_text_occurs_once(lengths, budget, most):
    batch = texts(lengths, width=13)
    chunks = plan_chunks(batch, chunk_size=most, tokens_per_chunk=budget)
    assert sorted(torch.cat([rows for rows, _ in chunks]).tolist()) == list(range(len(lengths)))
    found = []
    for chunk in chunks:
        part = take_chunk(batch, chunk)
        sizes = [lengths[row] for row in chunk.rows]
        found += sizes
        assert chunk.length == max(sizes)
        assert part["input_ids"].shape == (len(sizes), max(sizes))
        assert len(sizes) * max(sizes) <= budget or len(sizes) == 1
        assert most is None or len(sizes) <= most
        for row, ids, label in zip(chunk.rows, part["input_ids"], part["label"], strict=True):
            assert label == row
            assert ids[ids > 0].tolist() == [100 * int(row) + k + 1 for k in range(lengths[row])]
    assert found == sorted(lengths, reverse=True)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=9), st.integers(1, 40))
def test_no_other_cut_computes_less(lengths, budget):
    """All cuts of the sorted texts, by their tokens and an eighth of the budget for each chunk."""
    chunks = plan_chunks(texts(lengths), tokens_per_chunk=budget)
    found = sum(len(rows) * length + budget / 8 for rows, length in chunks)
    falling = sorted(lengths, reverse=True)
    costs = []
    for number in range(len(lengths)):
        for cuts in itertools.combinations(range(1, len(lengths)), number):
            bounds = itertools.pairwise([0, *cuts, len(lengths)])
            parts = [falling[a:b] for a, b in bounds]
            if all(len(part) * part[0] <= budget or len(part) == 1 for part in parts):
                costs.append(sum(len(part) * part[0] + budget / 8 for part in parts))
    assert found == min(costs)


def test_texts_of_one_length_fill_their_chunks():
    chunks = plan_chunks(texts([20] * 7), tokens_per_chunk=60)
    assert [(rows.tolist(), length) for rows, length in chunks] == [
        ([0, 1, 2], 20),
        ([3, 4, 5], 20),
        ([6], 20),
    ]


def test_one_long_text_does_not_have_short_ones_padded_to_its_length():
    lengths = [500] + [20] * 100
    chunks = plan_chunks(texts(lengths), tokens_per_chunk=2000)
    assert [(len(rows), length) for rows, length in chunks] == [(1, 500), (100, 20)]


def test_sorting_removes_padding():
    lengths = torch.randint(3, 60, (200,)).tolist()
    batch = texts(lengths)
    chunks = plan_chunks(batch, tokens_per_chunk=480)
    computed = sum(take_chunk(batch, chunk)["input_ids"].numel() for chunk in chunks)
    assert computed < 1.2 * sum(lengths)
    assert batch["input_ids"].numel() > 1.6 * sum(lengths)


@pytest.mark.parametrize(("size", "starts"), [(1, [0, 1, 2, 3, 4]), (2, [0, 2, 4]), (9, [0])])
def test_a_number_of_rows_keeps_the_order_and_the_padding(size, starts):
    batch = texts([2, 5, 3, 1, 4], width=7)
    chunks = plan_chunks(batch, chunk_size=size)
    assert [chunk.rows.start for chunk in chunks] == starts
    parts = [take_chunk(batch, chunk) for chunk in chunks]
    for name, x in batch.items():
        assert torch.equal(torch.cat([part[name] for part in parts]), x)
    rows = torch.rand(5, 3)
    parts = [take_chunk(rows, chunk) for chunk in plan_chunks(rows, chunk_size=size)]
    assert torch.equal(torch.cat(parts), rows)


def test_only_what_goes_with_tokens_is_trimmed():
    batch = texts([2, 1], width=6)
    batch |= {"token_vectors": torch.rand(2, 6, 4), "text_vector": torch.rand(2, 5)}
    part = take_chunk(batch, Chunk(torch.tensor([1, 0]), 2))
    shapes = {name: tuple(x.shape) for name, x in part.items()}
    assert shapes == {
        "input_ids": (2, 2),
        "attention_mask": (2, 2),
        "label": (2,),
        "token_vectors": (2, 2, 4),
        "text_vector": (2, 5),
    }
    assert torch.equal(part["text_vector"], batch["text_vector"].flip(0))


def test_lengths_of_masks_of_any_kind():
    mask = torch.tensor([[1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0], [0, 0, 0, 0]])
    for given_mask in (mask, mask.bool(), mask.float()):
        assert text_lengths({"attention_mask": given_mask}).tolist() == [2, 4, 3, 1]


def test_nothing_is_written_to():
    batch = texts([3, 1, 2])
    copies = {name: x.clone() for name, x in batch.items()}
    for chunk in plan_chunks(batch, tokens_per_chunk=3):
        take_chunk(batch, chunk)["extra"] = None
    assert batch.keys() == copies.keys()
    assert all(torch.equal(x, copies[name]) for name, x in batch.items())


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        (torch.ones(3), {}, "chunk_size is None; allowed: a number of rows"),
        (torch.ones(3), {"chunk_size": 0}, "chunk_size is 0; allowed: 1 or more"),
        (torch.ones(3), {"tokens_per_chunk": -1}, "tokens_per_chunk is -1"),
        (torch.ones(3), {"tokens_per_chunk": 5}, "Use chunk_size"),
        ({"input_ids": torch.ones(3, 4)}, {"tokens_per_chunk": 5}, r"\['input_ids'\].*attention"),
        ({"a": torch.ones(3), "b": torch.ones(2)}, {"chunk_size": 1}, "'a': 3, 'b': 2"),
        (torch.ones(0, 3), {"chunk_size": 1}, "one number, 1 or more"),
        ({}, {"chunk_size": 1}, "one number"),
        ({"a": ["x"]}, {"chunk_size": 1}, "a is 'list'; allowed: a tensor whose first axis"),
        ({"a": torch.tensor(1)}, {"chunk_size": 1}, r"a is \(\)"),
    ],
)
def test_errors_say_what_to_type(inputs, options, message):
    with pytest.raises(ValueError, match=message):
        plan_chunks(inputs, **options)


def test_rows_are_counted_by_their_first_axis():
    assert count_rows(torch.ones(4, 2)) == 4
    assert count_rows(texts([1, 2, 3])) == 3
