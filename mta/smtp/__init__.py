"""The conversation (RFC 5321), without I/O, clock or configuration.

`session` is the server's side: bytes in, `events` out, `replies` gathered; `dialogue` is what was said so far,
`commands` what each command does, `state` the table of what is legal when, `terms` what the listener offers,
`transaction` who sends to whom, `reasons` the words that refusals end with. `address` is the grammar of mailboxes and
paths, `parameters` that of what follows them (`xtext` is how some of it is written), `proxy` that of a load
balancer's header, `xclient` that of a filter's commands, `limits` every number of the protocol, `trace` the Received
field. `client` is the other side, spoken to next hops over SMTP and LMTP (`client_transaction`: one mail's part of it,
`client_mail`: the commands, `client_reply`: the answers).

Invariants: one reply a command, in order; a refused command changes nothing; only CR LF . CR LF ends a message, or the
last byte of its last chunk; a message over the size limit is read to its real end; what is kept per session is bounded
by `limits` and by the terms given to it.
"""
