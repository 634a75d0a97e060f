"""`mta tlsrpt`: reports of TLS with the hosts of other domains, for those that ask for them (RFC 8460)."""

import importlib
import re
import smtplib
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import click

from mta import config_load
from mta.cli_options import config_option
from mta.cli_output import Item, json_option, print_list
from mta.cli_trace import paths, read_lines
from mta.endpoint import Tcp, parse_next_hop
from mta.errors import EX_OK, EX_TEMPFAIL
from mta.tlsrpt import mail, record, report
from mta.tlsrpt.report import Day, Reporter

SEND_S = 60.0  # for each step of the conversation with the host that takes the mail

_CONTACT = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9][A-Za-z0-9.-]{0,252}")


class _Job(NamedTuple):
    """What is to be done with each report."""

    day: Day
    reporter: Reporter
    folder: Path
    is_eml: bool
    host: Tcp | None


@click.command()
@config_option
@json_option
@click.option("--day", metavar="YYYY-MM-DD", help="The day, in UTC; yesterday if not given.")
@click.option("--out", "folder", default=".", show_default=True, metavar="FOLDER", help="Where to write the reports.")
@click.option("--eml", "is_eml", is_flag=True, help="Also write each report as a message, ready to be sent.")
@click.option("--send", "host", metavar="HOST:PORT", help="Send the messages through this host, by SMTP.")
@click.option("--contact", metavar="ADDRESS", help="Sender, and who answers questions; else postmaster@hostname.")
@click.argument("files", metavar="[LOG]...", nargs=-1)
def tlsrpt(
    config_file: str,
    is_json: bool,
    day: str | None,
    folder: str,
    is_eml: bool,
    host: str | None,
    contact: str | None,
    files: tuple[str, ...],
) -> int:
    """Write the TLS reports of a day (RFC 8460).

    Counts the sessions with the hosts of each domain from log.file, and LOG, rotated files for example, also compressed
    ones (.gz); - is standard input. Writes a report for each domain that publishes _smtp._tls: FOLDER/*.json.gz. What
    a domain wants at https: places is written, too, and not sent. Ends with 75 when not all could be done.
    """
    config = config_load.load(config_file)
    reporter = Reporter(config.hostname, contact or f"postmaster@{config.hostname}")
    if not _CONTACT.fullmatch(reporter.contact):
        raise click.UsageError(f"--contact {reporter.contact!a} is no address")
    counted = Day(_day(day))
    for line in read_lines(paths(config.log.file, files), [report.EVENT]):
        counted.add(line)
    job = _Job(counted, reporter, Path(folder), is_eml, _host(host))
    # Only here: the supervisor is started by this program, too, and must not load gevent.
    found = importlib.import_module("mta.tlsrpt.ask").places(config.dns, counted.domains)
    failures: list[str] = []
    print_list(_made(job, found, failures), is_json=is_json)
    for failure in failures:
        click.echo(f"mta: {failure}", err=True)
    return EX_TEMPFAIL if failures else EX_OK


def _made(job: _Job, found: Iterator[Any], failures: list[str]) -> Iterator[Item]:
    """Each report, once it is written and sent; what fails goes to `failures`."""
    for domain, uris, trouble in found:
        if trouble:
            failures.append(f"cannot look up _smtp._tls.{domain}: {trouble}")
        if not uris:
            continue
        addresses = [address for address in map(record.address, uris) if address is not None]
        name, text = _written(job, domain, addresses)
        sent: list[str] = []
        if job.host is not None and addresses:
            try:
                _send(job.host, job.reporter.contact, addresses, text)
                sent = addresses
            except (OSError, smtplib.SMTPException) as error:
                failures.append(f"the report for {domain} is not sent: {error}")
        successful, failed = job.day.sessions(domain)
        yield {
            "domain": domain,
            "successful": successful,
            "failed": failed,
            "rua": list(uris),
            "sent": sent,
            "file": name,
        }


def _written(job: _Job, domain: str, addresses: list[str]) -> tuple[str, bytes]:
    """Write a report; returns the path of its file, and the message to the addresses where there are some."""
    name = job.day.file_name(domain, job.reporter) + ".json.gz"
    data = report.compressed(job.day.report(domain, job.reporter))
    text = b""
    if addresses:
        text = mail.message(
            data,
            file_name=name,
            report=report.report_id(job.day.day, domain, job.reporter),
            domain=domain,
            hostname=job.reporter.hostname,
            contact=job.reporter.contact,
            recipients=addresses,
            day=job.day.day.isoformat(),
            sessions=job.day.sessions(domain),
            now=datetime.now(UTC),
        )
    try:
        job.folder.mkdir(parents=True, exist_ok=True)
        (job.folder / name).write_bytes(data)
        if text and job.is_eml:
            (job.folder / f"{name.removesuffix('.json.gz')}.eml").write_bytes(text)
    except OSError as error:
        raise click.UsageError(f"--out {job.folder}: {error.strerror}") from None
    return str(job.folder / name), text


def _send(host: Tcp, sender: str, recipients: list[str], text: bytes) -> None:
    """Hand a message to a host. Blocks; raises `OSError` or `SMTPException`."""
    client = smtplib.SMTP(host.host, host.port, timeout=SEND_S)
    try:
        refused = client.sendmail(sender, recipients, text)
        with suppress(OSError, smtplib.SMTPException):  # it has the message
            client.quit()
    finally:
        client.close()
    if refused:
        raise smtplib.SMTPRecipientsRefused(refused)


def _day(text: str | None) -> date:
    if text is None:
        return datetime.now(UTC).date() - timedelta(days=1)
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise click.UsageError(f"--day {text!a} is no day like 2026-05-04") from None


def _host(text: str | None) -> Tcp | None:
    if text is None:
        return None
    try:
        hop = parse_next_hop(text)
    except ValueError as error:
        raise click.UsageError(f"--send {text!a}: {error} is needed") from None
    if not isinstance(hop, Tcp):
        raise click.UsageError("--send: a host and a port are needed")
    return hop
