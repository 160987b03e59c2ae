import pytest

from kexue.models import load_tokenizer, scratch_tokenizer


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
