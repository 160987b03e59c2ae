"""The only door to transformers: task models and encoders.

Importing this registers the models with the Auto classes.
"""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
)

from kexue.models.classifier import ClassifierConfig, ClassifierModel, ClassifierOutput
from kexue.models.config import KexueConfig
from kexue.models.convert import convert, from_tensorflow
from kexue.models.encoder import KexueModel
from kexue.models.encoder_loading import choose_dropout, load_encoder, longest_input
from kexue.models.entities import EntityConfig, EntityModel, EntityOutput
from kexue.models.lengthen import lengthen_positions, restore_positions
from kexue.models.log_n import apply_log_n, check_log_n, remove_log_n
from kexue.models.masked_lm import KexueForMaskedLM
from kexue.models.mini import encoder_place, mini
from kexue.models.ntk import register_ntk
from kexue.models.rerope import apply_rerope, remove_rerope
from kexue.models.rerope_cache import rerope_cache
from kexue.models.rerope_check import check_rerope
from kexue.models.scratch import scratch_encoder, scratch_tokenizer
from kexue.models.sentences import SentenceConfig, SentenceModel, SentenceOutput
from kexue.models.staging import stage_encoder
from kexue.models.tokenizers import load_tokenizer
from kexue.models.vocabulary import train_tokenizer

__all__ = [
    "ClassifierConfig",
    "ClassifierModel",
    "ClassifierOutput",
    "EntityConfig",
    "EntityModel",
    "EntityOutput",
    "KexueConfig",
    "KexueForMaskedLM",
    "KexueModel",
    "SentenceConfig",
    "SentenceModel",
    "SentenceOutput",
    "apply_log_n",
    "apply_rerope",
    "check_log_n",
    "check_rerope",
    "choose_dropout",
    "convert",
    "encoder_place",
    "from_tensorflow",
    "lengthen_positions",
    "load_encoder",
    "load_tokenizer",
    "longest_input",
    "mini",
    "register_ntk",
    "remove_log_n",
    "remove_rerope",
    "rerope_cache",
    "restore_positions",
    "scratch_encoder",
    "scratch_tokenizer",
    "stage_encoder",
    "train_tokenizer",
]

for _config, _model in (
    (KexueConfig, KexueModel),
    (EntityConfig, EntityModel),
    (SentenceConfig, SentenceModel),
    (ClassifierConfig, ClassifierModel),
):
    AutoConfig.register(_config.model_type, _config, exist_ok=True)
    AutoModel.register(_config, _model, exist_ok=True)
AutoModelForMaskedLM.register(KexueConfig, KexueForMaskedLM, exist_ok=True)
AutoModelForSequenceClassification.register(ClassifierConfig, ClassifierModel, exist_ok=True)
register_ntk()
