"""Reports of what came of TLS with the hosts of other domains, for those domains (TLSRPT, RFC 8460).

`report` counts the events `tls_result` of a day of the log and writes a domain's report; `record` reads what a domain
publishes of where it wants it, `mail` puts it into a message. They are pure: no clock, no socket, no file. `ask` looks
records up. Whoever joins them is the command `mta tlsrpt` (`mta.cli_tlsrpt`).

What a report has
    For each policy of the day (its text and the domain that has it) the sessions that kept to it and those that did
    not, and of these the kinds, with hosts, addresses and reasons. A session is a connection, however many messages
    went over it. Attempts that ended before TLS could be asked for are no session. Nothing of a message is in it.

Known limits
    Sessions in the minutes after one that failed, in which TLS is not tried again with an address, are not counted.
    Each host that runs mta reports for itself.
"""
