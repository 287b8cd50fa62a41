"""The clauses for sources."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from numbers import Number
from typing import Any, Final

from syncline.errors import ConnectorError, RecordError, did_you_mean
from syncline.model import EVENT_TYPES, Event, Page, RawRecord
from syncline.sdk import Polls, Source, WebhookRequest
from syncline.testing.contract._base import Operations
from syncline.testing.contract._expect import expect, expect_done, expect_raised, lacks, not_given, offers
from syncline.testing.contract._network import EndlessError
from syncline.testing.contract._webhooks import TakesWebhooks, as_json

__all__ = ["SourceContract"]

_KINDS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "text": str,
    "number": Number,
    "boolean": bool,
    "mapping": Mapping,
}


class SourceContract(TakesWebhooks):
    """The clauses for a source. The account holds some facts in every stream when a clause begins."""

    _kit = "source"

    # What the author gives

    def connect(self) -> Source[Any]:
        raise NotImplementedError

    def happen(self) -> None:
        """Let one more fact happen in the account, in any stream."""
        raise NotImplementedError

    def break_reading(self) -> None:
        """From now on the vendor answers calls with an error, or with half an answer."""
        raise NotImplementedError

    def connect_empty(self) -> Source[Any]:
        """A connector to an account in which nothing has happened yet."""
        not_given("connect_empty")

    def empty_page(self) -> None:
        """From now on a page in the middle of what is read comes without records, and nothing is lost by it."""
        not_given("empty_page")

    def repeat_page_token(self) -> None:
        """From now on the vendor names, as the next page, the page it has just given: for ever."""
        not_given("repeat_page_token")

    def end_session(self) -> None:
        """Whatever a log-in gave is no longer valid; the credentials are."""
        not_given("end_session")

    def happen_both_ways(self) -> WebhookRequest:
        """Let a fact happen that can be read, and give the request with which the vendor tells of it too."""
        not_given("happen_both_ways")

    # Reading

    def test_every_stream_brings_plain_records(self) -> None:
        """Records carry the stream's name and the vendor's own key, and can be stored as JSON."""
        source = self._polling()
        for stream in source.streams:
            records = self._records(source, stream)
            expect(records, f"{stream}: nothing was read; the simulated account should hold something")
            for raw in records:
                expect(raw.stream == stream and raw.key, f"{stream}: a record says {raw.stream!r}, key {raw.key!r}")
                expect(as_json(raw.payload) == raw.payload, f"{stream} {raw.key}: the payload is not plain JSON")

    def test_a_read_goes_on_from_any_of_its_cursors(self) -> None:
        """After a crash the host reads on from the last cursor it stored; nothing that came later may be missing."""
        for stream in self._polling().streams:
            pages = list(self._polling().read(stream, None))
            for number, page in enumerate(pages):
                later = {raw.key for after in pages[number + 1 :] for raw in after.records}
                if page.cursor is not None:
                    found = {raw.key for raw in self._records(self._polling(), stream, page.cursor)}
                    expect(
                        later <= found, f"{stream}: from {page.cursor!r} on, {sorted(later - found)[:5]} are missing"
                    )

    def test_new_facts_are_found_from_the_last_cursor(self) -> None:
        source = self._polling()
        before = {stream: self._read(source, stream) for stream in source.streams}
        self.happen()
        new = [
            raw.key
            for stream, (records, cursor) in before.items()
            for raw in self._records(self._polling(), stream, cursor)
            if raw.key not in {old.key for old in records}
        ]
        expect(new, "a fact that happened after the last cursor was not read")

    def test_a_broken_read_raises(self) -> None:
        """A source error is never read as "that was all"."""
        source = self._polling()
        self.break_reading()
        for stream in source.streams:
            read = partial(self._records, source, stream)
            expect_raised(ConnectorError, read, f"{stream}: a broken read raises")

    def test_an_empty_account_is_read_to_its_end(self) -> None:
        """No records, no error; and what happens next can be found from the cursor, if there is one."""
        for stream in self._polling().streams:
            records, cursor = expect_done(
                partial(self._read, self.connect_empty(), stream), f"{stream}: an empty account is read"
            )
            expect(not records, f"{stream}: an empty account brought {len(records)} records")
            again = partial(self._read, self.connect_empty(), stream, cursor)
            records, _ = expect_done(again, f"{stream}: an empty account is read again from {cursor!r}")
            expect(not records, f"{stream}: an empty account brought {len(records)} records the second time")

    def test_an_empty_page_does_not_end_a_read(self) -> None:
        """The vendor says whether there is more; that a page holds nothing does not."""
        source = self._polling()
        before = {stream: {raw.key for raw in self._records(source, stream)} for stream in source.streams}
        self.empty_page()
        for stream, keys in before.items():
            read = partial(self._records, self._polling(), stream)
            found = {raw.key for raw in expect_done(read, f"{stream}: an empty page in the middle is read over")}
            expect(
                keys <= found, f"{stream}: after an empty page {len(keys - found)} of {len(keys)} records are missing"
            )

    def test_a_page_token_that_comes_again_is_an_error(self) -> None:
        """Never an endless loop, and never an end as if that were all."""
        source = self._polling()
        whole = {stream: list(source.read(stream, None)) for stream in source.streams}
        calls = source.context.http.metrics.total
        self.repeat_page_token()
        noticed = [
            stream
            for stream, pages in whole.items()
            if self._notices_the_token(stream, pages, at_most=10 * calls + 100)
        ]
        expect(noticed, "no stream noticed; has the account more than one page?")

    def _notices_the_token(self, stream: str, pages: Sequence[Page], *, at_most: int) -> bool:
        """Whether the read ended in an error. A stream whose pages need no token is read to its end."""
        read: list[Page] = []
        with self._watched(at_most=at_most):
            try:
                for page in self._polling().read(stream, None):
                    read.append(page)
                    expect(len(read) <= 10 * len(pages) + 100, f"{stream}: the same page is read for ever")
            except ConnectorError:
                return True
            except EndlessError as error:
                raise AssertionError(f"{stream}: the same page is asked for again and again ({error})") from error
        missing = _keys(pages) - _keys(read)
        expect(not missing, f"{stream}: the read ended as if that were all, without {len(missing)} records")
        return False

    def test_a_session_that_ends_is_renewed(self) -> None:
        """In the middle of a read too; whoever waits for a person to log in again reads nothing at night."""
        for stream in self._polling().streams:
            whole = _keys(list(self._polling().read(stream, None)))
            found = expect_done(
                partial(self._read_across_sessions, stream), f"{stream}: a session that ends is renewed"
            )
            expect(whole <= found, f"{stream}: after a new session {len(whole - found)} of {len(whole)} are missing")

    def _read_across_sessions(self, stream: str) -> set[str]:
        """The keys of a read whose session ends before it begins, and after its first page."""
        source = self._polling()
        source.check()
        self.end_session()
        pages: list[Page] = []
        for page in source.read(stream, None):
            pages.append(page)
            if len(pages) == 1:
                self.end_session()
        return _keys(pages)

    # Events

    def test_events_have_the_same_ids_every_time(self) -> None:
        """An id comes from the vendor's own id, so that a fact that is read twice is one event."""
        first, second = ({event.id for event in self._events()} for _ in range(2))
        expect(first == second, f"ids differ between two reads: {sorted(first ^ second)[:4]}")
        expect(first, "no event came out of the account's records")

    def test_different_facts_have_different_ids(self) -> None:
        seen: dict[str, Event] = {}
        for event in self._events():
            twin = seen.setdefault(event.id, event)
            expect(twin == event, f"two facts share the id {event.id}: {twin} and {event}")

    def test_events_speak_the_vocabulary(self) -> None:
        """Types and properties as in EVENT_TYPES, times in UTC, somebody whom it is about."""
        for event in self._events():
            expect(
                event.type in EVENT_TYPES, f"{event.type!r} is no event type; {did_you_mean(event.type, EVENT_TYPES)}"
            )
            expect(event.occurred_at.utcoffset() == timedelta(0), f"{event.id}: occurred_at is not in UTC")
            expect(event.identifiers, f"{event.id}: about nobody")
            known = EVENT_TYPES[event.type]
            for name, value in event.properties.items():
                expect(name in known or event.type == "custom", f"{event.type}.{name}: {did_you_mean(name, known)}")
                right = isinstance(value, _KINDS[known[name]]) if name in known and value is not None else True
                expect(right, f"{event.type}.{name} is a {known.get(name)}, not {value!r}")

    def test_normalize_is_pure(self) -> None:
        """It changes nothing, calls nobody, and gives the same again: stored records are replayed."""
        source = self._polling()
        for stream in source.streams:
            records = self._records(source, stream)
            copies = copy.deepcopy(records)
            calls = source.context.http.metrics.total
            first, second = ([list(source.normalize(raw)) for raw in records] for _ in range(2))
            expect(first == second, f"{stream}: the same record gives other events the second time")
            expect(records == copies, f"{stream}: normalize changed a payload")
            expect(source.context.http.metrics.total == calls, f"{stream}: normalize made a call")

    # Webhooks

    def test_a_webhook_becomes_events(self) -> None:
        source = self._receiving()
        records = source.receive(self.webhook())
        expect([event for raw in records for event in source.normalize(raw)], "a true webhook brought no event")

    def test_a_webhook_and_a_poll_agree(self) -> None:
        """The same fact by both ways is one event: the same id, and nothing that depends on which way came first."""
        source = self._polling()
        self._receiving()
        request = self.happen_both_ways()
        told = [event for raw in source.receive(request) for event in source.normalize(raw)]
        polled = {event.id: event for event in self._events()}
        expect(told, "the webhook of a fact brought no event")
        for event in told:
            expect(event.id in polled, f"the webhook says {event}; no event that was read has its id")
            expect(polled[event.id] == event, f"by webhook {event}; by reading {polled[event.id]}")

    def _meaning(self, connector: Any, request: WebhookRequest) -> Sequence[Any]:
        records = list(connector.receive(request))
        return [(raw.stream, raw.key, list(connector.normalize(raw))) for raw in records]

    def _of_a_known_stream(self, connector: Any, raw: RawRecord) -> None:
        expect(raw.stream, f"{raw.key}: a record of no stream")

    def _holds_together(self, connector: Any, raw: RawRecord, body: bytes) -> None:
        try:
            list(connector.normalize(raw))
        except RecordError:
            return  # quarantined, with its reason
        except Exception as error:
            raise AssertionError(
                f"the body {body[:40]!r} became a record on which normalize() raised {type(error).__name__} ({error});"
                " raise RecordError for it, or refuse the request"
            ) from error

    # How it is read

    def _operations(self, connector: Any) -> Operations:
        if not offers(connector, Polls):
            return {"check": connector.check}
        reads = {f"read {stream}": partial(self._records, connector, stream) for stream in connector.streams}
        return {"check": connector.check, **reads}

    def _readings(self) -> Mapping[str, Callable[[str | None], Iterable[Page]]]:
        return {stream: partial(self._pages, stream) for stream in self._polling().streams}

    def _pages(self, stream: str, cursor: str | None) -> Iterator[Page]:
        yield from self._polling().read(stream, cursor)

    def _polling(self) -> Any:
        source = self.connect()
        return source if offers(source, Polls) else lacks("read")

    def _read(self, source: Any, stream: str, cursor: str | None = None) -> tuple[list[RawRecord], str | None]:
        records: list[RawRecord] = []
        for page in source.read(stream, cursor):
            records += page.records
            cursor = page.cursor if page.cursor is not None else cursor
        return records, cursor

    def _records(self, source: Any, stream: str, cursor: str | None = None) -> list[RawRecord]:
        return self._read(source, stream, cursor)[0]

    def _events(self) -> list[Event]:
        source = self._polling()
        return [
            event
            for stream in source.streams
            for raw in self._records(source, stream)
            for event in source.normalize(raw)
        ]


def _keys(pages: Iterable[Page]) -> set[str]:
    return {raw.key for page in pages for raw in page.records}
