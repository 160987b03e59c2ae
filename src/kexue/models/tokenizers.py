"""The tokenizer of a folder or a Hub name, and a readable error where there is none."""

from pathlib import Path

from tokenizers import Tokenizer, processors
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from kexue._check import invalid

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def load_tokenizer(name: str | Path, *, local: bool = False) -> PreTrainedTokenizerBase:
    """Load a fast tokenizer, one that knows where its tokens are in the text.

    Args:
        name: a folder, or a name on the Hub.
        local: look into folders alone.

    Returns:
        The tokenizer.

    Raises:
        ValueError: if there is none, or only a slow one.

    Example:
        >>> load_tokenizer("runs/none", local=True)
        Traceback (most recent call last):
        ValueError: tokenizer is 'runs/none'; allowed: a folder with tokenizer.json or vocab.txt...
    """
    allowed = "a folder with tokenizer.json or vocab.txt"
    if not local:
        allowed += ", or a name on the Hub"
    if local and not Path(name).is_dir():
        raise invalid("tokenizer", str(name), allowed, "There is no such folder.")
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=local)
    except (OSError, ValueError, KeyError) as error:
        says = f"transformers says: {str(error).strip().splitlines()[0]}"
        raise invalid("tokenizer", str(name), allowed, says) from error
    if not tokenizer.is_fast:
        raise invalid("tokenizer", str(name), "a fast tokenizer", "Save it as a fast one.")
    return tokenizer


def as_fast_tokenizer(tokenizer: Tokenizer, *, max_length: int) -> PreTrainedTokenizerFast:
    """Give a tokenizer that was learnt here its special tokens, [CLS] text [SEP].

    Args:
        tokenizer: with the tokens of `SPECIAL` in its vocabulary.
        max_length: tokens beyond which it warns.

    Returns:
        What transformers takes.

    Example:
        >>> from tokenizers.models import WordLevel
        >>> words = {name: i for i, name in enumerate((*SPECIAL, "a"))}
        >>> made = as_fast_tokenizer(Tokenizer(WordLevel(words)), max_length=8)
        >>> made("a")["input_ids"]
        [2, 5, 3]
    """
    ends = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=ends
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=max_length,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_input_names=["input_ids", "attention_mask"],
    )
