import random
from itertools import pairwise

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertTokenizer, PreTrainedTokenizerFast

from kexue.data.windows import Window, cut_windows, merge_windows, token_spans


@pytest.fixture(scope="module")
def tokenizer():
    """One token for each character that is not blank, [CLS] in front and [SEP] behind."""
    base = Tokenizer(models.WordLevel({"[UNK]": 0, "[CLS]": 1, "[SEP]": 2}, unk_token="[UNK]"))
    base.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split("", "isolated")]
    )
    base.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=base, unk_token="[UNK]")


def test_a_text_that_fits_is_one_window(tokenizer):
    (window,) = cut_windows(["abcdef"], tokenizer, window=8, overlap=2)
    assert window.keep == [False, *[True] * 6, False]
    assert window.starts[1:-1] == [0, 1, 2, 3, 4, 5]
    assert (window.first, window.last) == (0, 6)


def test_windows_overlap_and_cover_everything(tokenizer):
    texts = ["x" * 23, "", "ab", " \n "]
    windows = list(cut_windows(texts, tokenizer, window=8, overlap=2, batch=3))
    long = [w for w in windows if w.text == 0]
    assert [w.first for w in long] == [0, 4, 8, 12, 16, 20]
    assert all(after.first == before.last - 2 for before, after in pairwise(long))
    assert long[-1].last == 23
    assert [w.text for w in windows if w.text] == [1, 2, 3]
    assert not any(windows[-1].keep)


def test_blank_edges_of_tokens_do_not_belong_to_spans():
    class Spaced:
        is_fast = True

        def num_special_tokens_to_add(self):
            return 0

        def __call__(self, texts, **_):
            return {
                "overflow_to_sample_mapping": [0],
                "offset_mapping": [[(0, 2), (2, 6), (6, 7)]],
                "special_tokens_mask": [[0, 0, 0]],
                "input_ids": [[5, 6, 7]],
            }

    (window,) = cut_windows(["He  is\n"], Spaced(), window=8, overlap=0)
    assert (window.starts, window.ends) == ([0, 4, 7], [2, 6, 7])
    assert window.keep == [True, True, False]
    assert token_spans(window, [(4, 6, "x")]) == {(4, 6, "x"): (1, 1)}


@pytest.mark.parametrize(
    "text",
    [
        "ABC Ünïcode  caf\u00e9",
        "两个  空格\n换行",
        "emoji 😀👍🏽 here",
        "龘靐 2024年",
        "ＡＢＣ Full",
    ],
)
def test_offsets_slice_the_text_as_given(text, tmp_path):
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "un",
        "##icode",
        "caf",
        "##e",
        "两",
        "个",
    ]
    (tmp_path / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    bert = BertTokenizer(str(tmp_path / "vocab.txt"), do_lower_case=True)
    (window,) = cut_windows([text], bert, window=64, overlap=0)
    pieces = [
        text[s:e]
        for s, e, keep in zip(window.starts, window.ends, window.keep, strict=True)
        if keep
    ]
    assert "".join(pieces) == "".join(text.split())


def test_spans_that_do_not_align_are_left_out():
    window = Window(0, [2, 9, 8, 3], [False, True, True, False], [0, 0, 4, 0], [0, 4, 8, 0])
    found = token_spans(window, [(0, 4, "a"), (0, 8, "b"), (1, 4, "c"), (4, 7, "d"), (4, 9, "e")])
    assert found == {(0, 4, "a"): (1, 1), (0, 8, "b"): (1, 2)}


def test_several_tokens_of_one_character_are_one_place():
    """Byte-level tokenizers cut a character into tokens that all point at it."""
    window = Window(0, [4, 5, 6], [True] * 3, [0, 0, 1], [1, 1, 2])
    assert token_spans(window, [(0, 1, "a"), (0, 2, "b")]) == {
        (0, 1, "a"): (0, 1),
        (0, 2, "b"): (0, 2),
    }


@pytest.mark.parametrize("seed", range(20))
def test_perfect_windows_merge_to_the_gold_spans(tokenizer, seed):
    """Every span that some window holds whole comes back exactly once, whoever saw it."""
    rng = random.Random(seed)
    length, window, overlap = rng.randint(1, 90), rng.randint(6, 20), rng.randint(0, 3)
    gold = set()
    for _ in range(12):
        start = rng.randrange(length)
        gold.add((start, min(length, start + rng.randint(1, 6)), rng.choice("xy")))
    windows = list(cut_windows(["a" * length], tokenizer, window=window, overlap=overlap))
    held = set()
    found = []
    for piece in windows:
        inside = set(token_spans(piece, sorted(gold)))
        held |= inside
        found.append((piece, [(*span, 0.5) for span in sorted(inside)]))
    merged = merge_windows(found, length)
    assert [span[:3] for span in merged] == sorted(held)


def test_the_window_that_sees_more_around_a_span_decides(tokenizer):
    left, right = cut_windows(["a" * 14], tokenizer, window=10, overlap=2)
    assert (left.first, left.last, right.first, right.last) == (0, 8, 6, 14)
    # 7 to 8 touches the cut of the left window; only the right window's word counts.
    assert merge_windows([(left, [(7, 8, "x", 0.9)]), (right, [])], 14) == []
    assert merge_windows([(left, []), (right, [(7, 8, "x", 0.4)])], 14) == [(7, 8, "x", 0.4)]
    # A span that only the left window holds stands, however near to the cut.
    assert merge_windows([(left, [(5, 8, "x", 0.9)]), (right, [])], 14) == [(5, 8, "x", 0.9)]


def test_errors_say_what_to_type(tokenizer):
    with pytest.raises(ValueError, match="0 to 5 for a window of 8"):
        list(cut_windows(["a"], tokenizer, window=8, overlap=6))
    with pytest.raises(ValueError, match="use_fast=True"):
        list(cut_windows(["a"], object(), window=8, overlap=1))
