"""The queue manager: what goes where and when, and what became of it. One process, one loop, no threads, no gevent.

Owned here: `<spool>/qmgr/` (`lock`, `socket`, `journal.db`), every decision about delivery, and the freeing of the
spool. Whoever holds the lock is the manager; its predecessor's end is waited for.

The way of a message:

- `intake` follows the log, `shard` by `shard`: the log is the incoming queue. What has not been read costs no memory.
- `active` holds the messages in hand, at most `queue.active` of them and five times as many recipients. One message
  becomes a job per destination and `mta.ipc.RECIPIENTS_PER_JOB` recipients.
- `scheduler` decides which job goes to which delivery worker: in turns over transports and destinations, whose jobs
  stand in `lines`, within the windows and rates of `pacing`. All are pure: time is an argument.
- `shares` tells which slow destinations hold too much of a full active set; `parking` puts that aside in the journal,
  and takes it back when their lines are nearly empty.
- `peers` are the delivery workers, and the clients that `control` answers. A worker that goes away gives its jobs back.
- Where a recipient's mail goes is asked anew at each attempt (`ActiveSet.transport`): where somebody moved the message
  to, else what was decided when it was accepted (`Envelope.via`), else by the routes. A copy has no way but its own.
- `ending` says what becomes of a message and of its row when the last outcome of a round is there; `retry` when a
  deferred one is tried again and when it is given up.
- `journal` (SQLite) keeps outcomes, in batches; `progress` knows what of each log segment is settled; `cleaner` frees
  segments and large bodies once the journal says on disk that nobody needs them, and moves survivors to a shard of our
  own.
- `bounce` tells senders of what failed or is late, with messages of our own: `original` is what goes back of theirs,
  `own` the shard that the notifications go to and are then read in from.
- `rows` are what the journal keeps of a message, `schema` its format. `tally` are counts of them, by `names`, that are
  kept beside them; `recount` says what each row counts for, and again when the routes have changed.
- `sinks` tells which transports have all the mail they may have waiting; SMTP workers put their recipients off.
- `control` is what `mta queue` may ask: `looking`, `shape` and `changing` answer, of messages that `finding` finds
  wherever they are and `filters` let through, as `items`.
- `draining` empties the queue under an order (`mta.drain`), and says when that is done.
- `core` joins these without sockets, `main` is the process; `store` is the same queue for whoever looks at it while no
  manager runs.

Invariants:

- A message is in exactly one place: unread in the log; in the active set; in the journal as waiting, held or failed; or
  settled. Settled means that its log record is never read in again, and is written in the transaction that makes it so.
- A message that failed leaves the journal only when the notification to its sender is in the spool, on disk.
- A segment is freed only when the journal on disk has every record of it settled and no row that lies in it. A large
  body is freed only after the journal on disk has its message ended.
- What a crash costs: outcomes since the last commit (at most `core.COMMIT_S` old while the disk keeps up) are unknown,
  and their messages are delivered again. Nothing is lost at any step; `tests/qmgr/test_restart.py` kills at each.
- No peer can hold the loop up: sockets never block, and what is kept for a peer is bounded. What blocks is the disk: a
  commit ten times a second under load, and the freeing of a segment.
- While the journal cannot be written, no mail is read in or handed out; the log keeps what comes meanwhile.

Known limits: a destination is a transport (or a domain, for transports that have a next hop for each), so a slow next
hop that many of them share is not seen as one. How slow a destination is takes `shares.WATCH_S` to be known, and mail
behind its first burst waits for so long. Mail that was put aside and whose destination has another name after a change
of the configuration comes back when it is due, after an hour or two. A damaged place in the log is told at each start,
and its segment kept until somebody removes the file. With `bounces.send = false`, messages that failed are kept until
they are deleted or tried again.
"""
