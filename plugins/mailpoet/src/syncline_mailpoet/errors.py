"""What the database's errors mean to the host. One place: inside `translated` whatever a driver raises becomes ours.

Numbers are those of MariaDB and MySQL (error reference of MariaDB 10.11 and of MySQL 8.0, read 2026-08).
"""

from __future__ import annotations

import re
import sqlite3
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pymysql
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from syncline.errors import AuthError, ConfigError, ConnectorError, RateLimitError, SchemaDriftError, TransientError

__all__ = ["translated"]

_REFUSED: Final = frozenset({1044, 1045, 1129, 1130, 1142, 1143, 1227, 1251, 1698, 1820, 1862, 3118, 3955, 4151})
"""No such user, wrong password, host not allowed or blocked, no right to this, account locked, password expired."""
_BUSY: Final = frozenset({1040, 1203, 1226})
"""Too many connections, of all or of this user, or the user's hourly quota is used up."""
_NO_DATABASE: Final = 1049
_NO_TABLE: Final = 1146
_NO_COLUMN: Final = 1054
_NOT_ENCRYPTED: Final = 2026
_CANNOT_CONNECT: Final = frozenset({2002, 2003, 2005})

_NAMED: Final = re.compile(r"(?:Unknown column '|no such column: )([^'\s]+)")
_GRANT: Final = "; the user needs SELECT on the tables that README.md lists"


@contextmanager
def translated(where: str) -> Iterator[None]:
    """AuthError, ConfigError, SchemaDriftError, RateLimitError or TransientError; never a statement or a value."""
    try:
        yield
    except DBAPIError as error:
        raise _ours(error.orig or error, where) from error
    except (pymysql.MySQLError, sqlite3.Error) as error:
        raise _ours(error, where) from error
    except OSError as error:
        raise TransientError(f"the database does not answer ({type(error).__name__})", where=where) from error
    except RuntimeError as error:
        if "cryptography" not in str(error):
            raise
        raise ConfigError(
            "the server wants the password encrypted: set ca, or `pip install pymysql[rsa]`", where=where
        ) from error
    except SQLAlchemyError as error:
        raise ConnectorError(f"the database library failed ({type(error).__name__})", where=where) from error


def _ours(error: BaseException, where: str) -> ConnectorError:
    if isinstance(error, sqlite3.Error):
        return _of_a_file(error, where)
    code, words = _said(error)
    said = f"{words} (error {code})" if code else words or type(error).__name__
    if code in _REFUSED:
        return AuthError(said + _GRANT, where=where)
    if isinstance(getattr(error, "original_exception", None), ssl.SSLCertVerificationError):
        return ConfigError("the server's certificate does not fit: look at ca, and at the name in host", where=where)
    if code == _NOT_ENCRYPTED:
        return ConfigError(f"{said}: turn it on there, or use an SSH tunnel without ca", where=where)
    if code in _BUSY:
        return RateLimitError(said, where=where)
    if code == _NO_DATABASE:
        return ConfigError(f"{said}; name is DB_NAME of wp-config.php", where=where)
    if code == _NO_TABLE:
        return ConfigError(said, where=where)
    if code == _NO_COLUMN:
        return SchemaDriftError(said, field=_column(words), where=where)
    if isinstance(error, pymysql.err.OperationalError | pymysql.err.InternalError | pymysql.err.InterfaceError):
        return TransientError(said, where=where)
    return ConnectorError(said, where=where)


def _of_a_file(error: sqlite3.Error, where: str) -> ConnectorError:
    words = str(error)
    if "no such column" in words:
        return SchemaDriftError(words, field=_column(words), where=where)
    if "no such table" in words or "unable to open" in words or "not a database" in words:
        return ConfigError(f"{words}; file is an SQLite file of the simulator", where=where)
    return TransientError(words, where=where)


def _said(error: BaseException) -> tuple[int, str]:
    """Number and words. What the driver itself says of a broken connection has number 0 or 2xxx."""
    if len(error.args) > 1 and isinstance(error.args[0], int):
        code = error.args[0]
        return code, "the server cannot be reached" if code in _CANNOT_CONNECT else str(error.args[1])
    return 0, str(error)


def _column(words: str) -> str:
    found = _NAMED.search(words)
    return found[1].rpartition(".")[2] if found else "unknown"
