import json

import pytest

from kexue.sentences import manifest
from kexue.sentences.manifest import new_folder, read_manifest, sync_folder, write_manifest

KIND = "box of letters"


def make(folder, version=1, **fields):
    with new_folder(folder) as inside:
        write_manifest(inside / "box.json", KIND, version, fields)


def read(folder, version=1):
    return read_manifest(folder, "box.json", KIND, version)


def test_a_folder_tells_what_it_is(tmp_path):
    make(tmp_path / "deep" / "盒子", count=26, name="字母")
    assert read(tmp_path / "deep" / "盒子") == {"count": 26, "name": "字母"}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["盒子"]


def test_a_folder_that_was_not_filled_does_not_exist(tmp_path):
    def fill():
        with new_folder(tmp_path / "box") as inside:
            (inside / "half").touch()
            raise KeyError

    with pytest.raises(KeyError):
        fill()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_of_the_same_number_left_is_no_hindrance(tmp_path, monkeypatch):
    monkeypatch.setattr(manifest.os, "getpid", lambda: 7)
    (tmp_path / ".box.7.tmp").mkdir()
    (tmp_path / ".box.7.tmp" / "half").touch()
    make(tmp_path / "box")
    assert [path.name for path in (tmp_path / "box").iterdir()] == ["box.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["box"]


def test_an_empty_folder_may_be_there_already(tmp_path):
    (tmp_path / "box").mkdir()
    make(tmp_path / "box", count=1)
    assert read(tmp_path / "box") == {"count": 1}


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("x")
    with pytest.raises(ValueError, match=r"the folder is not empty. Name a new one"):
        make(tmp_path)
    with pytest.raises(ValueError, match="mine: this is a file"):
        make(tmp_path / "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_other_folders_are_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"none: there is no such folder. Check the path"):
        read(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file: this is a file, no folder"):
        read(tmp_path / "file")
    (tmp_path / "other").mkdir()
    with pytest.raises(ValueError, match=r"this is no box of letters: it has no box.json"):
        read(tmp_path / "other")
    (tmp_path / "other" / "box.json").write_text(json.dumps({"format": "shoe box", "version": 1}))
    with pytest.raises(ValueError, match="this is a shoe box, no box of letters"):
        read(tmp_path / "other")


def test_a_newer_folder_says_what_to_update(tmp_path):
    make(tmp_path / "box", version=3)
    with pytest.raises(ValueError, match=r"has version 3; this kexue reads up to 2. Update kexue"):
        read(tmp_path / "box", version=2)
    assert read(tmp_path / "box", version=3) == {}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b'{"version": 1}', b"\xff"])
def test_a_damaged_manifest_is_named(tmp_path, content):
    (tmp_path / "box.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"box.json: the file is damaged. Make the box of letters"):
        read(tmp_path)


def test_fields_must_be_json(tmp_path):
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        make(tmp_path / "box", count={1})
    assert list(tmp_path.iterdir()) == []


def test_names_are_flushed_to_the_disk(tmp_path, monkeypatch):
    flushed = []
    real = manifest.os.fsync
    monkeypatch.setattr(manifest.os, "fsync", lambda handle: (flushed.append(handle), real(handle)))
    sync_folder(tmp_path)
    assert len(flushed) == 1
    make(tmp_path / "box")
    assert len(flushed) == 3
