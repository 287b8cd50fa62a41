"""Links lead somewhere, decisions are numbered and listed, and no page knows the machine it was written on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
DECISIONS = sorted((ROOT / "docs" / "adr").glob("0*.md"))

every_page = pytest.mark.parametrize("page", [pytest.param(p, id=p.relative_to(ROOT).as_posix()) for p in PAGES])


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The headings as links name them: lower case, blanks as dashes, no punctuation."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", prose(page)):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@every_page
def test_pages_are_about_the_program(page: Path) -> None:
    """No path of a machine, no number of a ticket, no address of a package index."""
    found = re.search(
        r"(?<![\w.*~-])/(?:home|work|root|Users|tmp)/|(?<!\w)#\d+|pypi|artifactory", page.read_text("utf-8")
    )
    assert not found, found


def test_decisions_are_numbered_without_a_gap() -> None:
    assert [int(page.name[:4]) for page in DECISIONS] == list(range(1, len(DECISIONS) + 1))


@pytest.mark.parametrize("page", [pytest.param(p, id=p.stem) for p in DECISIONS])
def test_decisions_say_why_and_what_follows(page: Path) -> None:
    text = page.read_text("utf-8")
    title = re.match(r"# \d+\. (.+)\n", text)
    assert title is not None
    assert f"[{page.name[:4]}]({page.name}) | {title[1]} |" in (page.parent / "README.md").read_text("utf-8")
    for part in ("**Context.**", "**Decision.**", "**Consequences.**"):
        assert part in text
    assert len(text.split()) < 320, "half a page"


def test_the_changelog_has_a_heading_for_connectors() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert "\n## Unreleased\n" in text
    assert "\n### Connector contract\n" in text
