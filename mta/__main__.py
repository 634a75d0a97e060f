"""`python -m mta` is the same as `mta`."""

from mta.cli import main

if __name__ == "__main__":
    main()
