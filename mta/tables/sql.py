"""A query of an SQL server as a table, through SQLAlchemy's Core.

Each link is a connection in autocommit, so that a question is one round trip; it may only read, and the server itself
ends a query that takes too long. The query becomes a part of one that asks for no more rows, and no longer values, than
are believed: the drivers hold all that comes in memory.
"""

from collections.abc import Callable
from math import ceil
from typing import Any

from sqlalchemy import URL, Connection, Engine, TextClause, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from mta.errors import TableDown
from mta.tables.answer import VALUE_BYTES, VALUES, joined, without_secret
from mta.tables.key import split
from mta.tables.password import read_password
from mta.tables.threaded import Gone

CONNECT_TIMEOUT_S = 2  # the least that libpq and psycopg take
UNTRANSLATABLE = "22P05"  # PostgreSQL: a character of the key is not in the database's encoding

BOUNDED = """\
WITH mta_answer (mta_value) AS (
{query}
) SELECT substr(CAST(mta_value AS TEXT), 1, {characters}) FROM mta_answer LIMIT {rows}"""

# What is said to a server at the beginning of each connection: to let nothing be written, and to keep the time.
SESSION = {
    "postgresql": "SELECT set_config('default_transaction_read_only', 'on', false), "
    "set_config('statement_timeout', '{timeout_ms}', false)"
}


def bounded(query: str) -> str:
    """The query as it is sent."""
    return BOUNDED.format(query=query.strip().removesuffix(";"), characters=VALUE_BYTES + 1, rows=VALUES + 1)


class SqlServer:
    """Makes links to one database."""

    def __init__(self, url: str, query: str, password_file: str, timeout_s: float) -> None:
        """`url` as SQLAlchemy takes it, without a password; `query` with `:key`, `:local` or `:domain`."""
        made = make_url(url)
        self.where = without_query(made)
        self._statement = text(bounded(query))
        self._names = frozenset(self._statement.compile().params)
        self._password_file = password_file
        self._session = SESSION.get(made.get_backend_name(), "").format(timeout_ms=ceil(timeout_s * 1000))
        self._engine = _engine(made, timeout_s)
        event.listen(self._engine, "do_connect", self._add_password)

    def connect(self, watch: Callable[[int], None]) -> "SqlLink":
        """A new link; `watch` is told its socket. Raises `TableDown`. Blocks."""
        secret = read_password(self._password_file)
        try:
            connection = self._engine.connect()
        except SQLAlchemyError as error:
            raise TableDown(_reason(error, secret)) from None
        link = SqlLink(connection, self._statement, self._names, secret)
        try:
            driver: Any = connection.connection.driver_connection
            if hasattr(driver, "fileno"):
                watch(driver.fileno())
            if self._session:
                connection.exec_driver_sql(self._session)
        except SQLAlchemyError as error:
            link.close()
            raise TableDown(_reason(error, secret)) from None
        except BaseException:
            link.close()
            raise
        return link

    def _add_password(self, _dialect: object, _record: object, _words: object, options: dict[str, Any]) -> None:
        if self._password_file:
            options["password"] = read_password(self._password_file)


class SqlLink:
    """A connection."""

    def __init__(self, connection: Connection, statement: TextClause, names: frozenset[str], secret: str) -> None:
        """`names` are those of the statement's parameters; `secret` is struck out of what goes wrong."""
        self._connection = connection
        self._statement = statement
        self._names = names
        self._secret = secret

    def ask(self, key: bytes) -> bytes | None:
        """The first column of all rows, NULL left out; raises `TableDown` or `Gone`. Blocks."""
        parameters = _parameters(key, self._names)
        if parameters is None:
            return None
        try:
            rows = self._connection.execute(self._statement, parameters).scalars().all()
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) == UNTRANSLATABLE:
                return None
            if error.connection_invalidated:
                raise Gone(_reason(error, self._secret)) from None
            raise TableDown(_reason(error, self._secret), of_key=_is_of_value(error)) from None
        except (SQLAlchemyError, UnicodeError) as error:
            raise TableDown(_reason(error, self._secret)) from None
        return joined([_value(row) for row in rows if row is not None])

    def close(self) -> None:
        """Close it."""
        self._connection.close()


def without_query(url: URL) -> str:
    """A URL as failures name it."""
    shown = URL.create(url.drivername, url.username, host=url.host, port=url.port, database=url.database)
    return shown.render_as_string()


def _engine(url: URL, timeout_s: float) -> Engine:
    options: dict[str, Any] = {}
    if url.get_backend_name() == "postgresql":
        options = {
            "connect_timeout": max(CONNECT_TIMEOUT_S, ceil(timeout_s)),
            "client_encoding": "utf8",
            "fallback_application_name": "mta",
        }
    elif url.get_backend_name() == "sqlite":
        options = {"check_same_thread": False}
    return create_engine(
        url,
        poolclass=NullPool,  # links are kept by who asks them
        pool_reset_on_return=None,
        isolation_level="AUTOCOMMIT",
        hide_parameters=True,
        connect_args=options,
    )


def _parameters(key: bytes, names: frozenset[str]) -> dict[str, str] | None:
    """What stands for the names of a query; None where a key cannot be in a database, or has no such part."""
    local, domain = split(key)
    if b"\0" in key or ("domain" in names and not domain):
        return None
    try:
        known = {"key": key.decode(), "local": local.decode(), "domain": domain.decode()}
    except UnicodeDecodeError:
        return None
    return {name: known[name] for name in names}


def _is_of_value(error: DBAPIError) -> bool:
    """Whether the key, or what it leads to, does not fit the query: SQLSTATE of the classes 21 and 22."""
    return str(getattr(error.orig, "sqlstate", None) or "").startswith(("21", "22"))


def _value(row: Any) -> bytes:
    return row if isinstance(row, bytes) else str(row).encode("utf-8", "surrogateescape")


def _reason(error: BaseException, secret: str) -> str:
    """What the driver says of it: SQLAlchemy would add the query and pages of its manual."""
    return without_secret(getattr(error, "orig", None) or error, secret)
