import pytest

from kexue.models import scratch_encoder, scratch_tokenizer

TEXTS = ["他在北京工作。He works in Beijing, 2024!", "She WORKS in 上海 (since 2019)."] * 3


@pytest.mark.parametrize("unit", ["piece", "character"])
def test_every_chinese_character_and_mark_is_a_token_of_its_own(unit):
    tokenizer = scratch_tokenizer(TEXTS, unit=unit)
    text = "他在 Beijing,上海2019"
    offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"][1:-1]
    pieces = [text[s:e] for s, e in offsets]
    assert "".join(pieces) == text.replace(" ", "")
    for piece in pieces:
        assert len(piece) == 1 or piece.isascii()
        assert not (set(piece) & set(",2019") and len(piece) > 1)
    assert (unit == "character") == all(len(piece) == 1 for piece in pieces)


def test_case_and_accents_do_not_shift_offsets():
    tokenizer = scratch_tokenizer(TEXTS)
    text = "HE İs ẞ in Café"
    for start, end in tokenizer(text, return_offsets_mapping=True)["offset_mapping"][1:-1]:
        assert text[start:end].strip() == text[start:end] != ""


def test_same_texts_give_the_same_vocabulary():
    assert scratch_tokenizer(TEXTS).get_vocab() == scratch_tokenizer(TEXTS).get_vocab()


def test_rare_characters_are_unknown_but_keep_their_place():
    tokenizer = scratch_tokenizer(["常见常见", "龘"], unit="character", min_count=2)
    coded = tokenizer("常龘", return_offsets_mapping=True)
    assert coded["input_ids"][2] == tokenizer.unk_token_id
    assert coded["offset_mapping"][2] == (1, 2)


def test_a_saved_tokenizer_is_the_same(tmp_path):
    tokenizer = scratch_tokenizer(TEXTS)
    tokenizer.save_pretrained(tmp_path)
    again = type(tokenizer).from_pretrained(tmp_path)
    assert again(TEXTS[0])["input_ids"] == tokenizer(TEXTS[0])["input_ids"]
    assert again.model_max_length == 512


def test_errors_say_what_to_type():
    with pytest.raises(ValueError, match="'piece' or 'character'"):
        scratch_tokenizer(TEXTS, unit="word")
    with pytest.raises(ValueError, match="a multiple of 64"):
        scratch_encoder(10, width=100)
