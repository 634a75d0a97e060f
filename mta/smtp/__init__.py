"""The conversation (RFC 5321), without I/O, clock or configuration.

`session` is the server's side: bytes in, `events` out, `replies` gathered; what is legal when is the table in
`state`. `address` is the grammar of mailboxes and paths, `parameters` that of what follows them, `limits` every
number of the protocol, `trace` the Received field. `client` is the other side, spoken to next hops over SMTP and
LMTP.

Invariants: one reply a command, in order; a refused command changes nothing; only CR LF . CR LF ends a message; a
message over the size limit is read to its real end; what is kept per session is bounded by `limits` and by the terms
given to it.
"""
