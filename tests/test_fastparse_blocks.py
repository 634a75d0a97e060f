"""`mta/_blocks.h`: each way of looking at a block of bytes gives what a plain loop gives."""

import shlex
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
COMPILER = shlex.split(sysconfig.get_config_var("CC") or "cc")
WARNINGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror")


@pytest.mark.skipif(shutil.which(COMPILER[0]) is None, reason="needs the C compiler that builds extensions")
@pytest.mark.parametrize("options", [(), ("-DMTA_BLOCKS_PORTABLE",)], ids=["as built", "portable"])
def test_blocks(tmp_path: Path, options: tuple[str, ...]) -> None:
    program = tmp_path / "blocks"
    source = str(TESTS / "test_fastparse_blocks.c")
    include = f"-I{TESTS.parent / 'mta'}"
    command = [*COMPILER, *WARNINGS, *options, include, source, "-o", str(program)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert built.returncode == 0, built.stderr
    done = subprocess.run([program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    assert done.stdout.split()
    assert ("portable" in done.stdout) == bool(options)
