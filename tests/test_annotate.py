"""No line of a hot loop touches Python: Cython's annotation gives each the score 0.

The loops stand between `# hot loop begins` and `# hot loop ends`. `setup.py` builds with `annotate=True`; where that
HTML is missing or older than its source, it is made here, in a temporary folder.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "mta"
BEGINS, ENDS = "# hot loop begins", "# hot loop ends"
SOURCES = sorted(path for path in PACKAGE.rglob("*.pyx") if BEGINS in path.read_text())
LINE = re.compile(r'<pre class="cython line score-(\d+)"[^>]*>(?:\+|&#xA0;)<span class="">(\d+)</span>')


def annotation(source: Path, scratch: Path) -> str:
    """Cython's annotation of a source, as HTML."""
    html = source.with_suffix(".html")
    if not html.exists() or html.stat().st_mtime < source.stat().st_mtime:
        target = scratch / f"{source.stem}.c"
        command = [sys.executable, "-m", "cython", "--annotate", "-3", "-o", str(target), str(source)]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        html = target.with_suffix(".html")
    return html.read_text()


def hot_lines(source: Path) -> list[int]:
    """The numbers of the lines within hot loops. A marker without its other one is an error."""
    found: list[int] = []
    begun = 0
    for number, line in enumerate(source.read_text().splitlines(), start=1):
        if line.strip() == BEGINS:
            assert not begun, f"{source.name}:{number}: the loop of line {begun} has no end"
            begun = number
        elif line.strip() == ENDS:
            assert begun, f"{source.name}:{number}: no loop has begun"
            found += range(begun + 1, number)
            begun = 0
    assert not begun, f"{source.name}:{begun}: this loop has no end"
    return found


def python_in_hot_loops(source: Path, scratch: Path) -> list[str]:
    """The lines of hot loops that touch Python, each with its place and score."""
    scores = {int(number): int(score) for score, number in LINE.findall(annotation(source, scratch))}
    text = source.read_text().splitlines()
    assert len(scores) == len(text), "the annotation is not of this source"
    return [
        f"{source.name}:{number}: score {scores[number]}: {text[number - 1].strip()}"
        for number in hot_lines(source)
        if scores[number]
    ]


def test_the_parsers_have_hot_loops() -> None:
    assert PACKAGE / "_fastparse.pyx" in SOURCES
    assert len(hot_lines(PACKAGE / "_fastparse.pyx")) > 50


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_hot_loops_do_not_touch_python(source: Path, tmp_path: Path) -> None:
    assert python_in_hot_loops(source, tmp_path) == []


SAMPLE = f"""
def add(const unsigned char *data, Py_ssize_t length):
    cdef Py_ssize_t index
    cdef long native = 0
    cdef object slow = 0
    {BEGINS}
    for index in range(length):
        native += data[index]
        slow += data[index]
    {ENDS}
    return native, slow
"""


def test_a_line_that_touches_python_is_found(tmp_path: Path) -> None:
    """The test above can fail: one of the two sums is a Python object."""
    source = tmp_path / "sample.pyx"
    source.write_text(SAMPLE)
    found = python_in_hot_loops(source, tmp_path)
    assert [line.rpartition(": ")[2] for line in found] == ["slow += data[index]"]


@pytest.mark.parametrize("text", [f"{BEGINS}\n", f"{ENDS}\n", f"{BEGINS}\n{BEGINS}\n{ENDS}\n"])
def test_a_marker_without_its_other_one_is_an_error(tmp_path: Path, text: str) -> None:
    source = tmp_path / "sample.pyx"
    source.write_text(text)
    with pytest.raises(AssertionError, match="loop"):
        hot_lines(source)
