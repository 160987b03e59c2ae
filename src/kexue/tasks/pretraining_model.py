"""What pre-training begins with: a new encoder, or a trained one to go on with."""

from pathlib import Path

import torch
from transformers import AutoModelForMaskedLM, PreTrainedModel, PreTrainedTokenizerBase

from kexue._check import invalid
from kexue.models import KexueConfig, KexueForMaskedLM, encoder_place


def new_masked_lm(
    tokenizer: PreTrainedTokenizerBase, *, layers: int, width: int
) -> KexueForMaskedLM:
    """Make an encoder with random weights.

    Args:
        tokenizer: for the number of its entries.
        layers: number of layers.
        width: hidden size, a multiple of 64.

    Returns:
        The model.

    Example:
        >>> from kexue.models import train_tokenizer
        >>> tokenizer = train_tokenizer(["a"] * 2, vocab_size=270)
        >>> new_masked_lm(tokenizer, layers=1, width=64).config.num_attention_heads
        1
    """
    return KexueForMaskedLM(
        KexueConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=width // 64,
            hidden_dropout=0.0,
            # After 2 million tokens, 29 % of the hidden ones named right against 11 % with norms
            # before the blocks: benchmarks/pretraining.py.
            norm="post",
            convolution=3,
            log_n="trained",
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def load_masked_lm(name: str) -> PreTrainedModel:
    """Load a trained encoder with its head for hidden tokens, in single precision.

    Args:
        name: "mini", a folder or a name on the Hub.

    Returns:
        The model.

    Raises:
        ValueError: if there is none.

    Example:
        >>> load_masked_lm("./none")
        Traceback (most recent call last):
        ValueError: encoder is './none'; allowed: 'new', 'mini', or a folder or Hub name that ...
    """
    try:
        return AutoModelForMaskedLM.from_pretrained(encoder_place(name), dtype=torch.float32)
    except (OSError, ValueError, KeyError) as error:
        says = f"transformers says: {str(error).strip().splitlines()[0]}"
        inner = Path(name, "model")
        raise invalid(
            "encoder",
            name,
            "'new', 'mini', or a folder or Hub name that AutoModelForMaskedLM loads",
            f"Did you mean {str(inner)!r}?" if inner.is_dir() else says,
        ) from error


def check_fit(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, length: int) -> None:
    """Refuse a tokenizer or a length that a model cannot take.

    Args:
        model: a model of hidden tokens.
        tokenizer: what it is to be trained with.
        length: tokens of the longest row.

    Raises:
        ValueError: if special tokens are missing, the tokenizer has more entries than the model, or
            rows are longer than its table of positions.

    Example:
        >>> from kexue.models import train_tokenizer
        >>> tokenizer = train_tokenizer(["a"] * 2, vocab_size=270)
        >>> check_fit(new_masked_lm(tokenizer, layers=1, width=64), tokenizer, length=4096)
    """
    for name in ("cls_token", "sep_token", "mask_token"):
        if getattr(tokenizer, name) is None:
            raise invalid("tokenizer", f"one without {name}", "one with [CLS], [SEP] and [MASK]")
    entries = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > entries:
        fix = "Give the tokenizer that the encoder was trained with."
        raise invalid("tokenizer", f"{len(tokenizer)} entries", f"at most {entries}", fix)
    longest = _longest_row(model.base_model)
    if length > longest:
        raise invalid("length", length, f"at most {longest}, the positions of the encoder")


def _longest_row(encoder: PreTrainedModel) -> int:
    """The longest input of an encoder; RoBERTa and its kin lose the places up to padding."""
    longest = getattr(encoder.config, "max_position_embeddings", None) or 10**9
    table = getattr(getattr(encoder, "embeddings", None), "position_embeddings", None)
    lost = getattr(table, "padding_idx", None)
    return longest - (0 if lost is None else lost + 1)
