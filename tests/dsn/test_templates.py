"""The words of notifications, and those that an administrator puts in their place."""

from pathlib import Path

import pytest

from mta.dsn import templates


def test_built_in_ones_are_whole() -> None:
    found = templates.built_in()
    assert set(found) == set(templates.NAMES)
    assert all("{recipients}" in template.text and template.subject.isascii() for template in found.values())


def test_those_of_a_folder_go_before(tmp_path: Path) -> None:
    (tmp_path / "failure.txt").write_text("Subject: Unzustellbar: Grüße\n\nAn {recipients}, {unknown} {hostname}\n")
    (tmp_path / "delay.txt").write_text("no subject\n")
    (tmp_path / "success.txt").write_bytes(b"Subject: x\n\n\xff\n")
    found, problems = templates.read(tmp_path)
    assert found["failure"].subject == "Unzustellbar: Grüße"
    assert found["failure"].fill({"recipients": "{hostname}", "hostname": "mx"}) == "An {hostname}, {unknown} mx\n"
    assert [problem.split(": ")[0].rpartition("/")[2] for problem in problems] == ["delay.txt", "success.txt"]
    assert {name: found[name] for name in ("delay", "success", "double")} == {
        name: template for name, template in templates.built_in().items() if name != "failure"
    }


@pytest.mark.parametrize("text", ["", "hello\n", "Subject:\n\nx", "Subject: x\ny\n", "Subject: x\n\n" + "x" * 1000])
def test_faults(text: str) -> None:
    with pytest.raises(ValueError, match="line"):
        templates.parse(text)
