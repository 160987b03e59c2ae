"""The files of a pre-training and the tokenizer that goes with them."""

import pytest

from kexue.data.records import DataError
from kexue.tasks.pretraining_texts import PretrainingTexts


def test_files_are_read_one_after_the_other_and_again(plain_file, plain_texts, tmp_path):
    other = tmp_path / "b.tsv"
    other.write_text("in\t在\n")
    texts = PretrainingTexts([plain_file, other])
    for _ in range(2):
        assert list(texts) == [*plain_texts, "in", "在"]


def test_broken_lines_stop_or_are_left_out(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "一"}\n{\n{"text": "三"}\n')
    assert list(PretrainingTexts([path], skip_bad=True)) == ["一", "三"]
    with pytest.raises(DataError, match=r"a\.jsonl:2"):
        list(PretrainingTexts([path]))
    with pytest.raises(DataError, match=r"a\.jsonl:2"):
        PretrainingTexts([path]).learnt_tokenizer()


def test_a_tokenizer_is_learnt_from_all_files(plain_file, tmp_path):
    other = tmp_path / "b.txt"
    other.write_text("龘龘")
    tokenizer = PretrainingTexts([plain_file, other], vocab_size=900).learnt_tokenizer()
    assert tokenizer.tokenize("龘") == ["龘"]
    assert len(tokenizer) == 900
    few = PretrainingTexts([plain_file, other], vocab_size=900, characters=9).learnt_tokenizer()
    assert sum(len(token) == 1 for token in few.get_vocab()) == 9


def test_which_tokenizer_is_given(plain_file, small_tokenizer, tmp_path):
    small_tokenizer.save_pretrained(tmp_path)
    folder = str(tmp_path)
    assert PretrainingTexts([plain_file]).given_tokenizer("new") is None
    for texts, encoder in (
        (PretrainingTexts([plain_file]), folder),
        (PretrainingTexts([plain_file], folder), "new"),
        (PretrainingTexts([plain_file], folder), "some/encoder"),
    ):
        found = texts.given_tokenizer(encoder)
        assert found.get_vocab() == small_tokenizer.get_vocab()
    with pytest.raises(ValueError, match=r"tokenizer is '\./none'"):
        PretrainingTexts([plain_file], "./none").given_tokenizer("new")


def test_numbers_out_of_range_are_refused(plain_file):
    with pytest.raises(ValueError, match="one file or more"):
        PretrainingTexts([])
    with pytest.raises(ValueError, match="held_out is 1; allowed: 2 or more"):
        PretrainingTexts([plain_file], held_out=1)
