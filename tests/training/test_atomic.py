"""Files that are the old ones or the new ones."""

import pytest

from kexue.training.atomic import write_atomically


def test_it_writes_utf8_and_makes_the_folder(tmp_path):
    path = tmp_path / "a" / "b.txt"
    write_atomically(path, "好\r\n")
    assert path.read_bytes() == "好\r\n".encode()
    assert list(path.parent.iterdir()) == [path]


def test_a_lone_surrogate_is_written_as_its_escape(tmp_path):
    write_atomically(tmp_path / "a.txt", "a\ud800b")
    assert (tmp_path / "a.txt").read_text("utf-8") == "a\\ud800b"


def test_rights_are_kept(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    path.chmod(0o600)
    write_atomically(path, "new")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text() == "new"


def test_a_new_file_has_the_rights_any_new_file_has(tmp_path):
    (tmp_path / "plain.txt").touch()
    write_atomically(tmp_path / "a.txt", "")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "plain.txt").stat().st_mode


def test_after_a_failure_the_old_file_is_there_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail(source, target):
        raise OSError("disk full")

    monkeypatch.setattr("shutil.copymode", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
