"""Delivery status notifications: bounces, warnings of delay, and what tells of success (RFC 3464, RFC 6522, RFC 6533).

A library without I/O of its own (templates apart), clock or decisions: who is told what, and when, is the queue
manager's business. `report` makes the message, `returned` takes what of the original goes back with it, `fields` makes
header fields that nothing can get out of, `templates` are the words.

A notification is multipart/report with three parts: text for people, message/delivery-status for programs, and the
original or its header. Where the original came with SMTPUTF8 and has addresses or header fields that need it, the last
two have the types of RFC 6533, and the notification needs SMTPUTF8 itself.

Nothing that came from a peer gets out of its line: control characters become "?", bytes that are not UTF-8 the
replacement character, and a boundary is taken only when no part contains it.
"""
