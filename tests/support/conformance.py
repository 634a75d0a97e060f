"""Where the test data that other projects published lies. It is read there and never copied into this project."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("MTA_CONFORMANCE_DIR", ROOT.parent / "shared" / "conformance"))

needs_conformance = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"no conformance data in {FOLDER} (set MTA_CONFORMANCE_DIR)"
)
