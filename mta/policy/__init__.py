"""Policy: what to refuse, and with which reply. Facts in, verdict out.

The process that holds the sockets asks the `Chain` of its listener at each stage of a session, and acts on the
`Verdict`. A check is a file of this package: it gets facts that others gathered (an address that the parser took apart,
what the unstuffer counted) and returns `ACCEPT` or a refusal, which is a value and never an exception. The first check
of a stage that refuses decides.

| stage     | facts                                | checks                                                          |
|-----------|--------------------------------------|-----------------------------------------------------------------|
| recipient | the parts of the forward-path        | `recipient`: is the domain ours? Nothing is ever relayed.       |
|           |                                      | Does the table of recipients, if there is one, know it?         |
|           |                                      | `aliases`: which addresses does it come to?                     |
|           | client, HELO name, both addresses    | `access`: what do the tables of the administrator say?          |
|           | what the DNS has for the sender      | `sender`: does its domain take mail?                            |
| content   | counted while the message came in    | `content`: bare CR or LF; too long a header; as many Received   |
|           |                                      | fields as a loop has                                            |

Checks here know no clock, socket, spool or gevent, and cost next to nothing: a look-up per recipient, a few comparisons
per message. Those that may wait are those of recipients, access and senders, for tables and for the DNS, which are
handed in; without them nothing waits.

Access comes first at RCPT, so that who is not wanted learns nothing of who exists. A `Visit` is one transaction: what
all of its recipients share is asked for once, and gets one answer. Nothing is asked for mail to postmaster.
"""
