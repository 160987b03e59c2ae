import pytest
import torch

from kexue.models import scratch_tokenizer
from kexue.tasks.classification_data import LabelledText
from kexue.tasks.classification_examples import ExampleCollator, make_examples, spread


@pytest.fixture(scope="module")
def tokenizer():
    return scratch_tokenizer(["a b c d e f g h"] * 2, unit="character")


def make(texts, tokenizer, **changes):
    given = [LabelledText(text, label) for text, label in texts]
    options = {"labels": ["x", "y"], "window": 6, "most": 3, **changes}
    return make_examples(given, tokenizer, **options)


def test_long_texts_come_in_pieces_and_are_counted_where_training_does_not_see_all(tokenizer):
    letters = "a b c d e f g h "
    examples, shortened = make([("a b", "y"), (letters, "x"), (letters * 4, "x")], tokenizer)
    assert [len(example.pieces) for example in examples] == [1, 2, 3]
    assert [example.label for example in examples] == [1, 0, 0]
    assert shortened == 1
    assert examples[1].tokens == 12
    # Of eight pieces the first, one in the middle and the last
    assert [piece.starts[1] for piece in examples[2].pieces] == [0, 32, 56]


def test_places_are_spread_evenly():
    for count in range(1, 30):
        for most in range(2, 12):
            places = spread(count, most)
            assert (places[0], places[-1]) == (0, count - 1)
            assert len(set(places)) == len(places) == min(count, most)


def test_a_batch_is_padded_on_three_axes(tokenizer):
    examples, _ = make([("a b", "y"), ("a b c d e", "x")], tokenizer)
    batch = ExampleCollator(tokenizer)(examples)
    assert batch["input_ids"].shape == (2, 2, 6)
    assert batch["attention_mask"].sum(-1).tolist() == [[4, 0], [6, 3]]
    assert batch["piece_weights"].tolist() == [[2, 0], [4, 1]]
    assert batch["labels"].tolist() == [1, 0]
    kept = batch["input_ids"][batch["attention_mask"].bool()]
    assert kept.tolist() == [i for e in examples for p in e.pieces for i in p.input_ids]
    assert set(batch["input_ids"][~batch["attention_mask"].bool()].tolist()) == {0}
    assert "token_type_ids" not in batch


def test_segments_are_padded_too(tokenizer):
    tokenizer = scratch_tokenizer(["a b c d e f g h"] * 2, unit="character")
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    examples, _ = make([(("a", "b c"), "y"), (("a", "b"), "x")], tokenizer)
    batch = ExampleCollator(tokenizer)(examples)
    assert batch["token_type_ids"].shape == batch["input_ids"].shape
    assert batch["token_type_ids"].dtype == torch.long
