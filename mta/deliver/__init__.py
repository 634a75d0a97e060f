"""Hands messages on. A process of its own, stateless: what it has in hand when it dies is handed out again.

`link` talks to the queue manager: it receives packets of jobs and sends packets of outcomes. A job (`attempt.Work`) is
one message for some of its recipients by one transport. There is one file a transport: `discard`; `fail`; `maildir`,
with `mailbox` for the folders, `disk` for the system calls and `_files` for those of many files at once; `pipe`, with
`command` for arguments and exit codes and `child` for a run; `mbox`, with `mbox_format` and `mbox_lock`; `http`, with
`http_request` for what is posted and `http_connection` for how; and `relay` for SMTP and LMTP, with `endpoint` for the
address of the next hop, `outgoing` for the envelope that it gets, `peer` for a connection, `tls` for what may be around
it (`dane` and `chain`: whose certificate is good), `framing` for the form that content has on it and `turns` for when
it sends (the conversation itself, without I/O, is `mta.smtp.client`). `messages` reads from the spool, `recent`
remembers what was delivered. `main` joins them.

Where this package waits
    One greenlet receives jobs. Discard and fail end their jobs on the spot. What blocks, a sync or a command, is for
    native threads (`threads`): maildir hands them whole batches, pipe and http one job each. SMTP and LMTP have
    a greenlet for each connection, which waits for its socket and nothing else; every wait has a deadline, kept by one
    timer for all connections.

Where mail for a domain goes
    A transport with a host has one relay. One without has a relay for each set of hosts (`domains`), found by look-ups
    (`hosts`) from which `mx` makes an order. A look-up that fails is the destination's trouble: it defers. The domain
    may have a policy of MTA-STS for its hosts: `sts` knows it, `sts_fetch` fetches it, `sts_policy` reads it,
    `sts_store` keeps it on disk. `tls_result` is what is noted of TLS with hosts, for reports.

What is stored
    A file of a maildir begins with `Return-Path: <sender>` and `Delivered-To: recipient`, each ended by CR LF; then
    follows the message byte for byte as it stands in the spool, CR LF included: nothing is turned into local line
    ends. Each recipient gets a file of its own, even where two share a mailbox. The outcome is reported after the
    file, its name and every folder made for it are on disk.

    A message in an mbox file has the same two fields behind its `From ` line, then the content in mboxrd, with LF at
    the ends of lines. The outcome is reported after the file is on disk, and the folders of a new one.

What a command gets
    Return-Path and Delivered-To (by setting), then the message, with LF or CR LF at the ends of lines; the file that is
    its input is complete before it starts. It runs in a session of its own with an empty environment but for PATH, in
    the folder `/`, as the user of this process. A worker that is killed leaves its commands running; one that ends in
    good order ends them first.

What is sent
    SMTP and LMTP pass on what the sender asked for as far as the next hop offers it: DSN, SMTPUTF8, 8BITMIME. Content
    goes byte for byte, with two exceptions. Where it has a CR, an LF or a NUL that could be taken for a part of a line
    end, it is normalised (`mta.newlines`), so that no next hop finds the end of the message, or a second one, in it.
    And binary content is for next hops with BINARYMIME; for others it fails, since a conversion would break signatures.

Invariants
    Every job ends with exactly one outcome, or is forgotten because the connection to the queue manager is gone; then
    the manager hands it out again. Delivery is at least once. Two windows duplicate: a message is on its way when its
    process or connection dies, and a next hop's final reply does not arrive, or is preceded by what is no reply,
    although it took the message. A third, a manager that restarts, is narrowed by `recent`.

    Whatever a next hop says or does becomes an outcome, within a deadline. What is wrong with a destination as such (no
    connection, a greeting or EHLO refused) never fails a message: it defers, and the manager is told that others need
    not be tried. Nothing of a message that fails half-way stays in a mailbox.

Known limits
    A next hop is verified once a connection, and not again while that is kept. TLS sessions are not resumed.

    Messages for SMTP and LMTP are read from the spool in the loop's thread: from memory as long as they are young, and
    otherwise at the cost of a disk read during which the worker's other connections wait. A sync of the whole file
    system also writes what others have there; put the mailboxes on one that is not shared with heavy writers. Linux
    before 5.8 does not report all its failures.
"""
