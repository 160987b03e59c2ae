"""What transformers prints by itself."""

from transformers.utils import logging


def quiet() -> None:
    """Switch off the progress bars and hints of transformers, for commands that show their own.

    Example:
        >>> quiet()
    """
    logging.disable_progress_bar()
    logging.set_verbosity_error()
