import random

import pytest

from kexue.data.records import Record
from kexue.models import scratch_tokenizer
from kexue.tasks.embedding_data import (
    GroupCollator,
    TextGroup,
    make_examples,
    split_groups,
    text_groups,
)


def record(**fields):
    return Record.model_validate(fields)


def test_groups_are_the_texts_of_records():
    found = text_groups(
        [
            record(text="a", pair="b", label=4),
            record(text="a", pair="b", label="3.5"),
            record(text="a", pair="b", negative="c"),
        ]
    )
    assert found == [
        TextGroup(("a", "b"), 4.0),
        TextGroup(("a", "b"), 3.5),
        TextGroup(("a", "b", "c"), None),
    ]


def test_records_that_are_no_pairs_are_refused():
    with pytest.raises(ValueError, match='alone"; allowed: two texts'):
        text_groups([record(text="a", label=1)])
    with pytest.raises(ValueError, match="label is 'near'; allowed: a number"):
        text_groups([record(text="a", pair="b", label="near")])


def test_no_text_is_on_both_sides_of_a_split():
    rng = random.Random(0)
    names = [f"text {i}" for i in range(400)]
    groups = [TextGroup((rng.choice(names), f"other {i // 2}"), 1.0) for i in range(300)]
    train, dev = split_groups(groups, 0.2)
    texts = [{text for group in part for text in group.texts} for part in (train, dev)]
    assert not texts[0] & texts[1]
    assert sorted(train + dev, key=repr) == sorted(groups, key=repr)
    assert 0.05 < len(dev) / len(groups) < 0.4


def test_the_order_of_the_file_does_not_move_a_group_to_the_other_side():
    groups = [TextGroup((f"a{i}", f"a{i * 7 % 90}"), float(i)) for i in range(200)]
    train, dev = split_groups(groups, 0.3)
    shuffled = random.Random(1).sample(groups, len(groups))
    again, held = split_groups(shuffled, 0.3)
    assert set(again) == set(train)
    assert set(held) == set(dev)
    assert held == [group for group in shuffled if group in set(dev)]


def test_a_split_that_leaves_a_side_empty_is_refused():
    chain = [TextGroup((f"a{i}", f"a{i + 1}")) for i in range(50)]
    with pytest.raises(ValueError, match="pairs that share texts stay together"):
        split_groups(chain, 0.1)
    for fraction in (0.0, 1.0, -1):
        with pytest.raises(ValueError, match="a share between 0 and 1"):
            split_groups(chain, fraction)


@pytest.fixture(scope="module")
def tokenizer():
    return scratch_tokenizer(["a b c d e f g h"] * 2, unit="character", vocab_size=60)


def test_examples_hold_the_tokens_of_each_text(tokenizer):
    groups = [TextGroup(("a b", "c d e"), 1.0), TextGroup(("c d e", "f"), 2.0)]
    examples, longer = make_examples(groups, tokenizer, window=32, columns=2)
    assert longer == 0
    for group, example in zip(groups, examples, strict=True):
        assert list(example.columns) == [tokenizer(text)["input_ids"] for text in group.texts]
        assert example.label == group.label
    assert examples[0].ids[1] == examples[1].ids[0]
    assert len({*examples[0].ids, *examples[1].ids}) == 3
    assert all(0 <= number < 2**63 for example in examples for number in example.ids)


def test_one_text_is_its_own_pair(tokenizer):
    (example,), _ = make_examples([TextGroup(("a b",))], tokenizer, window=32, columns=2)
    assert example.columns[0] == example.columns[1]
    assert example.ids[0] == example.ids[1]


def test_texts_longer_than_the_window_are_counted_and_begin_as_they_do(tokenizer):
    long = "a b c d e f g h " * 5
    groups = [TextGroup((long, "a")), TextGroup(("b", "a b c d")), TextGroup((long, "c"))]
    examples, longer = make_examples(groups, tokenizer, window=6, columns=2)
    assert longer == 2
    ids = tokenizer(long)["input_ids"]
    assert examples[0].columns[0] == [*ids[:5], ids[-1]]
    assert examples[1].columns[1] == tokenizer("a b c d")["input_ids"]


def test_batches_are_padded_column_by_column(tokenizer):
    groups = [TextGroup(("a b", "c d e"), 1.0), TextGroup(("c", "f"), 2.5)]
    examples, _ = make_examples(groups, tokenizer, window=32, columns=2)
    batch = GroupCollator(tokenizer)(examples)
    first, second = batch["columns"]
    assert first["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert second["input_ids"].shape == (2, 5)
    assert second["input_ids"][1, 3:].tolist() == [tokenizer.pad_token_id] * 2
    assert batch["labels"].tolist() == [1.0, 2.5]
    assert batch["ids"].shape == (2, 2)
    examples, _ = make_examples([TextGroup(("a", "b"))], tokenizer, window=32, columns=2)
    assert "labels" not in GroupCollator(tokenizer)(examples)
