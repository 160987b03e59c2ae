import json
from dataclasses import FrozenInstanceError

import pytest

from kexue.sentences.search_hit import SearchHit

HIT = SearchHit("今天天气好", 0.83212, 7)


def test_it_prints_its_score_and_its_text():
    assert str(HIT) == "0.8321 今天天气好"


def test_it_is_a_json_object():
    assert json.loads(json.dumps(HIT.to_dict())) == {
        "text": "今天天气好",
        "score": 0.83212,
        "id": 7,
    }


def test_it_does_not_change():
    with pytest.raises(FrozenInstanceError):
        HIT.score = 1.0
    assert SearchHit("今天天气好", 0.83212, 7) == HIT
