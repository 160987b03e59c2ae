import os
from pathlib import Path

import pytest
import torch

from kexue.cli import machine
from kexue.cli.machine import device_checks, environment_checks, head_check, space_checks


def test_threads_are_those_of_torch():
    found = {check.name: check.value for check in device_checks()}
    assert found["threads"] == f"{torch.get_num_threads()} of {os.cpu_count()} cores"
    assert torch.backends.cpu.get_cpu_capability() in found["cpu"]


def test_every_gpu_has_a_line(monkeypatch):
    class Properties:
        name = "H200"
        total_memory = 139 * 2**30

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: Properties)
    found = {check.name: check.value for check in device_checks()}
    assert found["cuda:0"] == found["cuda:1"] == "H200, 139.0 GB"


@pytest.mark.parametrize(
    ("flags", "answer"),
    [
        ("avx512f avx512_bf16", "in hardware"),
        ("amx_bf16 avx2", "in hardware"),
        ("avx2", "works, not faster"),
        (None, "works, not faster"),
    ],
)
def test_bfloat16_is_read_from_the_flags_of_the_cpu(tmp_path, monkeypatch, flags, answer):
    file = tmp_path / "cpuinfo"
    if flags is not None:
        file.write_text(f"flags : {flags}\n", encoding="utf-8")
    monkeypatch.setattr(machine, "Path", lambda name: file)
    assert machine._bfloat16(cuda=False) == answer


def test_bfloat16_of_a_gpu_is_not_an_emulation(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert machine._bfloat16(cuda=True) == "slow"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert machine._bfloat16(cuda=True) == "in hardware"


def test_offline_settings_are_shown():
    found = {c.name: c.value for c in environment_checks({"HF_ENDPOINT": "https://a.example"})}
    assert found["HF_ENDPOINT"] == "https://a.example"
    assert found["HF_HUB_OFFLINE"] == found["HF_HOME"] == "not set"


def test_little_room_is_a_note(monkeypatch):
    monkeypatch.setattr(machine, "_free_memory", lambda: 2**30)
    disk, memory = space_checks(Path("."))
    assert disk.value.endswith(" GB")
    assert (memory.value, memory.state) == ("1.0 GB", "note")


def test_memory_of_an_unknown_system_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "Path", lambda name: tmp_path / "absent")
    assert machine._free_memory() is None
    assert space_checks(tmp_path)[1].value == "unknown"


def test_memory_is_read_in_bytes(tmp_path, monkeypatch):
    file = tmp_path / "meminfo"
    file.write_text("MemTotal: 100 kB\nMemAvailable:    64 kB\n", encoding="utf-8")
    monkeypatch.setattr(machine, "Path", lambda name: file)
    assert machine._free_memory() == 64 * 1024


def test_the_self_check_passes_and_leaves_the_seed_alone():
    state = torch.get_rng_state()
    (found,) = head_check()
    assert found.state == "ok"
    assert found.value.startswith("loss ")
    assert torch.equal(torch.get_rng_state(), state)


def test_the_self_check_finds_a_wrong_loss(monkeypatch):
    from kexue import losses

    right = losses.sparse_multilabel_loss
    monkeypatch.setattr(losses, "sparse_multilabel_loss", lambda s, p: right(s, p) * 1.01)
    (found,) = head_check()
    assert found.state == "problem"
    assert "differ by" in found.value
