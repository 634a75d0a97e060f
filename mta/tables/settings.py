"""What may be configured of a table: [table.NAME]."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

Kind = Literal["inline", "file", "regexp", "cidr", "lmdb", "sqlite", "sql", "ldap", "socketmap", "redis", "http"]


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
    path: Annotated[
        str, Meta(description="file, regexp, cidr: the file with the lines; lmdb, sqlite: the database")
    ] = ""
    query: Annotated[
        str,
        Meta(
            description="sqlite: a query with one ? for the key, whose first row's first column is the value; sql: "
            "one with :key (or :local, :domain), the first columns of whose rows are the value, joined by commas",
        ),
    ] = ""
    host: Annotated[
        str, Meta(description='socketmap and redis: "127.0.0.1:6379", "[::1]:6379", "maps.example:99" or "unix:/path"')
    ] = ""
    map: Annotated[str, Meta(description="socketmap: name of the map that is asked")] = ""
    hash: Annotated[str, Meta(description="redis: ask HGET of this hash; without it, GET of the key itself")] = ""
    prefix: Annotated[str, Meta(description="redis: put in front of every key")] = ""
    url: Annotated[
        str,
        Meta(
            description="http: what is asked with GET; {key} in its path or query stands for the key, percent-encoded; "
            'sql: "postgresql+psycopg://user@host/database", without a password; '
            'ldap: "ldap://host", "ldaps://host" or "ldapi:///path"',
        ),
    ] = ""
    key_file: Annotated[
        str, Meta(description="http: file whose first line is sent as the token of Authorization: Bearer")
    ] = ""
    password_file: Annotated[
        str, Meta(description="sql and ldap: file whose first line is the password; read at each connection")
    ] = ""
    base: Annotated[str, Meta(description="ldap: the entry to search below")] = ""
    scope: Annotated[
        Literal["sub", "one", "base"],
        Meta(description="ldap: search all that is below base, only what is directly below it, or only base itself"),
    ] = "sub"
    filter: Annotated[
        str,
        Meta(description='ldap: which entries, as "(mail={key})"; or with {local} and {domain}, the parts of the key'),
    ] = ""
    attribute: Annotated[str, Meta(description="ldap: the attribute whose values are the value")] = ""
    bind_dn: Annotated[str, Meta(description="ldap: whom to bind as, with password_file; without it, as nobody")] = ""
    starttls: Annotated[bool, Meta(description="ldap: TLS by StartTLS, verified, or nothing is asked")] = False
    tls_ca: Annotated[
        str,
        Meta(description="http and ldap: PEM file with the authorities to trust; without it, those of the system"),
    ] = ""
    timeout_s: Annotated[
        float, Meta(gt=0, le=60, description="sqlite and servers: longest wait for an answer, in seconds")
    ] = 5.0
    connections: Annotated[int, Meta(ge=1, le=100, description="servers: open connections, per process, at most")] = 4
    cache_s: Annotated[
        float, Meta(ge=0, le=86400, description="sqlite and servers: how long a value is remembered, in seconds")
    ] = 60.0
    negative_cache_s: Annotated[
        float, Meta(ge=0, le=86400, description="the same for keys that are not there, in seconds")
    ] = 10.0
    cache_entries: Annotated[
        int, Meta(ge=0, le=1_000_000, description="keys that are remembered, per process, at most; 0 is none")
    ] = 10000
