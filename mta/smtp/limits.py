"""Every number of the protocol, with its origin. What an administrator may change stands in `mta.config` instead."""

COMMAND_LINE_BYTES = 2048
"""Longest command line with its CR LF. RFC 5321 section 4.5.3.1.4 asks for 512, RFC 6531 and RFC 3461 add up to about
1,000 for SMTPUTF8 and DSN parameters; Postfix takes 2,048 (`line_length_limit`), and so do we."""

HELO_BYTES = 255
"""Longest domain or literal in HELO and EHLO (RFC 5321 section 4.5.3.1.2)."""

LOCAL_PART_BYTES = 64
"""Longest local part (RFC 5321 section 4.5.3.1.1)."""

DOMAIN_BYTES = 255
"""Longest domain (RFC 5321 section 4.5.3.1.2)."""

PATH_BYTES = 256
"""Longest path with its angle brackets (RFC 5321 section 4.5.3.1.3)."""

ENVID_BYTES = 100
"""Longest value of ENVID, as it is encoded (RFC 3461 section 4.4)."""

ORCPT_BYTES = 500
"""Longest value of ORCPT, as it is encoded (RFC 3461 section 4.2)."""

REPLY_LINE_BYTES = 512
"""Longest reply line with its CR LF (RFC 5321 section 4.5.3.1.5)."""

MULTILINE_REPLY_LINES = 100
"""Lines of one reply that a client of ours reads before it gives the peer up; more is no reply but a flood."""

UNASKED_BYTES = 65536
"""Of content that goes behind MAIL and RCPT before their answers are known. Not for fear of a deadlock: whoever sends
reads as well. What is sent in vain where nobody is accepted is bounded by it, and beyond it there is little to gain: a
fresh connection carries 14 KiB in its first flight (RFC 6928 section 2), 28 and 57 in the next two, and a receiver with
Linux's settings lets 64 KiB come before it has to say more; content of that size takes three round trips, and asking
first makes them four. On a connection that has been used it is one and two."""
