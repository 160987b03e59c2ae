"""The encoder that comes with the library, for machines that reach no model hub.

Its folder holds the weights, the tokenizer, and a card with the texts it learnt from, the figures
and the command that made it.
"""

from pathlib import Path

from transformers import PreTrainedTokenizerBase

from kexue.models.masked_lm import KexueForMaskedLM
from kexue.models.tokenizers import load_tokenizer

MINI = Path(__file__).resolve().parents[1] / "assets" / "mini"


def encoder_place(name: str) -> str:
    """Say where an encoder is loaded from.

    Args:
        name: "mini", the encoder that comes with the library; a folder, or the folder of a run that
            holds it as `model`; or a name on the Hub. A folder of that name is written "./mini".

    Returns:
        A folder or a name on the Hub.

    Example:
        >>> encoder_place("org/base"), Path(encoder_place("mini")).name
        ('org/base', 'mini')
    """
    if name == "mini":
        return str(MINI)
    inner = Path(name, "model")
    return str(inner) if (inner / "config.json").is_file() else name


def mini() -> tuple[KexueForMaskedLM, PreTrainedTokenizerBase]:
    """Load the encoder that comes with the library, with its head for hidden words.

    Returns:
        The model, in evaluation mode, whose `model` is the encoder alone; and its tokenizer.

    Example:
        >>> model, tokenizer = mini()
        >>> model.config.hidden_size
        256
    """
    model = KexueForMaskedLM.from_pretrained(MINI, local_files_only=True)
    return model.eval(), load_tokenizer(MINI, local=True)
