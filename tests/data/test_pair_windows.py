import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from kexue.data.pair_windows import cut_pairs

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def make(kind="bert"):
    """A tokenizer of single letters, with the special tokens of BERT, RoBERTa or XLNet."""
    words = {w: i for i, w in enumerate((*SPECIAL, *"abcdefghijklmnopqrstuvwxyz"))}
    base = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    base.pre_tokenizer = pre_tokenizers.Whitespace()
    template = {
        "bert": "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        "roberta": "[CLS]:0 $A:0 [SEP]:0 [SEP]:0 $B:0 [SEP]:0",
        "xlnet": "$A:0 [SEP]:0 $B:1 [SEP]:1 [CLS]:2",
    }[kind]
    base.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair=template,
        special_tokens=[(name, words[name]) for name in ("[CLS]", "[SEP]")],
    )
    names = {"bert": ["input_ids", "token_type_ids", "attention_mask"]}
    return PreTrainedTokenizerFast(
        tokenizer_object=base,
        pad_token="[PAD]",
        unk_token="[UNK]",
        model_input_names=names.get(kind, ["input_ids", "attention_mask"]),
    )


def letters(alphabet):
    return st.lists(st.sampled_from(alphabet), max_size=30).map(" ".join)


@pytest.mark.parametrize("kind", ["bert", "roberta", "xlnet"])
@settings(max_examples=60, deadline=None)
@given(one=letters("abcdef"), two=letters("uvwxyz"), window=st.integers(6, 20))
def test_every_token_is_in_a_window_in_its_order(kind, one, two, window):
    tokenizer = make(kind)
    pieces = list(cut_pairs([(one, two)], tokenizer, window=window))
    whole = tokenizer([one], [two])["input_ids"][0]
    seen = set()
    for piece in pieces:
        assert len(piece.input_ids) <= window
        assert [i for i in piece.input_ids if i < 4] == [i for i in whole if i < 4]
        assert piece.keep == [i >= 4 for i in piece.input_ids]
        places = []
        for token, start in zip(piece.input_ids, piece.starts, strict=True):
            if token >= 4:
                letter = tokenizer.decode([token])
                side = int(letter > "m")
                assert (one, two)[side][start] == letter
                places.append((side, start))
        assert places == sorted(set(places))
        seen.update(places)
    assert seen == {(k, start) for k in (0, 1) for start in range(0, len((one, two)[k]), 2)}
    if len(whole) <= window:
        assert [piece.input_ids for piece in pieces] == [whole]


def test_a_short_text_stands_whole_beside_each_part_of_a_long_one():
    tokenizer = make()
    pieces = list(cut_pairs([("a b c d e f g", "x y")], tokenizer, window=8))
    shown = [tokenizer.decode(piece.input_ids) for piece in pieces]
    assert shown == [
        "[CLS] a b c [SEP] x y [SEP]",
        "[CLS] d e f [SEP] x y [SEP]",
        "[CLS] g [SEP] x y [SEP]",
    ]
    assert pieces[2].token_type_ids == [0, 0, 0, 1, 1, 1]
    other = list(cut_pairs([("x y", "a b c d e f g")], tokenizer, window=8))
    assert tokenizer.decode(other[1].input_ids) == "[CLS] x y [SEP] d e f [SEP]"


def test_what_a_short_text_leaves_is_for_the_long_one():
    tokenizer = make()
    for pair in (("a b c d e f g", "x"), ("x", "a b c d e f g")):
        pieces = list(cut_pairs([pair], tokenizer, window=8))
        assert [sum(piece.keep) for piece in pieces] == [5, 4]


def test_two_long_texts_go_side_by_side_and_the_shorter_begins_again():
    tokenizer = make()
    pieces = list(cut_pairs([("a b c d", "p q r s t u")], tokenizer, window=7))
    shown = [tokenizer.decode(piece.input_ids) for piece in pieces]
    assert shown == [
        "[CLS] a b [SEP] p q [SEP]",
        "[CLS] c d [SEP] r s [SEP]",
        "[CLS] a b [SEP] t u [SEP]",
    ]


def test_pairs_keep_their_numbers_over_batches():
    pairs = [("a b c d", "x"), ("a", "b"), ("c", "d")]
    pieces = list(cut_pairs(pairs, make(), window=6, batch=2))
    assert [piece.text for piece in pieces] == [0, 0, 1, 2]


def test_what_cannot_be_cut_is_refused():
    with pytest.raises(ValueError, match="window is 4; allowed: 5 or more"):
        list(cut_pairs([("a", "b")], make(), window=4))
    with pytest.raises(ValueError, match="a fast tokenizer"):
        list(cut_pairs([("a", "b")], object(), window=9))
