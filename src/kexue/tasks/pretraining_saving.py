"""What is left of a pre-training: figures, and a folder with the model and its card."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from kexue.tasks.run_folder import as_json, hub_name, whole_folder
from kexue.training.atomic import write_atomically
from kexue.training.log import read_metrics
from kexue.training.pretraining_card import PretrainingCard, write_pretraining_card


@dataclass(frozen=True)
class PretrainingRun:
    """A finished pre-training.

    Args:
        model: encoder and head, as they are saved.
        tokenizer: what goes with them.
        accuracy: share of the hidden tokens of held-out texts that are named right.
        loss: their mean cross-entropy.
        rounds: how often the texts were gone through.
        seconds: how long this process trained.
        skipped: broken lines that were left out when the texts were encoded.

    Example:
        >>> from kexue.models import KexueConfig, KexueForMaskedLM, train_tokenizer
        >>> model = KexueForMaskedLM(KexueConfig(vocab_size=9, num_hidden_layers=1))
        >>> tokenizer = train_tokenizer(["a"] * 2, vocab_size=270)
        >>> PretrainingRun(model, tokenizer, 0.5, 2.5, 1.0, 60.0, ()).to_dict()["accuracy"]
        0.5
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    accuracy: float
    loss: float
    rounds: float
    seconds: float
    skipped: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Give the figures as a JSON object.

        Returns:
            A new dict.
        """
        return {
            "accuracy": self.accuracy,
            "loss": self.loss,
            "parameters": self.model.num_parameters(),
            "rounds": self.rounds,
            "seconds": self.seconds,
            "skipped": len(self.skipped),
        }


@torch.no_grad()
def round_weights(model: nn.Module) -> None:
    """Round the weights to half precision, so that what is measured is what is saved.

    Args:
        model: changed in place; its weights stay in the precision they are in.

    Example:
        >>> model = torch.nn.Linear(1, 1)
        >>> round_weights(model)
        >>> bool((model.weight == model.weight.half()).all())
        True
    """
    for weight in model.state_dict().values():
        if weight.is_floating_point():
            weight.copy_(weight.half())


def _halves(model: nn.Module) -> dict[str, Tensor]:
    """Give the weights in half precision; tied ones stay one tensor and are saved once."""
    halves: dict[int, Tensor] = {}
    return {
        name: halves.setdefault(weight.data_ptr(), weight.half())
        if weight.is_floating_point()
        else weight
        for name, weight in model.state_dict().items()
    }


def save_run(
    folder: str | Path,
    run: PretrainingRun,
    *,
    plan: Mapping[str, Any],
    sizes: Mapping[str, int],
    float16: bool,
) -> None:
    """Write figures, model and card; the model last, so that it is there only if all is.

    Args:
        folder: the run folder, with `metrics.jsonl`.
        run: what came out.
        plan: what `run.json` holds.
        sizes: numbers of tokens by name, for the card.
        float16: save the weights in half precision.
    """
    out = Path(folder)
    write_atomically(out / "scores.json", as_json(run.to_dict()))
    settings = plan["settings"]
    card = PretrainingCard(
        f"Encoder: {out.resolve().name}",
        plan["data"]["files"],
        read_metrics(out / "metrics.jsonl"),
        settings["tokens_per_step"],
        accuracy=run.accuracy,
        loss=run.loss,
        facts=_facts(run, plan, sizes, float16),
        base_model=hub_name(settings["encoder"], made_here=["new", "mini"]),
    )
    with whole_folder(out / "model") as fresh:
        # The configuration says float32: stored in half the space, it is loaded as it was trained.
        run.model.save_pretrained(fresh, state_dict=_halves(run.model) if float16 else None)
        run.tokenizer.save_pretrained(fresh)
        write_pretraining_card(fresh, card)


def _facts(
    run: PretrainingRun, plan: Mapping[str, Any], sizes: Mapping[str, int], float16: bool
) -> dict[str, str]:
    settings, options = plan["settings"], plan["options"]
    steps = settings["tokens"] // settings["tokens_per_step"]
    facts = {
        "began with": "random weights"
        if settings["encoder"] == "new"
        else Path(settings["encoder"]).name,
        "parameters": f"{run.model.num_parameters():,}, saved as "
        + ("float16" if float16 else "float32"),
        "entries of the vocabulary": f"{len(run.tokenizer):,}",
        **{name: f"{count:,}" for name, count in sizes.items()},
        "tokens seen": f"{steps * settings['tokens_per_step']:,} ({run.rounds:.2f} rounds)",
        "steps": f"{steps:,} of {settings['tokens_per_step']:,} tokens",
        "rows": f"32 to {settings['length']} tokens, without padding",
        "hidden": f"{settings['share']:g} of the words, in runs of {settings['run']:g} on average",
        "optimizer": f"{settings['optimizer']}, weight decay {options['weight_decay']:g}",
        "learning rate": f"{options['learning_rate']:g}, falling over the last "
        f"{settings['decay']:g} of the steps",
        "precision in training": "bfloat16" if options.get("bf16") else "float32",
        "seed": str(options.get("seed", 42)),
    }
    if run.skipped:
        facts["broken lines left out"] = f"{len(run.skipped):,}"
    return facts
