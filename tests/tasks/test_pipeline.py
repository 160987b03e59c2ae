from transformers import pipeline

from kexue.tasks.ner import EntityRecognizer
from kexue.tasks.pipeline import EntityRecognitionPipeline

TEXT = "王小明在北京工作。"


def test_the_stock_interface_gives_what_the_recogniser_gives(trained_folder):
    find = pipeline("span-extraction", model=str(trained_folder))
    assert isinstance(find, EntityRecognitionPipeline)
    ours = EntityRecognizer.from_pretrained(trained_folder)
    expected = [entity.to_dict() for entity in ours([TEXT])[0]]
    assert find(TEXT) == expected
    assert find([TEXT, TEXT]) == [expected, expected]
    flat = [entity.to_dict() for entity in ours([TEXT], flat=True)[0]]
    assert find(TEXT, flat=True) == flat
    assert find(TEXT, threshold=0.999999) == []
