"""Look-ups in the DNS: a stub resolver, which asks the recursive resolvers that it is told of.

`stub.Resolver` is what others use: `lookup(name, type)` switches greenlets until there is an `answer.Answer`, and
never raises for what the network or a server does. Behind it, `cache` keeps answers, `upstreams` knows the servers and
which of them to ask first, `exchange` is one question to one server over UDP and TCP. `message` and `name` are the wire
format (RFC 1035), `answer` says what a response means for the question. `settings` is what may be configured, and the
file `/etc/resolv.conf`. All but `stub` and `exchange` are pure: no socket, no clock; time is an argument.

What an answer is
    OK with records; NXDOMAIN (no such name); NODATA (the name has no such records); or FAILED with a reason, where
    nobody knows: trying again later may help. Aliases (CNAME) are followed, `canonical` is the name at their end.
    `authentic` is the AD bit: it says that a validating resolver found the whole answer, or the proof that there is
    none, to be signed. It is believed only where the settings say that the resolvers and the way to them are trusted.

Names
    are `bytes` without a dot at the end, in lower case once they come from here, and A-labels where they are
    internationalized (RFC 5890 section 2.3.2.1). What is not printable in them, and a dot within a label, is escaped as
    `\\DDD` (RFC 1035 section 5.1), so that no name breaks a log line. The root is `.`. A name that has no wire form
    does not exist: NXDOMAIN.

Against spoofing (RFC 5452)
    Each question has a socket, and so a source port, of its own, chosen by the kernel; the socket takes packets from
    the server alone; 16 random bits are the identifier; the question in the response must be the one asked. The same
    question is never open twice: who asks it meanwhile waits for the first. After some packets that do not match, the
    question goes over TCP. In a response only those records count that belong to the name asked for or to its aliases.

Against hostile responses
    Lengths and counts are checked before they are believed. A pointer in a compressed name must point backwards of all
    that the name has used before, and a name has at most 255 bytes and 127 pointers: no loop, and no work that grows
    with the square of a message. A message of more than 512 records is refused. The cache is bounded in entries and in
    bytes. A look-up has a bounded time in all, over all servers and attempts.

Which server
    They are asked in their order, with waits that double from round to round. One that left several questions in a row
    without an answer is asked last for half a minute; so is one whose host says that nobody is there. SERVFAIL and
    REFUSED send the look-up on to the next server, and are no mark against this one: they may be the domain's fault. A
    server that does not know EDNS, or never answers with it, is asked without for a quarter of an hour.
    Where a server says why it fails (extended errors, RFC 8914), so does the answer: `SERVFAIL (DNSSEC Bogus)`.

How long answers are kept
    For the shortest TTL of the records and aliases in them, at least a second and at most a day. That nothing is there,
    as long as RFC 2308 section 5 says, at most an hour. That nobody knew, 5 seconds (RFC 9520 section 3.2).

Known limits
    `/etc/hosts` is not looked at, and no domain is appended to names. `/etc/resolv.conf` is read when a resolver is
    made. Nothing is validated here. AD is asked for by the AD bit of the query (RFC 6840 section 5.7), not by DO, which
    would bring signatures along that nobody here reads; resolvers older than that leave AD away. The case of letters
    in questions is not made random: some servers do not give it back.
"""
