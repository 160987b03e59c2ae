"""The learning rate that an encoder is fine-tuned with unless told otherwise."""

from transformers import AutoConfig

from kexue.models import KexueConfig, encoder_place


def default_learning_rate(encoder: str, *, of_kexue: float) -> float:
    """Give a learning rate that suits a trained encoder.

    Args:
        encoder: "mini", a folder or a Hub name.
        of_kexue: for an encoder that kexue pre-trained. Muon leaves weights several times as large
            as Adam does, so that they take larger steps.

    Returns:
        3e-5 for one as wide as BERT, more for a narrower and less for a wider one, up to 3e-4. It
        is the range that the paper of ELECTRA uses.

    Example:
        >>> default_learning_rate("mini", of_kexue=1e-3)
        0.001
    """
    try:
        config = AutoConfig.from_pretrained(encoder_place(encoder))
        config = getattr(config, "encoder_config", config)
        if isinstance(config, KexueConfig):
            return of_kexue
        width = config.hidden_size
    except (OSError, ValueError, KeyError, AttributeError):
        width = 768  # what loads the encoder says what is wrong with it
    return min(3e-4, 3e-5 * (768 / width) ** 2)
