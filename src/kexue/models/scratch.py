"""A small encoder that begins with random weights, for machines that reach no model hub.

Chinese characters are tokens of their own, everything else is cut into word pieces or, on request,
into characters as well; the vocabulary is learnt from the texts at hand.
"""

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE, WordLevel
from tokenizers.trainers import BpeTrainer, WordLevelTrainer
from transformers import PreTrainedTokenizerFast

from kexue._check import invalid
from kexue.models.config import KexueConfig
from kexue.models.encoder import KexueModel
from kexue.models.tokenizers import SPECIAL, as_fast_tokenizer


def scratch_tokenizer(
    texts: Iterable[str],
    *,
    unit: str = "piece",
    vocab_size: int = 8000,
    min_count: int = 2,
    max_length: int = 512,
) -> PreTrainedTokenizerFast:
    """Learn a tokenizer whose tokens never span a Chinese character and something else.

    Args:
        texts: what the vocabulary is learnt from.
        unit: "piece" (Chinese characters and punctuation alone, words in pieces) or "character".
        vocab_size: most entries.
        min_count: a character or piece seen less often is unknown.
        max_length: most tokens of a window.

    Returns:
        A fast tokenizer; its offsets point into the text as given, whatever lower-casing did.

    Raises:
        ValueError: if `unit` is unknown.

    Example:
        >>> tokenizer = scratch_tokenizer(["他在北京。 He is in Beijing."] * 2)
        >>> tokenizer.tokenize("他在北京 is")
        ['他', '在', '北', '京', 'is']
    """
    if unit not in ("piece", "character"):
        raise invalid("unit", unit, "'piece' or 'character'")
    common = {"special_tokens": list(SPECIAL), "vocab_size": vocab_size, "show_progress": False}
    if unit == "character":
        tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.Lowercase()
        single = pre_tokenizers.Split(Regex(r"\S"), "isolated")
        trainer = WordLevelTrainer(min_frequency=min_count, **common)
    else:
        # Training WordPiece gives another vocabulary each time; BPE gives the same one.
        tokenizer = Tokenizer(BPE(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(clean_text=False, strip_accents=False)
        single = pre_tokenizers.Split(Regex(r"\p{Han}|\p{N}|[^\w\s]|_"), "isolated")
        trainer = BpeTrainer(min_frequency=min_count, **common)
    blank = pre_tokenizers.Split(Regex(r"\s+"), "removed")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([blank, single])
    tokenizer.train_from_iterator(texts, trainer)
    return as_fast_tokenizer(tokenizer, max_length=max_length)


def scratch_encoder(
    vocab_size: int, *, layers: int = 4, width: int = 256, dropout: float = 0.1
) -> KexueModel:
    """Make a small encoder with random weights, for windows of any length.

    Args:
        vocab_size: entries of the tokenizer.
        layers: number of layers.
        width: hidden size, a multiple of 64.
        dropout: dropout of embeddings and of what each layer adds.

    Returns:
        The encoder.

    Raises:
        ValueError: if the width is no multiple of 64.

    Example:
        >>> scratch_encoder(100, layers=1, width=64).config.num_attention_heads
        1
    """
    if width <= 0 or width % 64:
        raise invalid("width", width, "a multiple of 64, the width of an attention head")
    config = KexueConfig(
        vocab_size=vocab_size,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        hidden_dropout=dropout,
        convolution=3,
        norm="post",
        pad_token_id=0,
    )
    return KexueModel(config)
