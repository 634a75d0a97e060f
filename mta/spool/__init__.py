"""The spool: messages on the disk, from the 250 to the end of their delivery.

What is where
=============

    <spool>/shards/<n>/lock                         flock of the writer; highest segment number used, in decimal
    <spool>/shards/<n>/position                     64 bytes, mapped: how far the shard is committed
    <spool>/shards/<n>/<number>-<seed>.segment      the log, in segments of 64 MiB
    <spool>/bodies/<file>.body                      large bodies
    <spool>/free/<random>.segment                   segment files to be written again
    <spool>/free/<file>-<boot>.body                 body files to be written again
    <spool>/free/<file>.new                         a body file in the making
    <spool>/qmgr/                                   not ours: the queue manager's lock, socket and journal

Numbers are hexadecimal with leading zeros: segment numbers 8 digits, seeds, body files and boots 16. The spool is one
file system, which keeps the order of changes of names (every journaling file system does).

A process that takes messages claims the first free shard and is its only writer (`claim`, `writer`). Anybody may read:
`reader.ShardReader.readable` tells how far, `recovery.Segment.records` reads in order, `reader.MessageReader.message`
fetches one message. Only the queue manager gives space back (`reclaim`). `large` tells how a server streams a large
body. Queue ids (`queueid`) are addresses of records. This package knows neither SMTP nor gevent; envelopes are bytes.

Format of a segment
===================

Records stand one behind the other from offset 0, each at a multiple of 64 bytes. A record is a header of 64 bytes, the
envelope, the body unless it has a file of its own, and zeros up to the next multiple of 64. Little endian:

    offset  bytes
       0      8   checksum: xxh3_64 of header from byte 8 on and envelope, with the segment's seed; big endian
       8      4   magic "mtaR"
      12      2   version of the format, 1
      14      2   shard
      16      4   segment
      20      4   identity: the low half of the segment's seed
      24      1   kind: 1 a message, 2 the end marker
      25      3   zeros
      28      4   ordinal: messages before this record in this segment
      32      4   committed, in units of 64 bytes: up to here the segment was synced when this record was written
      36      4   length of the envelope in bytes
      40      8   length of the body in bytes
      48      8   body file, or 0: the body stands here, behind the envelope
      56      8   hash of the body: xxh3_64, no seed

Why so: what the checksum covers is one piece. Bytes 8 to 23 are the same in all records of a segment and in no others,
so a record can be told from anything else, and found again behind damage. A header lies within one sector. The end
marker is a header alone; its `committed` is its own offset.

The seed is 64 random bits in the file's name, new for each use of a file. So a recycled file shows nothing of its past
(stale records have another identity), and no sender can write a message that contains a record: he does not know the
seed, and without it the checksum is wrong.

A segment is left for the next one by the first message that would begin at 64 MiB or behind; that is what 20 bits for
the offset in a queue id allow. Its last record may thus reach beyond 64 MiB, and the location of the next message is
known before its length is. Segment numbers only grow: highest number used (kept in the lock file, synced before the
segment is named) + 1, and at least the seconds since 2024. So a location is not used twice, even when all files were
freed; the clock is for the case that somebody deletes a shard's folder.

How a message becomes durable
=============================

1. `append` puts it into the batch that gathers. Nothing is written.
2. When no batch is on its way, `submit` hands the gathered one to the disk thread (`_disk`): one `pwritev2` with
   RWF_DSYNC, so the data and what is needed to read them are on the disk when it returns. For more than 1,024 buffers
   it is several writes and an `fdatasync`.
3. After success, and only then, the same thread stores the position, in a release store to shared memory, and writes
   the eventfd that wakes the queue manager; then the eventfd that wakes the owner, who collects, and answers 250.

Names: a new or recycled segment is renamed or created, its number stored, and its folder synced, before anything is
appended (`segment.Supply`, on a thread of its own, when its predecessor is half full). A large body is synced before
the record that names it is written; the folder too where the file is new. Recycled body files keep their number when
they are renamed, and are found under either name: so their renames need no sync.

Overwriting blocks that were written before costs a third to a seventh of growing a file, since no metadata changes:
hence `free/`, with a bounded reserve of segments (8) and of bytes in bodies (512 MiB). While there is nothing to
recycle, a segment is filled with zeros when it is prepared; the first one of a new spool, which nobody could prepare,
grows, and is left as soon as a filled one is ready.

How far a segment may be read
=============================

A shard's position is believed when its boot stamp is of this boot of the machine. Then a segment with a lower number
than the position's is read to its end, the position's own up to the position, a higher one not at all. That holds
whether the writer lives or not: nobody was ever answered 250 for what stands behind the position. Without a position
the end of each segment counts, if no writer holds the shard (list the segments first, then try the lock).

The end of a segment is its end marker, which a writer puts there when it leaves a segment or closes, and a successor
behind what a dead writer had committed. Else it is behind the last valid record.

When no valid record stands where one should, reading goes on at the next one behind. What was passed over is *corrupt*
if it had been committed: a later record says so, or the position does. It is reported with file and offset, every
time. Otherwise it is *torn*, the part of a last batch that the power failure let through, and is cut: nobody was told
that it was accepted. Records of that last batch that are whole, bodies included, are given out.

What a crash costs
==================

    the process dies before the sync        no 250 was sent, the sender tries again; not delivered from here
    the process dies between sync and 250   the sender tries again, and the message is delivered twice
    the power fails during the sync         as before the sync; what is whole on the disk may be delivered as well
    the power fails after the sync          nothing is lost
    any crash while a large body arrives    its file is an orphan, freed when the queue manager starts
    the power fails after a body was freed  its file is back under its old name; freed again, no message names it
    a batch fails (disk full, errors)       452 for each of its messages; see below
    the process dies after a failed batch   its successor cuts off what was refused; if the power fails as well before
    that, and the disk took the refused batch in spite of its error, it is delivered beside the sender's next try

When a write or a sync fails, the batch and all that was appended behind it is refused, and its segment abandoned: after
a failed sync nobody knows what a file contains. Another thread seals it, with the end marker behind what is committed
or, where that cannot be written, by cutting the file; then it prepares a fresh segment. This is tried once a second
while somebody asks, and as soon as it works the spool is healthy again.

Known limits
============

- At most 4,096 writers at a time. Segment numbers last until 2092, or for 2^31 segments in one shard.
- If a file system turns read-only, or a copy-on-write one full, in the microseconds between a sync and the store of the
  position, the store may kill the process (SIGBUS). That is a crash like any other.
- A process waits for the disk, up to 10 s, if the next segment is not there when the present one is full.
- Padding is not covered by a checksum; it holds nothing.
- Damage to the last batch after a power failure cannot be told from a torn write.
"""
