import pytest
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel

from kexue.models import load_tokenizer, scratch_tokenizer
from kexue.models.tokenizers import SPECIAL, as_fast_tokenizer


def test_a_saved_tokenizer_comes_back(tmp_path):
    tokenizer = scratch_tokenizer(["他在北京"] * 2)
    tokenizer.save_pretrained(tmp_path)
    again = load_tokenizer(tmp_path, local=True)
    assert again("北京")["input_ids"] == tokenizer("北京")["input_ids"]


def test_errors_say_what_to_type(tmp_path):
    with pytest.raises(ValueError, match="There is no such folder"):
        load_tokenizer(tmp_path / "none", local=True)
    with pytest.raises(ValueError, match=r"tokenizer\.json"):
        load_tokenizer(tmp_path, local=True)


def test_a_learnt_tokenizer_puts_its_special_tokens_where_bert_has_them():
    words = {name: i for i, name in enumerate((*SPECIAL, "a", "b"))}
    learnt = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    learnt.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = as_fast_tokenizer(learnt, max_length=7)
    assert set(tokenizer.all_special_tokens) == set(SPECIAL)
    assert tokenizer.model_max_length == 7
    assert tokenizer("a", "b b")["input_ids"] == [2, 5, 3, 6, 6, 3]
    assert tokenizer(["a", "b b"], padding=True)["input_ids"] == [[2, 5, 3, 0], [2, 6, 6, 3]]
    assert tokenizer("a c")["input_ids"] == [2, 5, 1, 3]
