"""A training run as a folder: what was asked for, what happened, the model, its figures.

run.json        settings, training arguments, data, versions: everything resolved
metrics.jsonl   a line for each log and evaluation
checkpoints/    what an interrupted run goes on from
model/          the recogniser: the folder to send on
scores.json     figures on the development set
report.html     one self-contained page
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from kexue.data.records import Corpus
from kexue.tasks.ner_data import LabelledText, hold_out, labelled
from kexue.tasks.ner_model import SCRATCH, EntitySettings
from kexue.tasks.ner_training import EntityRun, train_entities
from kexue.tasks.run_folder import (
    as_json,
    hub_name,
    point_to_resume,
    run_arguments,
    versions,
    write_plan,
)
from kexue.training.atomic import write_atomically
from kexue.training.card import EntityCard, write_card
from kexue.training.log import MetricsLog, read_metrics
from kexue.training.mistakes import worst_mistakes
from kexue.training.report import RunReport, write_report

# Evaluated, saved and compared by F1 at every epoch.
_USUAL = {
    "eval_strategy": "epoch",
    "save_strategy": "epoch",
    # Fifty points of the loss curve, however long the run.
    "logging_steps": 0.02,
    "load_best_model_at_end": True,
    "metric_for_best_model": "f1",
    "greater_is_better": True,
}


def run_entities(
    train: Corpus,
    dev: Corpus | None,
    folder: str | Path,
    *,
    settings: EntitySettings,
    options: dict[str, Any],
    dev_fraction: float = 0.1,
    resume: bool = False,
    callbacks: Sequence[TrainerCallback] = (),
) -> EntityRun:
    """Train an entity recogniser into a run folder.

    Args:
        train: training records.
        dev: development records; None holds out a part of the training records.
        folder: where the run goes.
        settings: what is trained.
        options: fields of `TaskTrainingArguments` other than folders and strategies.
        dev_fraction: share to hold out where `dev` is None.
        resume: go on from the last whole checkpoint in the folder.
        callbacks: for progress.

    Returns:
        The finished run.

    Raises:
        ValueError: if the folder holds a run and `resume` is False, or it holds another run.
    """
    out = Path(folder)
    if dev is None:
        texts, held = hold_out(labelled(train.records), dev_fraction)
    else:
        texts, held = labelled(train.records), labelled(dev.records)
    args = run_arguments(out, options, usual=_USUAL)
    plan = _plan(train, dev, texts, held, settings, options)
    checkpoint = point_to_resume(out, plan, resume=resume)
    log = MetricsLog(path=out / "metrics.jsonl")
    run = train_entities(
        texts,
        held,
        settings=settings,
        args=args,
        callbacks=[*callbacks, log],
        checkpoint=checkpoint,
        begin=lambda: write_plan(out, plan, args),
    )
    if args.should_save:
        _write(out, run, plan, texts, held)
    return run


def _plan(
    train: Corpus,
    dev: Corpus | None,
    texts: Sequence[LabelledText],
    held: Sequence[LabelledText],
    settings: EntitySettings,
    options: dict[str, Any],
) -> dict[str, Any]:
    """Everything that decides the outcome, as JSON."""

    def fingerprint(part: Sequence[LabelledText]) -> str:
        return sha256(json.dumps(part, ensure_ascii=True).encode()).hexdigest()[:16]

    return {
        "task": "ner",
        "settings": asdict(settings),
        "options": options,
        "data": {
            "train": {"path": str(train.path), "texts": len(texts), "sha256": fingerprint(texts)},
            "dev": {
                "path": None if dev is None else str(dev.path),
                "texts": len(held),
                "sha256": fingerprint(held),
            },
        },
        "versions": versions(),
    }


def _write(
    out: Path,
    run: EntityRun,
    plan: dict[str, Any],
    train: Sequence[LabelledText],
    dev: Sequence[LabelledText],
) -> None:
    """Write model, card, figures and report; the model last, so that it is there only if all is."""
    config = run.recognizer.model.config
    thresholds = dict(zip(config.labels, config.thresholds or [], strict=False))
    facts = _facts(run, plan)
    title = f"Entities: {out.resolve().name}"
    write_atomically(out / "scores.json", as_json(_scores(run)))
    predicted = [
        [
            (start, end, label, run.recognizer.probability(score))
            for start, end, label, score in spans
        ]
        for spans in run.predicted
    ]
    report = RunReport(
        title,
        created=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        facts=facts,
        metrics=read_metrics(out / "metrics.jsonl"),
        scores=run.scores,
        thresholds=thresholds,
        mistakes=worst_mistakes([text for text, _ in dev], [spans for _, spans in dev], predicted),
    )
    write_report(report, out / "report.html")
    card = EntityCard(
        title,
        labels=config.labels,
        head=config.head,
        window=config.window,
        overlap=config.overlap,
        scores=run.scores,
        thresholds=thresholds,
        facts=facts,
        example=next((text for text, spans in dev if spans and len(text) < 100), train[0][0]),
        base_model=hub_name(plan["settings"]["encoder"], made_here=(*SCRATCH, "mini")),
        dataset=_measured_on(plan["data"]),
    )
    run.recognizer.save_pretrained(out / "model")
    write_card(out / "model", card)


def _measured_on(data: dict[str, Any]) -> str:
    if data["dev"]["path"] is not None:
        return Path(data["dev"]["path"]).stem
    return f"a held-out part of {Path(data['train']['path']).stem}"


def _facts(run: EntityRun, plan: dict[str, Any]) -> dict[str, str]:
    settings, data = plan["settings"], plan["data"]
    facts = {
        "encoder": Path(settings["encoder"]).name,
        "head": settings["head"],
        "parameters": f"{run.recognizer.model.num_parameters():,}",
        "training texts": f"{data['train']['texts']:,} in {run.windows:,} windows",
        "development texts": f"{data['dev']['texts']:,}",
        "training time": f"{run.seconds:.0f} s",
    }
    for name, missed in run.unlearnable.items():
        if missed:
            facts[f"not representable ({name})"] = f"{len(missed):,} entities, counted as missed"
    if run.calibrated is not None:
        # Chosen on one half of the development set and measured on the other, both ways.
        facts["F1 with thresholds"] = f"{100 * run.calibrated.f1:.2f}, cross-fitted"
    return facts


def _scores(run: EntityRun) -> dict[str, Any]:
    return {
        "threshold 0.5": run.scores.to_dict(),
        "thresholds of the other half": run.calibrated and run.calibrated.to_dict(),
        "labels": run.scores.table(),
        "unlearnable": {
            name: [asdict(entity) for entity in missed] for name, missed in run.unlearnable.items()
        },
        "seconds": run.seconds,
    }
