"""The tokenizer of a folder or a Hub name, and a readable error where there is none."""

from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from kexue._check import invalid


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
