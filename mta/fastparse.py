"""The door to the parsers that every byte from the network passes: commands, lines and the DATA stream.

The compiled module is required: a server that turned slow, and perhaps different, without a word would be worse than
one that does not start. Only `MTA_PURE_PYTHON=1` selects the oracle; `IMPLEMENTATION` says which of the two runs.
What the names mean is written in `mta/_fastparse.pyi`.
"""

import os
from typing import TYPE_CHECKING

if not TYPE_CHECKING and os.environ.get("MTA_PURE_PYTHON") == "1":
    from mta._fastparse_py import (
        LINE_BARE_LF,
        LINE_TOO_LONG,
        LineSplitter,
        Stuffer,
        Unstuffer,
        parse_command,
        parse_path,
        stuff,
    )

    IMPLEMENTATION = "python"
else:
    try:
        from mta._fastparse import (
            LINE_BARE_LF,
            LINE_TOO_LONG,
            LineSplitter,
            Stuffer,
            Unstuffer,
            parse_command,
            parse_path,
            stuff,
        )
    except ImportError as error:
        raise ImportError(
            "the compiled module mta._fastparse is missing or does not fit this Python: build it with "
            "`python setup.py build_ext --inplace`, or set MTA_PURE_PYTHON=1 to run the slow one"
        ) from error

    IMPLEMENTATION = "cython"

__all__ = [
    "IMPLEMENTATION",
    "LINE_BARE_LF",
    "LINE_TOO_LONG",
    "LineSplitter",
    "Stuffer",
    "Unstuffer",
    "parse_command",
    "parse_path",
    "stuff",
]
