"""What both kits share: exemptions, settings, logging in, trouble with calls, and who may wait for it to end."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar, Final

import pytest
from pydantic import ValidationError

from syncline.errors import AuthError, ConnectorError, RateLimitError, TransientError, did_you_mean
from syncline.testing.contract._config import (
    CANARY,
    accepts,
    addresses,
    models_of,
    open_secrets,
    problems_with,
    secrets_of,
    settings_of,
)
from syncline.testing.contract._expect import expect, expect_raised, not_given
from syncline.testing.contract._network import Network
from syncline.testing.contract._patience import Watch

__all__ = ["Contract", "Operations"]

Operations = Mapping[str, Callable[[], Any]]
"""What a connector does over the network, by name; each may be done alone and repeated."""

LOOPBACK: Final = ("http://127.0.0.1:9", "127.0.0.1", "127.0.0.1:9")
CURSOR_LIMIT: Final = 64 * 1024


class Contract:
    """Exemptions, and the clauses that every connector keeps."""

    _kit: ClassVar[str] = ""
    exempt: ClassVar[Mapping[str, str]] = {}
    _network_now: Network | None = None

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        kits = [base for base in cls.__mro__ if vars(base).get("_kit")]
        if len(kits) > 1:
            names = " and ".join(base.__name__ for base in kits)
            raise TypeError(f"{cls.__name__}: {names} in one class; hold the connector to each in a class of its own")
        clauses = [name for name in dir(cls) if name.startswith("test_")]
        for name, reason in cls.exempt.items():
            if name not in clauses:
                raise TypeError(f"{cls.__name__}.exempt: there is no clause {name!r}; {did_you_mean(name, clauses)}")
            if not reason.strip():
                raise TypeError(f"{cls.__name__}.exempt[{name!r}]: give the reason")
            setattr(cls, name, _exempted(reason))

    # What the author gives

    def connect(self) -> Any:
        """A new connector to the simulated account; the same account every time within a clause."""
        raise NotImplementedError

    def connect_refused(self) -> Any:
        """A connector whose credentials the account refuses."""
        raise NotImplementedError

    def be_down(self) -> None:
        """From now on the vendor answers nothing but that it is down. By default every HTTP call meets a 503."""
        self._network.answer(503)

    def ask_to_slow_down(self, retry_after: timedelta | None) -> None:
        """From now on the vendor refuses calls because there were too many, and says for how long, or does not.

        By default every HTTP call meets a 429, with Retry-After or without.
        """
        told = {} if retry_after is None else {"Retry-After": f"{retry_after.total_seconds():.0f}"}
        self._network.answer(429, told)

    def withdraw_access(self) -> None:
        """From now on the vendor refuses the credentials. By default every HTTP call meets a 401."""
        self._network.answer(401)

    def failed_calls(self) -> int:
        """The calls that the vendor has met with trouble so far; for connectors that do not use `context.http`."""
        not_given("failed_calls", "no HTTP call was made")

    # Settings

    def test_settings_refuse_what_they_do_not_know(self) -> None:
        """A misspelt setting is an error, also within `login:` and its like; else it would silently have no effect."""
        for model in models_of(self._config_model()):
            found = problems_with(model, {"no_such_setting": 1})
            known = f"{model.__name__} takes a setting that it does not know; extra='forbid' (see ConnectorConfig)"
            expect(("no_such_setting", "extra_forbidden") in found, known)

    def test_errors_about_settings_show_no_secret(self) -> None:
        """Neither when a key is misspelt, nor when the secret itself is wrong."""
        for model, given in self._ways_to_misspell():
            try:
                model.model_validate(given)
            except ValidationError as error:
                told = " ".join(e["msg"] for e in error.errors(include_input=False))
                told += str(error) if model is self._config_model() else ""  # the outer model decides what is hidden
                where = f"{model.__name__}.{next(iter(given))}"
                expect(CANARY not in told, f"the error shows what {where} held; hide_input_in_errors=True")

    def _ways_to_misspell(self) -> Iterator[tuple[Any, dict[str, Any]]]:
        yield self._config_model(), {"pasword": CANARY}
        for model, name, field in settings_of(self._config_model()):
            if "SecretStr" in str(field.annotation):
                yield from ((model, given) for given in ({name: CANARY}, {f"{name}s": CANARY}, {name: [CANARY]}))

    def test_secrets_are_secret_strings(self) -> None:
        """What is called a password, a token, a key or a secret is a SecretStr: it prints as stars."""
        found = open_secrets(self._config_model())
        expect(not found, f"held as plain text: {', '.join(found)}; make them SecretStr")

    def test_every_address_can_be_set(self) -> None:
        """So that any connection can be pointed at a simulator; what no setting moves would call the vendor."""
        for model in models_of(self._config_model()):
            fixed = [name for name in addresses(model) if not accepts(model, name, *LOOPBACK)]
            expect(not fixed, f"{model.__name__} cannot be pointed at a simulator: {', '.join(fixed)} refuses loopback")
        with self._watched() as network:
            for call in self._operations(self.connect()).values():
                with contextlib.suppress(ConnectorError):
                    call()
        expect(not network.strays, f"called at an address that no setting moves: {', '.join(sorted(network.strays))}")

    def test_every_setting_is_documented(self) -> None:
        """With a docstring under it, a description, or by name in the docstring of its class."""
        bare = [
            f"{model.__name__}.{name}"
            for model, name, field in settings_of(self._config_model())
            if not (field.description or f"`{name}`" in (inspect.getdoc(model) or ""))
        ]
        hint = "write a docstring under each (models within models need use_attribute_docstrings=True)"
        expect(not bare, f"nobody can know what these mean: {', '.join(bare)}; {hint}")

    def _config_model(self) -> Any:
        return type(self.connect().config)

    # Logging in

    def test_check_names_the_account(self) -> None:
        """A person can recognise the account, and no secret is in its description."""
        connector = self.connect()
        account = connector.check()
        expect(account.id and account.name, f"check() gives id and name; it gave {account.id!r} and {account.name!r}")
        shown = f"{account} {connector.config!r} {connector.config}"
        leaked = [name for name, secret in secrets_of(connector.config) if secret in shown]
        expect(not leaked, f"shown in plain: {', '.join(leaked)}; settings like that are SecretStr")

    def test_refused_credentials_are_an_auth_error(self) -> None:
        connector = self.connect_refused()
        error = expect_raised(AuthError, connector.check, "check() with refused credentials raises")
        leaked = [name for name, secret in secrets_of(connector.config) if secret in str(error)]
        expect(not leaked, f"the error shows {', '.join(leaked)}")

    # Trouble, by what the host does next

    def test_withdrawn_access_is_an_auth_error(self) -> None:
        """Also in the middle of a run: the host pauses the connection, and does not knock again."""
        ready = self._ready()
        with self._watched():
            self.withdraw_access()
            for what, (connector, call) in ready.items():
                self._raised(AuthError, connector, call, what, "withdraw_access")

    def test_an_outage_is_weather(self) -> None:
        """5xx and no answer at all: TransientError, so that the host waits, no shorter than it is told, and repeats."""
        for status in (500, 502, 503, 0):
            self._meet_outage(status)
        ready = self._ready()  # the vendor's own outage comes last: nobody ends it
        with self._watched():
            self.be_down()
            for what, (connector, call) in ready.items():
                self._raised(TransientError, connector, call, what, "be_down")

    def _meet_outage(self, status: int) -> None:
        """One kind of outage for every HTTP call; connectors that make none have `be_down` only."""
        for what, (connector, call) in self._ready().items():
            if not connector.context.http.metrics.total:
                continue
            with self._watched() as network:
                network.answer(status, {"Retry-After": "7"})
                error = self._raised(TransientError, connector, call, f"{what}, {status or 'no answer'}", "be_down")
            told = error is None or not status or error.retry_after == timedelta(seconds=7)
            expect(told, f"{what}: HTTP {status} said Retry-After: 7; the error says {error and error.retry_after}")

    def test_a_request_to_slow_down_says_for_how_long(self) -> None:
        """RateLimitError slows the whole connection; `retry_after` is what the vendor said, if it said anything."""
        asked = [(None, self._ready()), (timedelta(seconds=40), self._ready())]
        # These have no session yet: they meet the refusal when they log in, if they do.
        fresh = {what: (connector, call) for what, connector, call in self._each() if what != "check"}
        with self._watched():
            for retry_after, ready in (*asked, (timedelta(seconds=50), fresh)):
                self.ask_to_slow_down(retry_after)
                for what, (connector, call) in ready.items():
                    error = self._raised(RateLimitError, connector, call, f"too many calls: {what}", "ask_to_slow_down")
                    told = error and error.retry_after
                    right = error is None or retry_after in (None, told)
                    expect(right, f"{what}: the vendor said {retry_after}, the error says {told}")

    def test_trouble_is_not_tried_again(self) -> None:
        """Only the host repeats a call: two layers of patience multiply. (A session that ended is renewed once.)"""
        over_http = any(connector.context.http.metrics.total for connector, _ in self._ready().values())
        for what, again in self._sent_again() if over_http else self._failed_again():
            expect(not again, f"{what}: {again}")

    def _sent_again(self) -> Iterator[tuple[str, str]]:
        """What was done, and which of its HTTP calls failed and were made again."""
        for status in (503, 429, 0):
            for what, (_, call) in self._ready().items():
                with self._watched() as network, contextlib.suppress(ConnectorError):
                    network.answer(status)
                    call()
                again = ", ".join(network.again())
                yield what, again and f"{again} was sent again after {status or 'no answer'}"

    def _failed_again(self) -> Iterator[tuple[str, str]]:
        """The same for those who make no HTTP calls: the vendor has counted."""
        ready = self._ready()
        with self._watched():
            self.be_down()
            for what, (_, call) in ready.items():
                before = self.failed_calls()
                with contextlib.suppress(ConnectorError):
                    call()
                failed = self.failed_calls() - before
                yield what, f"{failed} calls failed, where the first should have been the last" if failed > 1 else ""

    def test_nothing_sleeps_and_no_thread_stays(self) -> None:
        """The host waits, where it can be seen and stopped. (`context.http` keeps its own pace.)"""
        quiet, slowed, down = (self._ready() for _ in range(3))
        with Watch() as watch, self._watched():
            for trouble, ready in ((None, quiet), (partial(self.ask_to_slow_down, None), slowed), (self.be_down, down)):
                if trouble is not None:
                    trouble()
                for what, (_, call) in ready.items():
                    with contextlib.suppress(ConnectorError):
                        call()
                    watch.hold(f"{what}, in trouble" if trouble else what)

    # What the host keeps

    def test_cursors_are_small_texts(self) -> None:
        """The host keeps one beside every page: a text of less than 64 kB, and no bigger after a second look."""
        for what, read in self._readings().items():
            cursor: str | None = None
            for _ in range(2):
                for page in read(cursor):
                    given = page.cursor
                    expect(given is None or isinstance(given, str), f"{what}: a cursor is a text, not {given!r}")
                    size = len((given or "").encode())
                    expect(size < CURSOR_LIMIT, f"{what}: a cursor of {size} bytes; keep it below {CURSOR_LIMIT}")
                    cursor = given if given is not None else cursor

    # What the kits below say

    def _operations(self, connector: Any) -> Operations:
        """What this connector does over the network; `check` first."""
        raise NotImplementedError

    def _readings(self) -> Mapping[str, Callable[[str | None], Iterable[Any]]]:
        """What is read page by page, as functions of a cursor."""
        raise NotImplementedError

    def _each(self) -> Iterator[tuple[str, Any, Callable[[], Any]]]:
        """Every operation with a new connector of its own."""
        for what in self._operations(self.connect()):
            connector = self.connect()
            yield what, connector, self._operations(connector)[what]

    def _ready(self) -> dict[str, tuple[Any, Callable[[], Any]]]:
        """Every operation with a connector of its own that is logged in."""
        made = {}
        for what, connector, call in self._each():
            connector.check()
            made[what] = (connector, call)
        return made

    @property
    def _network(self) -> Network:
        if self._network_now is None:
            raise RuntimeError("trouble with every HTTP call is made within a clause only")
        return self._network_now

    @contextlib.contextmanager
    def _watched(self, *, at_most: int | None = None) -> Iterator[Network]:
        with Network(at_most=at_most) as network:
            self._network_now = network
            try:
                yield network
            finally:
                self._network_now = None

    def _raised(self, kind: type[Any], connector: Any, call: Callable[[], Any], what: str, hook: str) -> Any:
        """The error of this kind that `call` raises; None when it made no call that could have met trouble.

        Whoever makes no HTTP call at all is not reached by the trouble that the kit makes itself: the clause is then
        skipped, unless the author's own `hook` makes it.
        """
        metrics = connector.context.http.metrics
        before = metrics.total
        try:
            call()
        except kind as error:
            return error
        except Exception as error:
            raise AssertionError(
                f"{what} raises {kind.__name__}; it raised {type(error).__name__} ({error})"
            ) from error
        if before and metrics.total == before:
            return None
        if not metrics.total and getattr(type(self), hook) is getattr(Contract, hook):
            not_given(hook, "no HTTP call was made")
        raise AssertionError(f"{what} raises {kind.__name__}; nothing was raised")


def _exempted(reason: str) -> Callable[[Any], None]:
    def clause(_self: Any) -> None:
        pytest.skip(f"exempt: {reason}")

    return clause
