"""A vocabulary in which nothing printable is unknown: characters, word pieces and bytes.

Each Chinese character, digit and mark is a token of its own; other words are cut into pieces by
byte-pair merges; what the vocabulary lacks is spelt in the bytes of its UTF-8 form.
"""

import json
from collections import Counter
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

from kexue._check import invalid
from kexue.models.tokenizers import SPECIAL, as_fast_tokenizer

_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def train_tokenizer(
    texts: Iterable[str],
    *,
    vocab_size: int = 8000,
    characters: int = 5500,
    max_length: int = 512,
) -> PreTrainedTokenizerFast:
    """Learn the vocabulary of a pre-trained encoder.

    Letters are lower-cased. The same texts give the same vocabulary.

    Args:
        texts: what the vocabulary is learnt from; read twice, so an iterator is kept in memory.
        vocab_size: at most so many entries, among them 5 special tokens and 256 bytes.
        characters: how many of the most frequent characters are tokens, as far as there is room;
            the rest of the entries are pieces of words.
        max_length: tokens beyond which the tokenizer warns.

    Returns:
        A fast tokenizer; its offsets point into the text as given.

    Raises:
        ValueError: if the vocabulary has no room for any character.

    Example:
        >>> tokenizer = train_tokenizer(["在北京 and in Beijing"] * 2, vocab_size=300)
        >>> tokenizer.tokenize("在京 and 𠮷")
        ['在', '京', 'and', '<0xF0>', '<0xA0>', '<0xAE>', '<0xB7>']
    """
    fixed = len(SPECIAL) + len(_BYTES)
    if vocab_size <= fixed:
        raise invalid("vocab_size", vocab_size, f"more than {fixed}, the bytes and special tokens")
    if characters < 1:
        raise invalid("characters", characters, "1 or more, such as 5500")
    texts = list(texts) if iter(texts) is texts else texts
    alphabet = _most_frequent(texts, min(characters, vocab_size - fixed))
    tokenizer = Tokenizer(BPE(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\s+"), "removed"),
            pre_tokenizers.Split(Regex(r"\p{Han}|\p{N}|[^\w\s]|_"), "isolated"),
        ]
    )
    trainer = BpeTrainer(
        vocab_size=vocab_size - len(_BYTES),
        # Left to itself the trainer breaks ties among rare characters in another way each time.
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        min_frequency=2,
        special_tokens=list(SPECIAL),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    learnt = json.loads(tokenizer.to_str())["model"]
    entries = {token: place for token, place in learnt["vocab"].items() if place < len(SPECIAL)}
    for token in (*_BYTES, *sorted(learnt["vocab"], key=learnt["vocab"].get)):
        entries.setdefault(token, len(entries))
    merges = [tuple(pair) for pair in learnt["merges"]]
    tokenizer.model = BPE(entries, merges, unk_token="[UNK]", byte_fallback=True)
    return as_fast_tokenizer(tokenizer, max_length=max_length)


def _most_frequent(texts: Iterable[str], count: int) -> list[str]:
    """Choose characters; of equally frequent ones those that come first in Unicode."""
    seen: Counter[str] = Counter()
    for text in texts:
        seen.update(text.lower())
    ranked = sorted((-times, character) for character, times in seen.items())
    return [character for _, character in ranked if not character.isspace()][:count]
