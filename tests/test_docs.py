"""Generated files are what would be generated now; links and commands in the documentation lead somewhere."""

import re
from pathlib import Path

import pytest

from mta import config_doc
from mta.config_load import load

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("bench/*.md")])


@pytest.mark.parametrize("name", config_doc.documents())
def test_generated_file_is_fresh(name: str) -> None:
    assert (ROOT / name).read_text() == config_doc.documents()[name], "run `make docs`"


@pytest.mark.parametrize("file", sorted(ROOT.glob("conf/*.toml")), ids=lambda file: file.name)
def test_configurations_are_right(file: Path) -> None:
    assert load(file).listen


def test_example_shows_the_defaults(tmp_path: Path) -> None:
    """Taking the # away from every key changes nothing."""
    text = (ROOT / "conf/mta.toml").read_text()
    example = tmp_path / "example.toml"
    example.write_text(text)
    full = tmp_path / "full.toml"
    full.write_text(re.sub(r"^#(\w+ = )", r"\1", text, flags=re.MULTILINE))
    assert not re.search(r"^#[^ \n]", full.read_text(), re.MULTILINE)
    assert load(full) == load(example)


def test_tables_that_the_example_shows_in_comments_are_right_where_they_stand(tmp_path: Path) -> None:
    text = re.sub(r"^#     ", "", (ROOT / "conf/mta.toml").read_text(), flags=re.MULTILINE)
    example = tmp_path / "example.toml"
    example.write_text(re.sub(r'^#(certificate|key) = ""', r'\1 = "\1.pem"', text, flags=re.MULTILINE))
    config = load(example)
    assert config.listen[0].limits.client_connections == 500
    assert config.limits == load(ROOT / "conf/mta.toml").limits
    assert [pair.certificate for pair in config.tls.extra] == ["/etc/mta/rsa.pem"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_that_are_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_make_targets_that_are_named_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z]+)`", page.read_text())) <= targets
