"""A training of sentence vectors as a folder: what was asked for, what happened, the model.

run.json        settings, training arguments, data, versions: everything resolved
metrics.jsonl   a line for each log and evaluation
checkpoints/    what an interrupted run goes on from
model/          the sentence encoder: the folder to send on
scores.json     figures before and after
report.html     one self-contained page with the curves
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from kexue.tasks.embedding_data import TextGroup
from kexue.tasks.embedding_training import EmbeddingRun, EmbeddingSettings, train_embeddings
from kexue.tasks.run_folder import (
    as_json,
    hub_name,
    point_to_resume,
    run_arguments,
    versions,
    whole_folder,
    write_plan,
)
from kexue.training.atomic import write_atomically
from kexue.training.log import MetricsLog, read_metrics
from kexue.training.report import RunReport, write_report
from kexue.training.sentence_card import SentenceCard, write_sentence_card

_BYOL_DECAY = 0.99


def run_embeddings(
    train: Sequence[TextGroup],
    dev: Sequence[TextGroup],
    folder: str | Path,
    *,
    settings: EmbeddingSettings,
    options: Mapping[str, Any],
    sources: Mapping[str, str],
    resume: bool = False,
    callbacks: Sequence[TrainerCallback] = (),
) -> EmbeddingRun:
    """Train a sentence encoder into a run folder.

    Args:
        train: texts, pairs, or pairs with labels.
        dev: pairs with labels to choose by; or none.
        folder: where the run goes.
        settings: what is trained.
        options: fields of `TaskTrainingArguments` other than folders and strategies.
        sources: where "train" and "dev" come from.
        resume: go on from the last whole checkpoint in the folder.
        callbacks: for progress.

    Returns:
        The finished run.

    Raises:
        ValueError: if the folder holds a run and `resume` is False, it holds another run, or the
            data do not suit the objective.
    """
    out = Path(folder)
    args = run_arguments(out, options, usual=_usual(settings, chosen=bool(dev)))
    plan = {
        "task": "embedding",
        "settings": asdict(settings),
        "options": dict(options),
        "data": {
            name: {"path": sources.get(name), "groups": len(part), "sha256": _fingerprint(part)}
            for name, part in (("train", train), ("dev", dev))
        },
        "versions": versions(),
    }
    checkpoint = point_to_resume(out, plan, resume=resume)
    run = train_embeddings(
        train,
        dev,
        settings=settings,
        args=args,
        callbacks=[*callbacks, MetricsLog(path=out / "metrics.jsonl")],
        checkpoint=checkpoint,
        begin=lambda: write_plan(out, plan, args),
    )
    if args.should_save:
        _write(out, run, plan)
    return run


def _usual(settings: EmbeddingSettings, *, chosen: bool) -> dict[str, Any]:
    """The arguments that the task chooses where the user does not."""
    usual: dict[str, Any] = {
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "logging_steps": 0.02,
        "length_buckets": False,
    }
    if chosen:
        usual |= {
            "load_best_model_at_end": True,
            "metric_for_best_model": "spearman",
            "greater_is_better": True,
        }
    if settings.objective == "byol":
        usual["average_decay"] = _BYOL_DECAY
    return usual


def _fingerprint(groups: Sequence[TextGroup]) -> str:
    rows = [[*group.texts, group.label] for group in groups]
    return sha256(json.dumps(rows, ensure_ascii=True).encode()).hexdigest()[:16]


def _write(out: Path, run: EmbeddingRun, plan: Mapping[str, Any]) -> None:
    """Write model, card, figures and report; the model last, so that it is there only if all is."""
    settings, data = plan["settings"], plan["data"]
    facts = {
        "encoder": Path(settings["encoder"]).name,
        "objective": settings["objective"],
        "parameters": f"{run.encoder.model.num_parameters():,}",
        "training examples": f"{data['train']['groups']:,}",
        "development pairs": f"{data['dev']['groups']:,}",
        "training time": f"{run.seconds:.0f} s",
    }
    if run.longer:
        facts["longer than the window"] = f"{run.longer:,} training texts, beginning alone seen"
    figures = {"before": run.before, "after": run.after, "longer": run.longer}
    write_atomically(out / "scores.json", as_json({**figures, "seconds": run.seconds}))
    title = f"Sentences: {out.resolve().name}"
    shown = {
        f"{name}, {when}": f"{value:.4f}"
        for when, values in (("before", run.before), ("after", run.after))
        for name, value in values.items()
    }
    report = RunReport(
        title,
        created=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        facts={**facts, **shown},
        metrics=read_metrics(out / "metrics.jsonl"),
    )
    write_report(report, out / "report.html")
    config, measured = run.encoder.model.config, data["dev"]["path"]
    card = SentenceCard(
        title,
        dimension=config.dimension,
        pooling=config.pooling,
        window=config.window,
        before=run.before,
        after=run.after,
        facts=facts,
        base_model=hub_name(settings["encoder"], made_here=["mini"]),
        dataset=None if measured is None else Path(measured).stem,
    )
    with whole_folder(out / "model") as fresh:
        run.encoder.save_pretrained(fresh)
        write_sentence_card(fresh, card)
