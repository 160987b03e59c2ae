from transformers.utils import logging

from kexue.models.messages import quiet


def test_hints_are_off_and_errors_are_not():
    before = logging.get_verbosity()
    try:
        quiet()
        assert not logging.is_progress_bar_enabled()
        assert logging.get_verbosity() == logging.ERROR
    finally:
        logging.set_verbosity(before)
        logging.enable_progress_bar()
