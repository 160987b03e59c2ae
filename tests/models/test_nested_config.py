from transformers import BertConfig

from kexue.models import KexueConfig
from kexue.models.nested_config import encoder_config_of, without_place


def test_what_was_saved_is_read_back():
    for config in (BertConfig(hidden_size=96), KexueConfig(vocab_size=9, hidden_size=32)):
        again = encoder_config_of(config.to_dict())
        assert type(again) is type(config)
        assert again.hidden_size == config.hidden_size
        assert encoder_config_of(config) is config
    assert encoder_config_of(None) is None


def test_the_place_of_the_encoder_alone_is_taken_off():
    saved = {"_name_or_path": "a", "encoder_config": {"_name_or_path": "b", "hidden_size": 3}}
    assert without_place(saved) == {"_name_or_path": "a", "encoder_config": {"hidden_size": 3}}
    assert without_place({"encoder_config": None}) == {"encoder_config": None}
