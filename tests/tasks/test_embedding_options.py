import json
import subprocess
import sys
from dataclasses import asdict

from kexue.tasks.embedding_options import EmbeddingOptions


def test_options_come_back_from_json():
    options = EmbeddingOptions("mini", pooling="P1", batch_size=3, normalize=True, dtype="float16")
    assert EmbeddingOptions(**json.loads(json.dumps(asdict(options)))) == options


def test_a_worker_on_vectors_loads_no_transformers():
    program = "import sys, kexue.tasks.file_moments; print('transformers' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False"]
