"""The run folder: complete, resumable to the step, never two runs in one."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer, TrainerCallback

import kexue
from kexue.data.records import DataError
from kexue.tasks.pretraining import PretrainingSettings, masked_scores
from kexue.tasks.pretraining_corpus import encode_corpus
from kexue.tasks.pretraining_run import check_options, run_pretraining
from kexue.tasks.pretraining_texts import PretrainingTexts
from kexue.training.log import read_metrics

SMALL = {"layers": 1, "width": 64, "length": 64, "tokens": 10_240, "tokens_per_step": 1024}
OPTIONS = {"logging_steps": 1, "save_steps": 3, "eval_steps": 5}


class Crash(Exception):  # noqa: N818
    """What happens to a run in the middle."""


class Stop(TrainerCallback):
    """Crash at a step."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **rest):
        if state.global_step == self.step:
            raise Crash


def texts_of(file, **options):
    return PretrainingTexts([file], **{"vocab_size": 500, "held_out": 10, **options})


def run(file, out, *, texts=None, settings=None, options=None, **rest):
    return run_pretraining(
        texts_of(file, **(texts or {})),
        out,
        settings=PretrainingSettings(**{**SMALL, **(settings or {})}),
        options={**OPTIONS, **(options or {})},
        **rest,
    )


def losses(out):
    """The lines of the log without what differs from run to run."""
    timeless = ("time", "eval_runtime", "train_runtime", "train_samples_per_second")
    timeless += ("train_steps_per_second", "train_loss")
    return [
        {name: value for name, value in line.items() if name not in timeless}
        for line in read_metrics(out / "metrics.jsonl")
    ]


@pytest.fixture(scope="module")
def finished(plain_file, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "first"
    told = []
    result = run(plain_file, out, float16=True, tell=told.append)
    return out, result, told


def test_the_folder_is_complete(finished, plain_file):
    out, result, told = finished
    assert {path.name for path in out.iterdir()} == {
        *("run.json", "tokenizer", "corpus", "checkpoints", "metrics.jsonl", "model"),
        "scores.json",
    }
    plan = json.loads((out / "run.json").read_text("utf-8"))
    assert plan["task"] == "pretrain"
    assert plan["settings"]["tokens"] == 10_240
    assert plan["options"]["save_steps"] == 3
    assert plan["options"]["learning_rate"] == 3e-3
    assert plan["options"]["weight_decay"] == 0.1
    (file,) = plan["data"]["files"]
    assert (file["name"], file["bytes"]) == (plain_file.name, plain_file.stat().st_size)
    assert plan["data"]["tokenizer"] == {"vocab_size": 500, "characters": 5500}
    assert plan["versions"]["torch"] == torch.__version__
    evaluated = [line["step"] for line in losses(out) if "eval_accuracy" in line]
    assert evaluated == [5, 10]
    scores = json.loads((out / "scores.json").read_text("utf-8"))
    assert scores == result.to_dict()
    assert scores["accuracy"] == result.accuracy
    assert told[0] == "learning the tokenizer"
    assert re.fullmatch(r"texts: [\d.]+k tokens, and [\d.]+k held out", told[-1])


def test_the_model_is_the_one_that_was_measured(finished, plain_file, tmp_path):
    out, result, _ = finished
    model = AutoModelForMaskedLM.from_pretrained(out / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(out / "model")
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, result.model.state_dict()[name]), name
    _, dev = encode_corpus([plain_file], tokenizer, tmp_path, held_out=10)
    found = masked_scores(model, dev, tokenizer, settings=PretrainingSettings(**SMALL))
    assert found == {"accuracy": result.accuracy, "loss": result.loss}
    encoder = AutoModel.from_pretrained(out / "model").eval()
    ids = torch.tensor([tokenizer("在北京 in Beijing")["input_ids"]])
    assert torch.equal(encoder(ids)[0], model.base_model(ids)[0])


def test_half_precision_is_half_the_file_and_loads_in_single_precision(
    finished, plain_file, tmp_path
):
    out, result, _ = finished
    weights = load_file(out / "model" / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float16}
    assert (
        out / "model" / "model.safetensors"
    ).stat().st_size < 2.1 * result.model.num_parameters()
    assert AutoModel.from_pretrained(out / "model").dtype == torch.float32
    assert "saved as float16" in (out / "model" / "README.md").read_text("utf-8")
    # The same run with whole weights: float16 changes what is saved, not what is trained.
    whole = run(plain_file, tmp_path / "whole")
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight.half().float(), result.model.state_dict()[name]), name
    saved = load_file(tmp_path / "whole" / "model" / "model.safetensors")
    assert {weight.dtype for weight in saved.values()} == {torch.float32}


def test_the_card_tells_what_was_done(finished, plain_file):
    out, result, _ = finished
    card = (out / "model" / "README.md").read_text("utf-8")
    assert "# Encoder: first" in card
    assert f"**{100 * result.accuracy:.2f} %**" in card
    assert "| 10,240 |" in card
    assert "| steps | 10 of 1,024 tokens |" in card
    assert f"| parameters | {result.model.num_parameters():,}, saved as float16 |" in card
    assert plain_file.name in card
    assert str(plain_file.parent) not in card


def test_the_code_of_the_card_runs(finished, capsys):
    out, _, _ = finished
    card = (out / "model" / "README.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    names = {}
    exec(code.replace("path/to/this/folder", str(out / "model")), names)
    assert names["encoder"].config.model_type == "kexue"
    printed = capsys.readouterr().out.strip()
    assert printed in names["tokenizer"].get_vocab()


def test_an_interrupted_run_ends_as_an_unbroken_one(finished, plain_file, tmp_path):
    out, whole, _ = finished
    broken = tmp_path / "broken"
    for stop in (4, 8):
        with pytest.raises(Crash):
            run(plain_file, broken, float16=True, callbacks=[Stop(stop)], resume=stop > 4)
        assert not (broken / "model").exists()
    told = []
    # Steps before the checkpoint are not taken again.
    result = run(
        plain_file, broken, float16=True, resume=True, callbacks=[Stop(6)], tell=told.append
    )
    assert "learning the tokenizer" not in told
    assert losses(broken) == losses(out)
    assert result.accuracy == whole.accuracy
    one, other = (load_file(p / "model" / "model.safetensors") for p in (out, broken))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert (out / "model" / "tokenizer.json").read_bytes() == (
        broken / "model" / "tokenizer.json"
    ).read_bytes()


def test_a_finished_run_resumed_trains_no_more_and_says_the_same(finished, plain_file, tmp_path):
    out, first, _ = finished
    before = {p.name: p.read_bytes() for p in (out / "model").iterdir() if p.name != "README.md"}
    again = run(plain_file, out, float16=True, resume=True)
    assert (again.accuracy, again.loss) == (first.accuracy, first.loss)
    assert before == {
        p.name: p.read_bytes() for p in (out / "model").iterdir() if p.name != "README.md"
    }


def test_another_run_is_refused_and_nothing_is_touched(finished, plain_file, tmp_path):
    out, _, _ = finished
    before = (out / "run.json").read_bytes()
    with pytest.raises(ValueError, match="Add --resume"):
        run(plain_file, out)
    further = r"has other settings; .* begin a run with --encoder .*first/model\.$"
    with pytest.raises(ValueError, match=further):
        run(plain_file, out, settings={"tokens": 20_480}, resume=True)
    with pytest.raises(ValueError, match="has other options;"):
        run(plain_file, out, options={"seed": 7}, resume=True)
    with pytest.raises(ValueError, match="has other data;"):
        run(plain_file, out, texts={"vocab_size": 499}, resume=True)
    with pytest.raises(ValueError, match="has other data;"):
        run(plain_file, out, texts={"held_out": 11}, resume=True)
    other = tmp_path / plain_file.name
    other.write_bytes(plain_file.read_bytes() + b" ")
    with pytest.raises(ValueError, match="has other data;"):
        run(other, out, resume=True)
    assert (out / "run.json").read_bytes() == before


def test_a_file_may_move_while_a_run_is_interrupted(plain_file, tmp_path):
    with pytest.raises(Crash):
        run(plain_file, tmp_path / "r", callbacks=[Stop(4)])
    moved = tmp_path / "elsewhere" / plain_file.name
    moved.parent.mkdir()
    moved.write_bytes(plain_file.read_bytes())
    assert run(moved, tmp_path / "r", resume=True).rounds > 0


def test_what_fails_before_training_leaves_no_run(plain_texts, tmp_path):
    lines = [json.dumps({"text": text}) for text in plain_texts]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join([*lines, "{"]))
    with pytest.raises(DataError, match=r"a\.jsonl:301: not JSON"):
        run(path, tmp_path / "r")
    assert not (tmp_path / "r" / "run.json").exists()
    # No --resume is needed to try again, with the line left out or mended.
    told = []
    result = run(path, tmp_path / "r", texts={"skip_bad": True}, tell=told.append)
    assert len(result.skipped) == 1
    assert any(line.startswith("left out: 1 broken lines, the first: ") for line in told)
    assert "| broken lines left out | 1 |" in (tmp_path / "r" / "model" / "README.md").read_text()


def test_a_trained_encoder_learns_further(finished, plain_file, tmp_path):
    out, first, _ = finished
    model = str(out / "model")
    result = run(plain_file, tmp_path / "r", settings={"encoder": model})
    assert result.loss < first.loss
    assert result.tokenizer.get_vocab() == first.tokenizer.get_vocab()
    plan = json.loads((tmp_path / "r" / "run.json").read_text("utf-8"))
    assert plan["options"]["learning_rate"] == pytest.approx(3e-4)
    assert set(plan["data"]["tokenizer"]) == {"sha256"}
    card = (tmp_path / "r" / "model" / "README.md").read_text("utf-8")
    assert "| began with | model |" in card
    assert "base_model" not in card


def test_a_new_encoder_with_a_given_tokenizer(finished, plain_file, tmp_path):
    out, first, _ = finished
    told = []
    folder = str(out / "tokenizer")
    result = run(plain_file, tmp_path / "r", texts={"tokenizer": folder}, tell=told.append)
    assert "learning the tokenizer" not in told
    # The same tokenizer, settings and texts: the same encoder.
    assert result.model.state_dict().keys() == first.model.state_dict().keys()
    assert all(
        torch.equal(weight.half().float(), first.model.state_dict()[name])
        for name, weight in result.model.state_dict().items()
    )


def test_what_does_not_go_together_is_said_before_the_texts_are_read(finished, tmp_path):
    out, _, _ = finished
    path = tmp_path / "a.jsonl"
    path.write_text("broken")
    folder = str(out / "tokenizer")
    with pytest.raises(ValueError, match=r"encoder is './none'"):
        run(path, tmp_path / "r", texts={"tokenizer": folder}, settings={"encoder": "./none"})
    assert not (tmp_path / "r").exists()


def test_texts_shorter_than_a_row_are_refused(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("\n\n".join("ab"))
    with pytest.raises(ValueError, match="allowed: at least a row of 64"):
        run(path, tmp_path / "r", texts={"held_out": 2})
    assert not (tmp_path / "r" / "run.json").exists()


@pytest.mark.parametrize(
    ("option", "setting"),
    [
        ({"max_steps": 3}, "tokens"),
        ({"per_device_train_batch_size": 3}, "tokens_per_step"),
        ({"lr_scheduler_type": "linear"}, "decay"),
        ({"output_dir": "x"}, "out"),
    ],
)
def test_options_that_the_settings_decide_are_refused(option, setting):
    with pytest.raises(ValueError, match=f"Use {setting}\\.$"):
        check_options(option)


PROGRAM = """
import sys
from kexue.models.messages import quiet
from kexue.tasks.pretraining import PretrainingSettings
from kexue.tasks.pretraining_run import run_pretraining
from kexue.tasks.pretraining_texts import PretrainingTexts

quiet()
run_pretraining(
    PretrainingTexts([sys.argv[1]], vocab_size=500, held_out=10),
    sys.argv[2],
    settings=PretrainingSettings(layers=1, width=64, length=64, tokens=10240, tokens_per_step=1024),
    options={"logging_steps": 1, "save_steps": 3, "eval_steps": 5, "use_cpu": True},
)
"""


@pytest.mark.slow
def test_two_processes_make_one_run(plain_file, tmp_path):
    """Each takes half of a step; the tokenizer is learnt and the texts are encoded once."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    path = os.pathsep.join(
        filter(None, [str(Path(kexue.__file__).parents[1]), os.environ.get("PYTHONPATH")])
    )
    subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", str(program), str(plain_file), str(tmp_path / "two")),
        ],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        timeout=300,
        check=False,
    )
    # Two accumulated batches draw what two processes draw.
    one = run(plain_file, tmp_path / "one", options={"gradient_accumulation_steps": 2})
    two = AutoModelForMaskedLM.from_pretrained(tmp_path / "two" / "model")
    for name, weight in two.state_dict().items():
        torch.testing.assert_close(weight, one.model.state_dict()[name], rtol=1e-3, atol=1e-4)
    logs = [
        [line["loss"] for line in losses(tmp_path / name) if "loss" in line]
        for name in ("one", "two")
    ]
    assert logs[0] == pytest.approx(logs[1], rel=1e-3)
