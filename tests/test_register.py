import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kexue.tasks.ner import EntityRecognizer
from kexue.tasks.ner_model import EntitySettings, build


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    texts = ["他在北京工作。"] * 2
    model, tokenizer = build(
        EntitySettings(encoder="scratch", layers=1, width=64), texts, ["person", "place"]
    )
    path = tmp_path_factory.mktemp("model")
    EntityRecognizer(model, tokenizer).save_pretrained(path)
    return path


def run(code: str, folder: Path) -> str:
    source = str(Path(__file__).parents[1] / "src")
    prelude = f"import sys; sys.path.insert(0, {source!r}); folder = {str(folder)!r}\n"
    done = subprocess.run(
        [sys.executable, "-c", prelude + code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


ORDERS = {
    "kexue first": "import kexue\nfrom transformers import AutoConfig, AutoModel\n",
    "transformers first": "from transformers import AutoConfig, AutoModel\nimport kexue\n",
    "transformers untouched": "import transformers, kexue\nfrom transformers import AutoModel\n",
    "another class first": "import kexue\nfrom transformers import PreTrainedModel, AutoModel\n",
    "the trainer first": "import kexue\nfrom transformers import Trainer, AutoModel\n",
}


@pytest.mark.parametrize("order", ORDERS)
def test_auto_model_knows_our_models_in_whichever_order(order, folder):
    code = ORDERS[order] + "print(type(AutoModel.from_pretrained(folder)).__name__)"
    assert run(code, folder) == "EntityModel"


@pytest.mark.parametrize("first", ["", "PreTrainedModel, ", "BertModel, ", "pipeline, "])
def test_auto_config_alone_is_enough(first, folder):
    code = f"import kexue\nfrom transformers import {first}AutoConfig\n"
    assert run(code + "print(AutoConfig.from_pretrained(folder).head)", folder) == "efficient"


def test_without_us_auto_model_does_not_know_them(folder):
    code = "from transformers import AutoConfig\n"
    code += "try: AutoConfig.from_pretrained(folder)\nexcept ValueError: print('unknown')"
    assert run(code, folder) == "unknown"


def test_the_stock_pipeline_knows_our_task(folder):
    code = "import kexue\nfrom transformers import pipeline\n"
    code += "print(type(pipeline('span-extraction', model=folder)).__name__)"
    assert run(code, folder) == "EntityRecognitionPipeline"


def test_importing_the_package_imports_nothing_heavy():
    code = "import kexue; print({'torch', 'transformers', 'numpy', 'pydantic'} & set(sys.modules))"
    assert run(code, Path()) == "set()"
