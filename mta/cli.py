"""The command `mta`: run it, check its configuration, look into its queue.

Exit codes are those of `mta.errors`; docs/operations.md has them all.
"""

import os
import sys
from typing import NoReturn

import click

from mta import (
    __version__,
    cli_build,
    cli_check,
    cli_drain,
    cli_lookup,
    cli_queue,
    cli_tlsrpt,
    cli_trace,
    config_load,
    log,
)
from mta.cli_options import config_option
from mta.errors import EX_OK, EX_USAGE, ConfigError, MtaError
from mta.supervisor import main as supervisor

INTERRUPTED = 130  # as shells have it: 128 and the number of INT


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="mta", message="%(prog)s %(version)s")
def cli() -> None:
    """An inbound mail exchanger for high volume: SMTP in, durable spool, fast delivery."""


@cli.command()
@config_option
@click.option("--ready-fd", type=click.IntRange(min=0), metavar="N", help="Write a line to descriptor N once ready.")
def run(config_file: str, ready_fd: int | None) -> int:
    """Run the mail exchanger in the foreground.

    \b
    TERM  finishes what is under way, then ends
    INT   ends at once; nothing accepted is lost
    HUP   reads the configuration again and replaces all workers,
          without refusing a client

    Says "mta: ready" on standard error when mail can come. Ends with 0 after TERM and INT, and when it was drained; 78
    when the configuration is wrong, 69 when an address or the spool is in use, and with other codes of sysexits.h.
    """
    return supervisor.run(lambda: config_load.load(config_file), ready_fd=ready_fd)


cli.add_command(cli_check.check)
cli.add_command(cli_queue.queue)
cli.add_command(cli_drain.command)
cli.add_command(cli_trace.trace)
cli_lookup.table.add_command(cli_build.build)
cli.add_command(cli_lookup.table)
cli.add_command(cli_tlsrpt.tlsrpt)


def main() -> NoReturn:
    """Entry of the command `mta`."""
    sys.exit(_main())


def _main() -> int:
    try:
        code = cli.main(prog_name="mta", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return EX_USAGE
    except click.Abort:
        return INTERRUPTED
    except BrokenPipeError:  # somebody piped us into `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EX_OK
    except MtaError as error:
        log.flush()
        prefix = "" if isinstance(error, ConfigError) else "mta: "
        click.echo(f"{prefix}{error}", err=True)
        return error.exit_code
    return int(code or EX_OK)
