import json
from dataclasses import replace

import pytest
from transformers import HfArgumentParser, TrainingArguments

from kexue.training.arguments import TaskTrainingArguments


def make(**options):
    return TaskTrainingArguments("run", use_cpu=True, **options)


def test_it_is_written_and_read_back(tmp_path):
    args = make(
        tokens_per_batch=512,
        length_jitter=0.2,
        learning_rate_multipliers={"head": 10.0, "crf": 100},
    )
    path = tmp_path / "arguments.json"
    path.write_text(args.to_json_string())
    written = json.loads(path.read_text())
    assert written["tokens_per_batch"] == 512
    assert written["learning_rate_multipliers"] == {"head": 10.0, "crf": 100}
    again = TaskTrainingArguments(**written)
    assert again.to_dict() == args.to_dict()


def test_a_command_line_can_give_everything():
    parser = HfArgumentParser(TaskTrainingArguments)
    (args,) = parser.parse_args_into_dataclasses(
        [
            *("--output_dir", "run", "--use_cpu", "--tokens_per_batch", "512"),
            *("--learning_rate_multipliers", '{"head": 10, "head.crf": 100}'),
        ]
    )
    assert args.tokens_per_batch == 512
    assert args.length_buckets
    assert args.learning_rate_multipliers == {"head": 10, "head.crf": 100.0}


def test_what_differs_from_the_stock_defaults_is_what_the_docstring_says():
    ours, stock = make().to_dict(), TrainingArguments("run", use_cpu=True).to_dict()
    differing = {name for name in stock if ours[name] != stock[name]}
    assert differing - {"logging_dir"} == {
        "per_device_train_batch_size",
        "warmup_steps",
        "weight_decay",
        "save_total_limit",
        "remove_unused_columns",
        "activation_checkpointing_kwargs",
        "gradient_checkpointing_kwargs",
    }
    assert make().get_warmup_steps(500) == 50


@pytest.mark.parametrize("given", [None, {"use_reentrant": True}, {"use_reentrant": False, "a": 1}])
def test_checkpointing_is_never_reentrant(given):
    args = make(activation_checkpointing=True, activation_checkpointing_kwargs=given)
    assert args.activation_checkpointing_kwargs["use_reentrant"] is False
    assert args.activation_checkpointing_kwargs.get("a") == (given or {}).get("a")
    assert replace(args).activation_checkpointing_kwargs == args.activation_checkpointing_kwargs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokens_per_batch": -5}, "tokens_per_batch is -5; allowed: 1 or more"),
        ({"tokens_per_batch": 5, "length_buckets": False}, "Drop tokens_per_batch"),
        ({"learning_rate_multipliers": {"head": True}}, "is True; allowed: a number from 0"),
        ({"learning_rate_multipliers": {"head": float("nan")}}, "is nan"),
        ({"learning_rate_multipliers": [3]}, r"is \[3\]; allowed: an object"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
