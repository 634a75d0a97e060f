"""Writes `docs/replies.md` from the refusals of `mta.smtp.replies` and what `mta.smtp.reasons` says of them."""

from mta.smtp import replies
from mta.smtp.reasons import REASONS, Reason
from mta.smtp.replies import Reply

HEAD = """\
# Why mail was refused

Each refusal ends with one word in brackets, its reason:

    550 5.7.1 Relaying denied [relay]

The word is the same in the reply, in the bounce that the sender gets from its own server, and in the log (`reason` of
the event `refused`). It never changes its meaning; the text before it may. A reply that begins with 4 is for now, and
the sending server tries again by itself; one that begins with 5 is for good. Settings are those of
[the configuration](configuration.md); any of `[limits]` can be set for one listener alone.

To find a refusal in the log, search for the sender's or the recipient's address with `event=refused`; the line has the
session's id, and that leads to the rest of the conversation.

This page is generated from `mta/smtp/replies.py` and `mta/smtp/reasons.py` by `python -m mta.config_doc`.
"""


def refusals() -> list[Reply]:
    """Every reply that refuses, by code and text."""
    found = [reply for reply in vars(replies).values() if isinstance(reply, Reply) and reply.reason]
    return sorted(found, key=lambda reply: reply.wire)


def page() -> str:
    """The page, each reason with its replies."""
    return HEAD + "".join(_section(word, REASONS[word]) for word in sorted(REASONS))


def _section(word: str, reason: Reason) -> str:
    texts = "".join(f"    {reply.text}\n" for reply in refusals() if reply.reason == word)
    parts = [f"\n## {word}\n\n{texts}\n{reason.meaning}\n\n- **Sender:** {reason.sender}\n"]
    if reason.administrator:
        parts.append(f"- **Administrator:** {reason.administrator}\n")
    if reason.settings:
        parts.append(f"- **Settings:** {', '.join(f'`{key}`' for key in reason.settings)}\n")
    return "".join(parts)
