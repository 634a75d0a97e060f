"""Build of the extension modules; everything else about the package stands in pyproject.toml."""

import os

from Cython.Build import cythonize
from setuptools import Extension, setup

SANITIZE = os.environ.get("MTA_SANITIZE", "")  # "address", "undefined": a debug build of the extensions

CFLAGS = ["-O3", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-cast-function-type"]
LDFLAGS: list[str] = []
if SANITIZE:
    CFLAGS = ["-O1", "-g", "-fno-omit-frame-pointer", f"-fsanitize={SANITIZE}"]
    LDFLAGS = [f"-fsanitize={SANITIZE}"]

EXTENSIONS = [
    # The DATA stream and the command line: every byte from the network passes here.
    Extension("mta._fastparse", ["mta/_fastparse.pyx"], depends=["mta/_blocks.h"]),
    # The disk thread: writes and syncs without the interpreter lock.
    Extension("mta.spool._disk", ["mta/spool/_disk.pyx"], depends=["mta/_pieces.h"], libraries=["pthread"]),
    # Files of maildirs: created, written and moved many at a time, without the interpreter lock.
    Extension("mta.deliver._files", ["mta/deliver/_files.pyx"], depends=["mta/_pieces.h"]),
]
for extension in EXTENSIONS:
    extension.include_dirs = ["mta"]  # headers that extensions of several packages share
    extension.extra_compile_args = CFLAGS
    extension.extra_link_args = LDFLAGS

setup(
    ext_modules=cythonize(
        EXTENSIONS,
        annotate=True,  # tests/test_annotate.py reads the HTML
        compiler_directives={"language_level": "3", "warn.undeclared": True, "warn.maybe_uninitialized": True},
    )
)
