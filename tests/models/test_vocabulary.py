"""Nothing printable is unknown, every token says where it stands, the same texts give the same."""

import unicodedata
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from kexue.models import train_tokenizer
from kexue.models.vocabulary import SPECIAL

TEXTS = [
    "他在北京工作，他不在上海。He works in Beijing, 2024! working works worked",
    "She WORKS in 上海 (since 2019). the workers' work_item",
]
TOKENIZER = train_tokenizer(TEXTS * 3, vocab_size=400)
HAN = st.one_of(
    st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF),
    st.characters(min_codepoint=0x20000, max_codepoint=0x2A6DF),
    st.sampled_from("在北京上海龘𠮷"),
)
ODD = st.sampled_from(
    [
        "👨‍👩‍👧",
        "🇨🇳",
        "e\u0301",
        "İ",
        "ẞ",
        "ﬁ",
        "①",
        "½",
        "Ⅷ",
        "々",
        "〇",
        "한글",
        "ひら",
        "à",
        "_",
        "\u200b",
        "\ufeff",
        "\x07",
    ]
)
PRINTABLE = st.lists(st.one_of(st.characters(exclude_categories=("Cs",)), HAN, ODD)).map("".join)


def is_special(text):
    return any(name in text.upper() for name in SPECIAL)


def encoded(text, tokenizer=TOKENIZER):
    coded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False, verbose=False)
    return tokenizer.convert_ids_to_tokens(coded["input_ids"]), coded["offset_mapping"]


@given(PRINTABLE)
@example("".join(map(chr, range(0x20, 0x500))))
@example("a\u0301\u0302b İstanbul ŉ ǰ ΐ")
@settings(deadline=None)
def test_nothing_is_unknown_and_offsets_cover_the_text(text):
    if is_special(text):
        return
    tokens, offsets = encoded(text)
    assert "[UNK]" not in tokens
    assert all(start < end for start, end in offsets)
    assert list(offsets) == sorted(offsets)
    covered = {place for start, end in offsets for place in range(start, end)}
    # All but white space, which no token covers.
    missing = {text[place] for place in range(len(text))} - {text[place] for place in covered}
    assert all(
        character.isspace() or unicodedata.category(character) in ("Zs", "Zl", "Zp", "Cc")
        for character in missing
    )
    assert all(place in covered or text[place].isspace() for place in range(len(text)))
    assert not any(
        text[place].isspace() and text[place] not in "\x1c\x1d\x1e\x1f" for place in covered
    )


@given(PRINTABLE)
@settings(deadline=None)
def test_the_tokens_spell_the_text(text):
    """Bytes and pieces put together are the text in lower case without white space."""
    if is_special(text):
        return
    tokens, _ = encoded(text)
    spelt = b"".join(
        bytes([int(token[3:5], 16)])
        if len(token) == 6 and token.startswith("<0x")
        else token.encode()
        for token in tokens
    )
    lower = "".join(character.lower() for character in text)
    assert "".join(spelt.decode().split()) == "".join(lower.split())


@given(PRINTABLE)
@example("他在北京工作，他不在上海。2024, 2019).")
@settings(deadline=None)
def test_each_chinese_character_digit_and_mark_stands_alone(text):
    if is_special(text):
        return
    for start, end in encoded(text)[1]:
        piece = text[start:end]
        alone = [
            c
            for c in piece
            if "CJK UNIFIED" in unicodedata.name(c, "") or unicodedata.category(c)[0] in "NPS"
        ]
        assert not alone or len(piece) == 1, piece


def test_the_offsets_of_bytes_are_those_of_their_character():
    tokens, offsets = encoded("w𠮷在")
    assert tokens == ["w", "<0xF0>", "<0xA0>", "<0xAE>", "<0xB7>", "在"]
    assert offsets == [(0, 1), (1, 2), (1, 2), (1, 2), (1, 2), (2, 3)]


def test_frequent_words_are_pieces_and_case_does_not_matter():
    assert TOKENIZER.tokenize("WORKING Works") == ["working", "works"]
    pieces = TOKENIZER.tokenize("workings")
    assert "".join(pieces) == "workings"
    assert len(pieces) < 4


def test_special_tokens_stand_where_they_are_expected():
    assert [TOKENIZER.convert_ids_to_tokens(i) for i in range(5)] == list(SPECIAL)
    one = TOKENIZER("在")["input_ids"]
    two = TOKENIZER("在", "上")["input_ids"]
    assert TOKENIZER.convert_ids_to_tokens(one) == ["[CLS]", "在", "[SEP]"]
    assert TOKENIZER.convert_ids_to_tokens(two) == ["[CLS]", "在", "[SEP]", "上", "[SEP]"]
    assert TOKENIZER("a [MASK]")["input_ids"][-2] == TOKENIZER.mask_token_id


@given(
    st.lists(st.text(st.sampled_from("在北京上海abcdefg 12")), max_size=8), st.integers(262, 300)
)
@settings(deadline=None, max_examples=30)
def test_the_vocabulary_never_exceeds_its_size(texts, size):
    tokenizer = train_tokenizer(texts, vocab_size=size)
    vocabulary = tokenizer.get_vocab()
    assert len(tokenizer) == len(vocabulary) <= size
    assert sorted(vocabulary.values()) == list(range(len(vocabulary)))


def test_the_most_frequent_characters_are_kept():
    counts = {chr(0x4E00 + place): 1 + place // 10 for place in range(200)}
    text = "".join(character * count for character, count in counts.items())
    tokenizer = train_tokenizer([text], vocab_size=600, characters=50)
    kept = {token for token in tokenizer.get_vocab() if len(token) == 1}
    assert kept == {character for character, _ in Counter(text).most_common(50)}
    # Of ten that are equally frequent, those that come first.
    tokenizer = train_tokenizer([text], vocab_size=600, characters=15)
    kept = {token for token in tokenizer.get_vocab() if len(token) == 1}
    assert kept == {
        *map(chr, range(0x4E00 + 180, 0x4E00 + 185)),
        *map(chr, range(0x4E00 + 190, 0x4E00 + 200)),
    }


def test_an_iterator_gives_what_a_list_gives():
    texts = TEXTS * 3
    assert train_tokenizer(iter(texts), vocab_size=400).get_vocab() == TOKENIZER.get_vocab()


def test_the_same_texts_give_the_same_vocabulary():
    """Two hundred characters are equally frequent where a hundred are chosen."""
    text = "".join(chr(0x4E00 + i) * (1 + i % 3) for i in range(300)) + " abcd dcba abdc" * 3
    found = [train_tokenizer([text], vocab_size=420, characters=100) for _ in range(3)]
    assert len({tokenizer.backend_tokenizer.to_str() for tokenizer in found}) == 1


def test_a_saved_tokenizer_is_the_same(tmp_path):
    TOKENIZER.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    text = "他 WORKS 在𠮷野家 e\u0301 [MASK]"
    assert again(text)["input_ids"] == TOKENIZER(text)["input_ids"]
    assert encoded(text, again) == encoded(text)
    assert again.mask_token == "[MASK]"
    assert again.model_input_names == ["input_ids", "attention_mask"]


def test_errors_say_what_to_type():
    with pytest.raises(ValueError, match="vocab_size is 261; allowed: more than 261"):
        train_tokenizer(["a"], vocab_size=261)
    with pytest.raises(ValueError, match="characters is 0; allowed: 1 or more"):
        train_tokenizer(["a"], characters=0)
