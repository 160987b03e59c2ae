"""`transformers.pipeline("span-extraction", model=folder)` for our folders."""

from collections.abc import Iterable
from typing import Any

from transformers import AutoModel, Pipeline
from transformers.pipelines import PIPELINE_REGISTRY

from kexue.tasks.ner import EntityRecognizer


class EntityRecognitionPipeline(Pipeline):
    """The stock pipeline interface around `EntityRecognizer`: long texts are windowed.

    Example:
        >>> EntityRecognitionPipeline.task
        'span-extraction'
    """

    task = "span-extraction"
    _load_processor = False
    _load_image_processor = False
    _load_feature_extractor = False
    _load_tokenizer = True

    def _sanitize_parameters(
        self, threshold: float | None = None, flat: bool | None = None
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        given = {"threshold": threshold, "flat": flat}
        return {}, {k: v for k, v in given.items() if v is not None}, {}

    def preprocess(self, text: str) -> dict[str, Any]:
        """Pass the text on; the recogniser cuts it into windows itself."""
        return {"text": text}

    def _forward(self, inputs: dict[str, Any], **options: Any) -> dict[str, Any]:
        recognizer = EntityRecognizer(self.model, self.tokenizer)
        return {"entities": recognizer([inputs["text"]], **options)[0]}

    def postprocess(self, outputs: dict[str, Any]) -> Iterable[dict[str, Any]]:
        """Give each entity as a dict with text, label, start, end and score."""
        return [entity.to_dict() for entity in outputs["entities"]]


if EntityRecognitionPipeline.task not in PIPELINE_REGISTRY.supported_tasks:
    PIPELINE_REGISTRY.register_pipeline(
        EntityRecognitionPipeline.task,
        pipeline_class=EntityRecognitionPipeline,
        pt_model=AutoModel,
        default=None,
        type="text",
    )
