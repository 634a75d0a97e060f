"""The next hop of the LMTP case: a private Dovecot that stores mail in a maildir, synced before its 250 as it ships."""

import os
import pwd
from pathlib import Path

from tests.support.dovecot import Dovecot
from tests.support.server import HOST

SETTINGS = """\
mail_location = maildir:{folder}/mail/%2.64Hn
first_valid_uid = 1
first_valid_gid = 1
default_vsz_limit = 0
default_idle_kill = 1 hours
service lmtp {{
  process_min_avail = {processes}
  process_limit = {processes}
  inet_listener lmtp {{
    address = {host}
    port = {port}
  }}
}}
service anvil {{
  client_limit = 1000
}}
passdb {{
  driver = static
  args = password=none
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/mail/%2.64Hn allow_all_users=yes
}}
"""
PROCESSES = 30  # either side opens 20 connections to one destination by default


class MailStore(Dovecot):
    """Takes mail for anybody over LMTP, into 64 mailboxes by a hash of the name.

    With a single one its lock is what is measured. Its processes live as long as it does, so that their CPU can be
    told.
    """

    def __init__(self, parent: Path) -> None:
        super().__init__(parent=parent)
        nobody = pwd.getpwnam("nobody")
        mail = self.folder / "mail"
        mail.mkdir()
        os.chown(mail, nobody.pw_uid, nobody.pw_gid)
        settings = SETTINGS.format(
            folder=self.folder,
            processes=PROCESSES,
            host=HOST,
            port=self.port,
            uid=nobody.pw_uid,
            gid=nobody.pw_gid,
        )
        self.start(settings)
        self.address = f"{HOST}:{self.port}"

    def close(self) -> None:
        """Stop it. What it stored stays, since what is removed slows down who creates files next."""
        self.stop()
