"""The SMTP workers: processes that accept clients, decide, store, and answer 250 when the disk has.

`main` starts a worker; `listener` accepts; `connection` is one client, where protocol (`mta.smtp`), decision
(`mta.policy`), storage (`mta.spool`) and socket (`stream`) meet; `content` gathers a message; `commit` waits for the
disk on behalf of all of them; `deadlines` ends waits that take too long; `service` is what a worker's connections
share.

Rules: nothing here blocks the hub (the disk has a thread of its own in `mta.spool`); state is consistent at every
wait; every wait for a client has a deadline. What a connection holds is bounded by the limits of `mta.smtp.limits`
and `[limits]`; what all hold together, by `limits.memory_bytes`.
"""
