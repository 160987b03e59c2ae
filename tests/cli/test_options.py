"""Values of --option as the Trainer takes them."""

import pytest

from kexue.cli.options import chosen_sizes, named_value


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("weight_decay=0.05", "weight_decay", 0.05),
        ("weight-decay=1", "weight_decay", 1),
        ("tf32=true", "tf32", True),
        ("lr_scheduler_type=cosine", "lr_scheduler_type", "cosine"),
        ('learning_rate_multipliers={"head": 10}', "learning_rate_multipliers", {"head": 10}),
        ("run_name=a=b", "run_name", "a=b"),
        ("run_name=", "run_name", ""),
    ],
)
def test_a_value_is_json_where_it_can_be(text, name, value):
    assert named_value(text) == (name, value)


@pytest.mark.parametrize("text", ["weight_decay", "=1", ""])
def test_what_has_no_name_or_value_is_refused(text):
    with pytest.raises(ValueError, match="allowed: NAME=VALUE"):
        named_value(text)


def test_sizes_that_were_not_given_are_left_to_the_task():
    sizes = {"layers": 2, "width": None}
    assert chosen_sizes(sizes, new=True, kind="new") == {"layers": 2}
    assert chosen_sizes({"layers": None, "width": None}, new=False, kind="new") == {}


def test_a_trained_encoder_keeps_its_size():
    with pytest.raises(ValueError, match=r"layers is 2.*add --encoder new"):
        chosen_sizes({"layers": 2, "width": None}, new=False, kind="new")
