"""Every trouble a database makes, as the host is told of it; most of it made on a real MariaDB."""

from __future__ import annotations

import sqlite3
import ssl
from pathlib import Path

import certifi
import pymysql
import pytest
from sqlalchemy.exc import OperationalError

from syncline.errors import AuthError, ConfigError, ConnectorError, RateLimitError, SchemaDriftError, TransientError
from syncline_mailpoet.errors import translated

from .conftest import administrator, execute


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (1040, RateLimitError),  # too many connections
        (1044, AuthError),  # no right to this database
        (1045, AuthError),  # wrong password
        (1049, ConfigError),  # unknown database
        (1053, TransientError),  # shutting down
        (1054, SchemaDriftError),  # unknown column
        (1064, ConnectorError),  # a statement of ours is wrong
        (1129, AuthError),  # host blocked
        (1130, AuthError),  # host not allowed
        (1142, AuthError),  # no right to this table
        (1146, ConfigError),  # no such table
        (1203, RateLimitError),  # too many connections of this user
        (1205, TransientError),  # lock wait timeout
        (1213, TransientError),  # deadlock
        (1226, RateLimitError),  # hourly quota
        (1317, TransientError),  # interrupted
        (1969, TransientError),  # statement took too long
        (2003, TransientError),  # cannot connect
        (2006, TransientError),  # gone away
        (2013, TransientError),  # lost
    ],
)
def test_numbers_of_the_server(code, kind):
    driver = pymysql.err.error_map.get(code, pymysql.err.OperationalError)
    with pytest.raises(ConnectorError) as caught, translated("blog/opens"):
        raise OperationalError("SELECT email FROM secret", {"who": "ada@acme.example"}, driver(code, "Words"))
    assert type(caught.value) is kind
    assert caught.value.where == "blog/opens"
    assert "secret" not in str(caught.value)
    assert "ada@acme.example" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("no such table: wp_mailpoet_subscribers", ConfigError),
        ("no such column: s.email", SchemaDriftError),
        ("unable to open database file", ConfigError),
        ("file is not a database", ConfigError),
        ("database is locked", TransientError),
    ],
)
def test_words_of_a_file(words, kind):
    with pytest.raises(kind) as caught, translated("blog"):
        raise sqlite3.OperationalError(words)
    assert words in str(caught.value)


def test_an_unknown_column_is_named():
    with pytest.raises(SchemaDriftError) as caught, translated("blog"):
        raise pymysql.err.OperationalError(1054, "Unknown column 'wp_mailpoet_statistics_opens.queue_id' in 'SELECT'")
    assert caught.value.field == "queue_id"


def test_a_missing_library_is_said():
    with pytest.raises(ConfigError, match="set ca"), translated("blog"):
        raise RuntimeError("'cryptography' package is required for sha256_password or caching_sha2_password")


def test_our_own_bugs_are_not_dressed_up():
    with pytest.raises(RuntimeError, match="a bug"), translated("blog"):
        raise RuntimeError("a bug")


def test_a_wrong_password(simulate, connect, mariadb):
    source = connect(simulate(mariadb, people=5), user="nobody_here", password="wrong-word")
    with pytest.raises(AuthError, match=r"error 1045.*README\.md") as caught:
        source.check()
    assert "wrong-word" not in str(caught.value)


def test_a_reader_without_the_right_to_a_table(simulate, connect, mariadb):
    simulator = simulate(mariadb, people=5)
    reader = f"r_{mariadb['name'][-10:]}"
    execute(f"CREATE USER {reader}@'127.0.0.1' IDENTIFIED BY 'word'")
    try:
        for table in simulator.site.tables:
            if table != "statistics_clicks":
                execute(f"GRANT SELECT ON {mariadb['name']}.wp_mailpoet_{table} TO {reader}@'127.0.0.1'")
        with pytest.raises(AuthError, match="wp_mailpoet_statistics_clicks"):
            connect(simulator, user=reader, password="word").check()
        execute(f"GRANT SELECT ON {mariadb['name']}.wp_mailpoet_statistics_clicks TO {reader}@'127.0.0.1'")
        source = connect(simulator, user=reader, password="word")
        assert source.check().details["user"] == f"{reader}@127.0.0.1"
        for stream in source.streams:
            list(source.read(stream, None))  # SELECT on these tables is all it takes
    finally:
        execute(f"DROP USER {reader}@'127.0.0.1'")


def test_an_unknown_database(simulate, connect, mariadb):
    with pytest.raises(ConfigError, match="DB_NAME"):
        connect(simulate(mariadb, people=5), name="no_such_database").check()


def test_nobody_listens(simulate, connect, mariadb):
    with pytest.raises(TransientError, match="cannot be reached"):
        connect(simulate(mariadb, people=5), host="127.0.0.1:9").check()


def test_a_read_that_breaks_off_goes_on_from_its_last_page(simulate, connect, mariadb):
    """What was read before is safe: from its cursor the rest is found."""
    simulator = simulate(mariadb, people=60)
    source = connect(simulator, page_size=10)
    whole = {record.key for page in source.read("opens", None) for record in page.records}
    pages = source.read("opens", None)
    first = next(pages)
    execute(f"ALTER TABLE {mariadb['name']}.wp_mailpoet_statistics_opens RENAME {mariadb['name']}.away")
    with pytest.raises(ConfigError, match="statistics_opens"):
        next(pages)
    execute(f"ALTER TABLE {mariadb['name']}.away RENAME {mariadb['name']}.wp_mailpoet_statistics_opens")
    rest = {record.key for page in source.read("opens", first.cursor) for record in page.records}
    assert {record.key for record in first.records} | rest == whole


def test_a_statement_that_is_killed(simulate, connect, mariadb, monkeypatch):
    """The server ends our session while it answers: weather, and nothing is taken for all."""
    source = connect(simulate(mariadb, people=60), page_size=10)
    source.check()
    database = source._database
    session = database._session

    def ended(what):
        context = session(what)
        connection = context.__enter__()
        (number,) = connection.exec_driver_sql("SELECT CONNECTION_ID()").one()
        with administrator() as other, other.cursor() as cursor:
            cursor.execute(f"KILL {number}")

        class Ended:
            def __enter__(self):
                return connection

            def __exit__(self, *error):
                return context.__exit__(*error)

        return Ended()

    monkeypatch.setattr(database, "_session", ended)
    with pytest.raises(TransientError):
        list(source.read("clicks", None))


@pytest.mark.parametrize("prefix", ["wp_7_", ""])
def test_a_wrong_prefix(simulate, connect, server, prefix):
    with pytest.raises(ConfigError, match=rf"prefix is \$table_prefix of wp-config.php \(here '{prefix}'\)"):
        connect(simulate(server, people=5), prefix=prefix).check()


def test_a_column_that_is_gone(simulate, connect, server):
    simulator = simulate(server, people=5)
    simulator.run("ALTER TABLE wp_mailpoet_statistics_clicks DROP COLUMN count")
    with pytest.raises(SchemaDriftError, match="knows MailPoet") as caught:
        list(connect(simulator).read("clicks", None))
    assert caught.value.field == "wp_mailpoet_statistics_clicks.count"


def test_a_file_that_is_not_there_is_not_made(connect, simulate, tmp_path: Path):
    simulator = simulate(people=5)
    with pytest.raises(ConfigError, match="unable to open"):
        connect(simulator, file=str(tmp_path / "none.db")).check()
    assert not (tmp_path / "none.db").exists()


def test_a_server_without_encryption_is_not_spoken_to_where_it_is_asked_for(simulate, connect, mariadb):
    """Who sits between us and the server could say that it has none."""
    simulator = simulate(mariadb, people=5)
    with administrator() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT @@have_ssl")
        if cursor.fetchone() == ("YES",):
            pytest.skip("this MariaDB offers encryption")
    with pytest.raises(ConfigError, match="SSH tunnel without ca"):
        connect(simulator, ca=certifi.where()).check()


def test_a_certificate_that_does_not_fit_is_no_weather():
    """As PyMySQL says it: as a server that cannot be reached."""
    error = pymysql.err.OperationalError(
        2003, "Can't connect to MySQL server on 'db.example' (certificate verify failed)"
    )
    error.original_exception = ssl.SSLCertVerificationError(1, "certificate verify failed: self-signed certificate")
    with pytest.raises(ConfigError, match="look at ca"), translated("blog"):
        raise OperationalError("SELECT 1", {}, error)


def test_a_certificate_that_cannot_be_read(simulate, connect, mariadb, tmp_path: Path):
    (tmp_path / "ca.pem").write_text("not a certificate")
    with pytest.raises(ConfigError, match=r"ca ca\.pem cannot be used"):
        connect(simulate(mariadb, people=5), ca=str(tmp_path / "ca.pem")).check()
