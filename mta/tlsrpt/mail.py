"""The message that a report is sent in (RFC 8460 section 5.3): text for people, and the report compressed."""

from collections.abc import Sequence
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

LINE_BYTES = 998  # RFC 5322 section 2.1.1

TEXT = """\
This is an aggregate report of TLS sessions from {hostname} with hosts that take
mail for {domain}, as its record at _smtp._tls.{domain} asks for.

Day: {day} (UTC)
Successful sessions: {successful}
Failed sessions: {failed}

The attached file is the report in JSON, compressed by gzip (RFC 8460).
Questions are answered by {contact}.
"""


def message(
    data: bytes,
    *,
    file_name: str,
    report: str,
    domain: str,
    hostname: str,
    contact: str,
    recipients: Sequence[str],
    day: str,
    sessions: tuple[int, int],
    now: datetime,
) -> bytes:
    """A message with the compressed report `data`, lines ended by CR LF.

    `report` is its id; `sessions` are the successful ones and those that failed. All texts are ASCII without line ends.
    """
    made = EmailMessage(policy=SMTP)
    made["From"] = contact
    made["To"] = ", ".join(recipients)
    made["Date"] = format_datetime(now)
    made["Subject"] = f"Report Domain: {domain} Submitter: {hostname} Report-ID: <{report}>"
    made["Message-ID"] = f"<tlsrpt.{report}>"
    made["TLS-Report-Domain"] = domain
    made["TLS-Report-Submitter"] = hostname
    made["TLS-Required"] = "No"  # RFC 8689 section 5: what is broken is what the report is about
    made["Auto-Submitted"] = "auto-generated"
    successful, failed = sessions
    text = TEXT.format(hostname=hostname, domain=domain, day=day, successful=successful, failed=failed, contact=contact)
    made.set_content(text, cte="7bit")
    made.add_attachment(data, "application", "tlsrpt+gzip", filename=file_name)
    made.set_type("multipart/report")
    made.set_param("report-type", "tlsrpt")
    # Lines as long as they may be: what has no blank to be folded at would be encoded, names and ids too.
    return made.as_bytes(policy=SMTP.clone(max_line_length=LINE_BYTES))
