"""What may stand in connectors.yaml."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from syncline_mailpoet import MailPoetConfig

GIVEN = {"site": "blog.example", "user": "reader", "password": "s3cret-word", "name": "wordpress"}


def make(**more):
    return MailPoetConfig.model_validate({**GIVEN, **more})


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("localhost", ("localhost", 3306, None)),
        ("db.example:3307", ("db.example", 3307, None)),
        ("localhost:/run/mysqld/mysqld.sock", ("localhost", 3306, "/run/mysqld/mysqld.sock")),
        (":/var/mysql.sock", ("localhost", 3306, "/var/mysql.sock")),
        ("::1", ("::1", 3306, None)),
        ("[::1]:3307", ("::1", 3307, None)),
    ],
)
def test_host_is_read_as_wordpress_reads_it(host, address):
    assert tuple(make(host=host).address) == address


@pytest.mark.parametrize("host", ["db.example:mysql", "db.example:0", "db.example:70000"])
def test_a_host_with_another_port_is_refused(host):
    with pytest.raises(ValidationError, match="DB_HOST"):
        make(host=host)


@pytest.mark.parametrize("missing", ["user", "password", "name"])
def test_what_is_missing_is_named_as_in_wp_config(missing):
    with pytest.raises(ValidationError, match=f"{missing} is missing; wp-config.php"):
        MailPoetConfig.model_validate({k: v for k, v in GIVEN.items() if k != missing})


def test_a_file_and_a_server_are_one_too_many():
    with pytest.raises(ValidationError, match="either file or user, password, name"):
        make(file="site.db")


@pytest.mark.parametrize("prefix", ["wp_; DROP TABLE", "wp-", "wp_`"])
def test_a_prefix_cannot_carry_sql(prefix):
    with pytest.raises(ValidationError, match=r"copy \$table_prefix"):
        make(prefix=prefix)


def test_the_prefix_is_wordpresss_own():
    with pytest.raises(ValidationError, match="without mailpoet_"):
        make(prefix="wp_mailpoet_")


@pytest.mark.parametrize("site", ["", "my site", "-x", "ex:ample"])
def test_a_site_is_a_plain_name(site):
    with pytest.raises(ValidationError, match=r"such as blog\.example"):
        make(site=site)


def test_forms_may_be_numbers_in_yaml():
    assert make(forms={3: "demo_request", "Contact us": "contact"}).forms["3"] == "demo_request"


@pytest.mark.parametrize("value", [10, "10", "0m", "soon"])
def test_durations_carry_their_unit(value):
    with pytest.raises(ValidationError):
        make(settling=value)


def test_secrets_are_never_shown():
    config = make(webhook_secret="hook-word")
    for shown in (repr(config), str(config), config.model_dump_json()):
        assert "s3cret-word" not in shown
        assert "hook-word" not in shown


def test_a_misspelt_key_does_not_print_the_secret():
    with pytest.raises(ValidationError) as caught:
        make(pasword="s3cret-word-2")
    assert "s3cret-word-2" not in str(caught.value)
