import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kexue.training.gather import gather_rows, own_rows, process_count

PROGRAM = """
import sys, types
import kexue
# The package itself would load transformers, which takes longer than all the rest.
light = types.ModuleType("kexue.training")
light.__path__ = [kexue.__path__[0] + "/training"]
sys.modules["kexue.training"] = light
import json, torch
import torch.distributed as dist
from datetime import timedelta
from kexue.training.gather import gather_rows, own_rows, process_count

rank, store = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2,
                        timeout=timedelta(seconds=60))
results = []
for counts in ([2, 3], [0, 5]):
    for dtype in (torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.bool):
        for shape in ((), (4,), (2, 3)):
            size = 5 * int(torch.tensor(shape).prod())
            whole = (torch.arange(size).reshape(5, *shape) % 7).to(dtype)
            rows = whole[own_rows(counts[rank])].clone()
            if dtype.is_floating_point:
                rows.requires_grad_()
            found = gather_rows(rows)
            results.append(len(rows) == counts[rank] and found.dtype == dtype
                           and torch.equal(found, whole) and not found.requires_grad)
# Rows that do not lie one after another in memory
turned = torch.arange(6.0).reshape(2, 3).T[: 1 + rank]
expected = torch.cat([torch.arange(6.0).reshape(2, 3).T[:n] for n in (1, 2)])
results.append(torch.equal(gather_rows(turned), expected))
results.append(process_count() == 2)
print("RESULT" + json.dumps(results), flush=True)
dist.barrier()
dist.destroy_process_group()
"""


def test_one_process_has_all_rows():
    rows = torch.rand(3, 2, requires_grad=True)
    gathered = gather_rows(rows)
    assert torch.equal(gathered, rows)
    assert not gathered.requires_grad
    assert own_rows(3) == slice(0, 3)
    assert process_count() == 1


@pytest.mark.slow
def test_two_processes_with_different_numbers_of_rows(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    source = Path(__file__).parents[2] / "src"
    search = os.pathsep.join(filter(None, [str(source), os.environ.get("PYTHONPATH")]))
    started = [
        subprocess.Popen(
            [sys.executable, str(program), str(rank), str(tmp_path / "store")],
            env={**os.environ, "PYTHONPATH": search, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=300) for process in started]
    for out, errors in outputs:
        # Not the exit status: gloo at times aborts while its threads end, after all is done.
        assert "RESULT" in out, errors[-3000:]
        results = json.loads(out.split("RESULT")[1].splitlines()[0])
        assert len(results) == 32
        assert all(results), results
