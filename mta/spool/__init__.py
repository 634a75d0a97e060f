"""The spool: messages on the disk, from the 250 to the end of their delivery.

(Short form for now; the disk format and the crash table follow.)

Writing: `mta.spool.writer.SpoolWriter`, large bodies as told in `mta.spool.large`.
Reading: `mta.spool.reader.ShardReader.readable` says which segments may be read and how far,
`mta.spool.recovery.Segment.records` reads them, `mta.spool.reader.MessageReader.message` fetches one message.
Giving back: `mta.spool.reclaim`. Queue ids: `mta.spool.queueid`.
"""
