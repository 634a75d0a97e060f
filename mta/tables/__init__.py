"""Tables: a key in, a value or nothing out. Who is known here, what becomes of whom, and who may send.

`book.open_table` makes a table from its settings (`settings.Table`, a [table.NAME] of the configuration), `book.Book`
each of them once. A table has one method: `get(key)` returns the value, or None where there is none, or raises
`mta.errors.TableDown` where nobody knows. Who asks must keep these apart: "not there" may refuse a recipient for good,
"nobody knows" may only put it off.

| kind      | file           | what it asks                                                               | cached |
|-----------|----------------|----------------------------------------------------------------------------|--------|
| inline    | `text`         | the lines in the configuration                                             | no     |
| file      | `text`         | a file of lines `key value`                                                | no     |
| regexp    | `regexp`       | patterns, in order; the first that is found in the key                     | no     |
| cidr      | `cidr`         | networks, in order; the first that the address is in                       | no     |
| lmdb      | `lmdb`         | a database of LMDB, as `postmap` writes them                               | no     |
| sqlite    | `sqlite`       | a query of an SQLite database                                              | yes    |
| sql       | `sql`          | a query of an SQL server, by SQLAlchemy                                    | yes    |
| ldap      | `ldap`         | a search in a directory, by ldap3                                          | yes    |
| socketmap | `socketmap`    | a server that speaks Postfix's socketmap protocol                          | yes    |
| redis     | `redis`        | GET or HGET of a Redis server                                              | yes    |
| http      | `http`         | GET of an address with the key in it                                       | yes    |

Keys
    are bytes. A recipient has several (`key.recipient_keys`), asked for one after the other: `user+tag@domain`,
    `user@domain`, `@domain`; all in lower case, the domain in A-labels. Keys in lines are brought into the same form.
    Access tables are asked for ever larger parts of a name or an address (`access_keys`). What their values mean is the
    business of `mta.smtp.actions`; `values` has the lines of a table judged when a configuration is checked.

Files (`watched`)
    are looked at again when they are asked for a key, once a second at most. A changed file is read when nobody has
    written to it for two seconds, so that one which is being written is not taken for whole; one that was put in place
    by a rename, with an older time, is read at once. A file with faults changes nothing: the table stays as it was, and
    the faults are reported once, each as `file:line`. With no good file since the start the table is down.

Asking others (`cached`, `cache`, `exchange`)
    What was found and what was not is remembered, each for its own time, for a bounded number of keys. The same key is
    never asked for twice at once: who wants it meanwhile waits for the first. After a failure the table is down for two
    seconds without asking anybody: a dead server must not hold each recipient up for its whole timeout. Not so after
    one of a single key (`TableDown.of_key`): the server is there. Every wait is bounded; replies are bounded before
    they are believed.

Libraries that block (`threaded`, `sql`, `ldap`, `sqlite`)
    would block the hub, and nothing is patched for them: they are asked in native threads, one for each connection. A
    question that is given up has its connection's socket shut down from outside, so that a thread is never lost to a
    server that does not answer. What several rows or entries say is joined by `answer`, which is also where they are
    too many. Passwords are read from their files (`password`) at each connection; texts of failures are rid of them.

Databases (`lmdb`, `lmdb_file`, `lmdb_build`)
    are mapped into memory and asked in the greenlet that wants to know: a key takes microseconds, or a page fault. No
    cache, no thread. They are opened after the fork and exec of a worker, and never taken along by another. Who asks
    holds Postfix's lock for that time, which a writer in place waits for; while a writer holds it, greenlets wait.
    `lmdb_build` makes them of lines, beside the one in use.

Packages (`extras`)
    that only some kinds need are imported by `book` when such a table is opened; the check of a configuration tells
    which are missing.

Patterns (`pattern_cost`)
    Python's `re` tries all ways to match, and cannot be stopped. So patterns are judged when they are read: one that
    has more than a million ways to fail on the longest key is a fault of its line, and is never used; nor is one with
    which all patterns of the table have more than four million.

Only `exchange`, `http`, `cached`, `watched`, `lmdb`, `threaded`, and `book`, which has them, know gevent: they switch
greenlets and never block the hub, and may be used in any greenlet but the hub's. The others are pure but for `lines`,
`lmdb_file`, `lmdb_build` and `password`, which have files, and for `sql`, `ldap` and `sqlite`, which block and run in
threads. Clocks are arguments.

Known limits
    A file table is read whole into memory, by each process that uses it. Redis has no password and no TLS; socketmap
    has no TLS: they belong on the same machine or a network of your own. Nothing is written, but by `lmdb_build`. LMDB
    has no checksums, and reads a file that somebody cuts in the same microsecond to its own end. Of SQL servers only
    PostgreSQL is allowed, since another has to be told in its own words to write nothing and to keep the time
    (`sql.SESSION`). A connection to one that is being made ends by libpq's clock, two seconds at least, which may be
    after the question was given up. Names of servers are resolved in the threads, by the system.
"""
