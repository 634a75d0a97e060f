"""mta: an inbound mail exchanger for high volume.

A message's way through the packages, in order: `smtp` (the conversation, without I/O), `policy` (what to refuse),
`spool` (kept durably), `server` (the process that joins the three at the sockets), `qmgr` (what goes where, and when),
`deliver` (hands it on), all started and watched by `supervisor`. ARCHITECTURE.md tells the story in full.
"""

__version__ = "0.1.0"
