"""The only door to transformers: task models and encoders.

Importing this registers the models with the Auto classes.
"""

from transformers import AutoConfig, AutoModel

from kexue.models.encoder import KexueConfig, KexueModel
from kexue.models.entities import EntityConfig, EntityModel, EntityOutput, load_encoder
from kexue.models.scratch import scratch_encoder, scratch_tokenizer
from kexue.models.tokenizers import load_tokenizer

__all__ = [
    "EntityConfig",
    "EntityModel",
    "EntityOutput",
    "KexueConfig",
    "KexueModel",
    "load_encoder",
    "load_tokenizer",
    "scratch_encoder",
    "scratch_tokenizer",
]

for _config, _model in ((KexueConfig, KexueModel), (EntityConfig, EntityModel)):
    AutoConfig.register(_config.model_type, _config, exist_ok=True)
    AutoModel.register(_config, _model, exist_ok=True)
