import pytest

from kexue._check import invalid


def test_the_message_says_what_was_given_and_what_is_allowed():
    error = invalid("head", "crff", "'efficient' or 'crf'")
    assert isinstance(error, ValueError)
    assert str(error) == "head is 'crff'; allowed: 'efficient' or 'crf'."


def test_the_message_ends_with_the_way_out():
    error = invalid("dim", 3, "an even number", "Use 4.")
    assert str(error) == "dim is 3; allowed: an even number. Use 4."


@pytest.mark.parametrize(("length", "shortened"), [(198, False), (199, True), (10_000, True)])
def test_a_long_value_is_shortened(length, shortened):
    message = str(invalid("text", "x" * length, "less"))
    shown = message.removeprefix("text is ").removesuffix("; allowed: less.")
    assert len(shown) == 200
    assert shown.endswith("...") == shortened
