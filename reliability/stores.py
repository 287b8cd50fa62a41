"""Where a world keeps its state: a SQLite file, or a PostgreSQL database of its own that is dropped afterwards."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

__all__ = ["POSTGRES", "Stores", "postgres_trouble"]

POSTGRES: Final = os.environ.get("SYNCLINE_TEST_POSTGRES", "postgresql+psycopg://postgres@127.0.0.1/postgres")


def postgres_trouble() -> str | None:
    """Why PostgreSQL cannot be used here; None when it can."""
    try:
        engine = create_engine(POSTGRES, connect_args={"connect_timeout": 2})
        with engine.connect():
            pass
    except ModuleNotFoundError:
        return "psycopg is not installed (extra: postgres)"
    except OperationalError:
        url = make_url(POSTGRES)
        return f"no PostgreSQL server answers on {url.host} for the user {url.username}"
    engine.dispose()
    return None


class Stores:
    """Fresh stores of one kind, `sqlite` or `postgresql`."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    @contextlib.contextmanager
    def fresh(self, folder: Path) -> Iterator[str]:
        """The address of an empty store; a database on a server is dropped when the world ends."""
        if self.kind == "sqlite":
            yield f"sqlite:///{(folder / 'state.db').resolve()}"
            return
        name = f"syncline_reliability_{secrets.token_hex(6)}"
        admin = create_engine(POSTGRES, isolation_level="AUTOCOMMIT")
        try:
            with admin.connect() as connection:
                connection.execute(text(f"CREATE DATABASE {name}"))
            try:
                yield make_url(POSTGRES).set(database=name).render_as_string(hide_password=False)
            finally:
                with admin.connect() as connection:
                    connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        finally:
            admin.dispose()
