"""The words of notifications: a file each, `failure.txt`, `delay.txt`, `success.txt` and `double.txt`.

The first line of a template is `Subject: ...`, the second is empty, the rest is the text. In it `{hostname}`,
`{domain}` (that of our postmaster), `{sender}`, `{queue_id}`, `{arrival}`, `{retry_until}` and `{recipients}` are
replaced; other braces stay. Files are UTF-8.
"""

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import msgspec

from mta.dsn.fields import VALUE_BYTES, clean

NAMES = ("failure", "delay", "success", "double")

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


class Template(msgspec.Struct, frozen=True):
    """A subject and a text with placeholders."""

    subject: str
    text: str

    def fill(self, values: Mapping[str, str]) -> str:
        """The text with values in place; lines end in LF."""
        return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), self.text)


def parse(text: str) -> Template:
    """Read a template; raises `ValueError` saying what is wrong."""
    first, _, rest = text.partition("\n")
    keyword, _, subject = first.strip().partition(":")
    if keyword.lower() != "subject" or not subject.strip():
        raise ValueError('the first line is not "Subject: ..."')
    empty, _, body = rest.partition("\n")
    if empty.strip():
        raise ValueError("the second line is not empty")
    if any(len(line.encode()) > VALUE_BYTES for line in text.splitlines()):
        raise ValueError(f"a line is longer than {VALUE_BYTES} bytes")
    return Template(clean(subject.strip()), "\n".join(map(clean, body.splitlines())) + "\n")


def built_in() -> dict[str, Template]:
    """The templates that come with the program, by name. Reads files."""
    folder = resources.files("mta.dsn")
    return {name: parse((folder / f"{name}.txt").read_text("utf-8")) for name in NAMES}


def read(folder: Path) -> tuple[dict[str, Template], list[str]]:
    """The templates, those in `folder` instead of those that come with the program; and what is wrong with them.

    One that is not there, or is wrong, leaves the other in place. Reads files.
    """
    templates, problems = built_in(), []
    for name in NAMES:
        path = folder / f"{name}.txt"
        try:
            templates[name] = parse(path.read_text("utf-8"))
        except FileNotFoundError:
            continue
        except OSError as error:
            problems.append(f"{path}: {error.strerror}")
        except ValueError as error:
            problems.append(f"{path}: {error}")
    return templates, problems
