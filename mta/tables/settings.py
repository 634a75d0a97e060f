"""What may be configured of a table: [table.NAME]."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

Kind = Literal["inline", "file", "regexp", "cidr", "sqlite", "socketmap", "redis"]


class Table(Struct, frozen=True, forbid_unknown_fields=True):
    """Something that answers a key with a value, or with nothing; docs/tables.md tells all about it."""

    kind: Annotated[Kind, Meta(description="what is asked", examples=["inline"])]
    entries: Annotated[
        list[str],
        Meta(
            description="inline, regexp and cidr: the lines, each a key and a value, in place of a file",
            examples=[["joe@example.org", "@list.example.org"]],
        ),
    ] = field(default_factory=list)
    path: Annotated[str, Meta(description="file, regexp, cidr: the file with the lines; sqlite: the database")] = ""
    query: Annotated[
        str, Meta(description="sqlite: a query with one ? for the key; its first row's first column is the value")
    ] = ""
    host: Annotated[
        str, Meta(description='socketmap and redis: "127.0.0.1:6379", "[::1]:6379", "maps.example:99" or "unix:/path"')
    ] = ""
    map: Annotated[str, Meta(description="socketmap: name of the map that is asked")] = ""
    hash: Annotated[str, Meta(description="redis: ask HGET of this hash; without it, GET of the key itself")] = ""
    prefix: Annotated[str, Meta(description="redis: put in front of every key")] = ""
    timeout_s: Annotated[
        float, Meta(gt=0, le=60, description="sqlite, socketmap and redis: longest wait for an answer, in seconds")
    ] = 5.0
    connections: Annotated[
        int, Meta(ge=1, le=100, description="socketmap and redis: open connections, per process, at most")
    ] = 4
    cache_s: Annotated[
        float,
        Meta(ge=0, le=86400, description="sqlite, socketmap and redis: how long a value is remembered, in seconds"),
    ] = 60.0
    negative_cache_s: Annotated[
        float, Meta(ge=0, le=86400, description="the same for keys that are not there, in seconds")
    ] = 10.0
    cache_entries: Annotated[
        int, Meta(ge=0, le=1_000_000, description="keys that are remembered, per process, at most; 0 is none")
    ] = 10000
