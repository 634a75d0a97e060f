"""What tests with real programs share: the certificates, a file with a password."""

from pathlib import Path

import pytest

from tests.support.issued import Issued, issue
from tests.support.program import PASSWORD


@pytest.fixture(scope="session")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Issued:
    """One set for all tests."""
    return issue(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def password(tmp_path: Path) -> str:
    """The file that `PASSWORD` stands in."""
    (tmp_path / "password").write_text(PASSWORD + "\n")
    return str(tmp_path / "password")
