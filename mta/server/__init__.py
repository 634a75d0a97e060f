"""The SMTP workers: processes that accept clients, decide, store, and answer 250 when the disk has.

`main` starts a worker; `listener` accepts, `door` is what it offers; `entrance` finds out who the `client` is;
`recipients` is what becomes of a recipient, `directory` what it needs for that, for all listeners;
`connection` is one client, where protocol (`mta.smtp`), decision (`mta.policy`), storage (`mta.spool`) and socket
(`stream`, with `tls_stream` around it) meet, `addressing` its part that answers MAIL and RCPT; `pace` is how long a
client may take; `content` gathers a message, `envelopes` writes its envelope; `commit` waits for the disk on behalf of
all of them; `deadlines` ends waits that take too long; `service` is what a worker's connections share, `clients` what
those of all workers do; `complaints` tells an administrator what is wrong with tables, aliases and routes; `tls` has
the certificates, `openssl` what Python's ssl does not reach.

Rules: nothing here blocks the hub (the disk has a thread of its own in `mta.spool`); state is consistent at every
wait; every wait for a client has a deadline. What a connection holds is bounded by the limits of its listener; what
all hold together, by `limits.memory_bytes`.
"""
