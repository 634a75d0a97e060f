"""A process that writes messages until it is killed, and says on standard output which ones are accepted.

Arguments: the spool's folder, the number of its first message.
"""

import sys
from pathlib import Path

from spooltools import append

from mta.spool.writer import SpoolWriter


def main() -> None:
    root, number = Path(sys.argv[1]), int(sys.argv[2])
    writer = SpoolWriter(root, segment_bytes=262144)
    while True:
        for _ in range(number % 7 + 1):
            append(writer, number, number * 131 % 9000)
            number += 1
        writer.commit()
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
