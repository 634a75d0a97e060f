"""The spool's folder as the supervisor prepares it."""

import os
from pathlib import Path

import pytest

from mta.errors import ConfigError, SpoolError, SpoolTaken
from mta.supervisor import folder


def test_layout_is_made_private_and_kept(tmp_path: Path) -> None:
    root = tmp_path / "a" / "spool"
    folder.prepare(root, None)
    (root / "shards" / "0").mkdir()
    root.chmod(0o755)
    folder.prepare(root, None)
    assert sorted(path.name for path in root.iterdir()) == ["bodies", "free", "qmgr", "shards"]
    assert (root / "shards" / "0").is_dir()
    assert {path.stat().st_mode & 0o777 for path in (root, *root.iterdir())} == {0o700}


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "spool").touch()
    with pytest.raises(SpoolError, match=r"spool .*: File exists"):
        folder.prepare(tmp_path / "spool", None)


def test_one_supervisor_at_a_time(tmp_path: Path) -> None:
    folder.prepare(tmp_path, None)
    first = folder.lock(tmp_path)
    with pytest.raises(SpoolTaken, match=f"in use by another mta, process {os.getpid()}"):
        folder.lock(tmp_path)
    assert not os.get_inheritable(first)
    os.close(first)
    os.close(folder.lock(tmp_path))


def test_accounts() -> None:
    assert folder.account("") is None
    if os.geteuid() == 0:
        with pytest.raises(ConfigError, match="there is no user 'no such user'"):
            folder.account("no such user")
        found = folder.account("nobody")
        assert found is not None
        assert found.uid != 0
    else:
        assert folder.account("nobody") is None
