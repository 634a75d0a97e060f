"""A next hop that offers all that we make use of, and takes nothing that is not in the grammar of what it offers."""

import re

from tests.support.nexthop import Hop, Polite

EVERYTHING = (
    *("PIPELINING", "SIZE 10000000", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"),
    *("DSN", "CHUNKING", "BINARYMIME"),
)
_XTEXT = rb"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+"
_ATOM = rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_NOTICE = rb"(?:SUCCESS|FAILURE|DELAY)"

# Parameters of MAIL and of RCPT, by the keyword that has to be offered.
_MAIL = {
    "SIZE": rb"SIZE=[0-9]{1,20}",
    "8BITMIME": rb"BODY=(?:7BIT|8BITMIME)",
    "BINARYMIME": rb"BODY=BINARYMIME",
    "SMTPUTF8": rb"SMTPUTF8",
    "DSN": rb"RET=(?:FULL|HDRS)|ENVID=(?=[^ ]{1,100}(?: |\Z))%b" % _XTEXT,
}
_RCPT = {
    "DSN": rb"NOTIFY=(?:NEVER|%b(?:,%b)*)|ORCPT=(?=[^ ]{1,500}(?: |\Z))(?:%b;%b|utf-8;[!-*,-<>-~\x80-\xff]+)"
    % (_NOTICE, _NOTICE, _ATOM, _XTEXT),
}


class Strict(Polite):
    """A script: as `Polite`, and `problems` has every command that it would not take, and content that is no text."""

    def __init__(
        self,
        replies: dict[str, str] | None = None,
        *,
        lmtp: bool = False,
        extensions: tuple[str, ...] = EVERYTHING,
    ) -> None:
        super().__init__(replies, lmtp=lmtp, extensions=extensions)
        self.problems: list[bytes] = []
        self._keywords = {text.split()[0] for text in extensions}
        self._mail = self._command(rb"MAIL FROM:<(?:[^<>\x00-\x20\x7f]+)?>", _MAIL)
        self._rcpt = self._command(rb"RCPT TO:<[^<>\x00-\x20\x7f]+>", _RCPT)

    def _command(self, start: bytes, parameters: dict[str, bytes]) -> re.Pattern[bytes]:
        offered = [pattern for keyword, pattern in parameters.items() if keyword in self._keywords]
        return re.compile(rb"%b(?: (?:%b))*" % (start, b"|".join([*offered, rb"\Zx"])))

    def _answer(self, line: bytes, verb: str) -> str:
        pattern = {"MAIL": self._mail, "RCPT": self._rcpt}.get(verb)
        names = [parameter.split(b"=")[0] for parameter in line.split(b" ")[2:]]
        if (pattern and not pattern.fullmatch(line)) or len(set(names)) < len(names):
            self.problems.append(line)
            return "501 5.5.4 syntax"
        return super()._answer(line, verb)

    def _end(self, hop: Hop, sender: bytes, recipients: list[bytes], content: bytes) -> None:
        chunked = self.commands[-1].startswith(b"BDAT")
        if chunked and not ("CHUNKING" in self._keywords and re.fullmatch(rb"BDAT [0-9]+ LAST", self.commands[-1])):
            self.problems.append(self.commands[-1])
        if b"BODY=BINARYMIME" in sender:
            if not chunked:
                self.problems.append(b"DATA with BINARYMIME")
        elif content.count(b"\r") != content.count(b"\r\n") or content.count(b"\n") != content.count(b"\r\n"):
            self.problems.append(b"bare line ends")
        if not chunked:
            content = re.sub(rb"(\A|\r\n)\.\.", rb"\1.", content)
        declared = re.search(rb" SIZE=([0-9]+)", sender)
        if declared and int(declared[1]) != len(content):
            self.problems.append(sender)
        super()._end(hop, sender, recipients, content)
