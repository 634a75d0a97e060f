"""What tests with real programs share: the certificates."""

import pytest

from tests.support.issued import Issued, issue


@pytest.fixture(scope="session")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Issued:
    """One set for all tests."""
    return issue(tmp_path_factory.mktemp("authority"))
