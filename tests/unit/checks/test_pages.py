import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import polars as pl

from schemas.tables import CORE_TRACES, OUT_CHECKS
from tasks.checks.pages import render_quality_pages

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def check(
    table: str, expectation: str, outcome: str = "passed", severity: str = "error", count: int = 0, keys: str = "",
    stage: str = "parse", run_id: str = "r1", at: datetime = NOW,
) -> dict[str, object]:  # fmt: skip
    has_run = outcome != "could_not_run"
    return {
        "run_id": run_id, "dataset": "tiny", "stage": stage, "table": table, "expectation": expectation, "column": "rank",
        "severity": severity, "outcome": outcome, "unexpected_count": count if has_run else None, "row_count": 1000,
        "unexpected_frac": count / 1000 if has_run else None, "example_keys_text": keys, "checked_at": at,
    }  # fmt: skip


def render(*rows: dict[str, object]) -> dict[str, str]:
    return render_quality_pages(OUT_CHECKS.conform(pl.DataFrame(list(rows), schema_overrides=OUT_CHECKS.schema)), "tiny")


class Outline(HTMLParser):
    """Text of every cell, row by row, and how often each tag occurs."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: dict[str, list[dict[str, str | None]]] = {}
        self.rows: list[list[str]] = []
        self.inside = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.setdefault(tag, []).append(dict(attrs))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.rows[-1][-1] += data.strip() + " " if data.strip() else ""

    def body(self) -> list[list[str]]:
        return [[cell.strip() for cell in row] for row in self.rows]


ROWS = (
    check("core_labels", "all is well"),
    check("core_traces", "fine"),
    check("core_traces", "shares", "failed", count=12, keys="trace_id=<b>"),
    check("core_traces", "unknown", "could_not_run", keys="Binder Error"),
    check("core_traces", "linked", "failed", "warn", count=300),
)


def test_render_quality_pages_makes_an_index_and_a_page_a_table() -> None:
    assert list(render(*ROWS)) == ["index.html", "core_traces.html", "core_labels.html"]


def test_render_quality_pages_counts_states_with_the_worst_table_first() -> None:
    rows = Outline(render(*ROWS)["index.html"]).body()
    assert rows[1] == ["core_traces", "✗ failed", CORE_TRACES.row, "1,000", "4", "1", "1", "1", "1"]
    assert rows[2][:2] == ["core_labels", "✓ passed"]
    assert "1 failed, 1 could not run, 1 warning, 2 passed" in render(*ROWS)["index.html"]


def test_render_quality_pages_lists_the_worst_checks_first_with_all_they_know() -> None:
    rows = Outline(render(*ROWS)["core_traces.html"]).body()
    assert rows[1] == ["shares", "✗ failed", "rank", "error", "12", "0.012", "trace_id=<b>"]
    assert rows[2] == ["unknown", "? could not run", "rank", "error", "unknown", "unknown", "Binder Error"]
    assert [row[1] for row in rows[3:5]] == ["! warning", "✓ passed"]


def test_render_quality_pages_describes_the_columns() -> None:
    rows = Outline(render(*ROWS)["core_traces.html"]).body()
    assert ["boundary_step", "Int32", "no", "yes", "t*: first step of the refinement phase; null if no step refines."] in rows
    assert ["split", "String", "no", "no", "Which part of the dataset. One of: train, test."] in rows


def test_render_quality_pages_escapes_what_comes_from_data() -> None:
    html = render(*ROWS)["core_traces.html"]
    assert "trace_id=&lt;b&gt;" in html
    assert "trace_id=<b>" not in html


def test_render_quality_pages_asks_the_network_for_nothing() -> None:
    for name, html in render(*ROWS).items():
        outline = Outline(html)
        assert not re.search(r"https?:|//[a-z]|@import|url\(", html), name
        assert not {"script", "link", "img", "iframe"} & set(outline.tags)
        assert all(re.fullmatch(r"#\w+|\w+\.html", a["href"] or "") for a in outline.tags["a"])


def test_render_quality_pages_gives_screen_readers_landmarks_and_headers() -> None:
    for html in render(*ROWS).values():
        outline = Outline(html)
        assert {"header", "main", "footer", "h1"} <= set(outline.tags)
        assert len(outline.tags["caption"]) == len(outline.tags["table"])
        assert all("scope" in attrs for attrs in outline.tags["th"])
        assert outline.tags["html"][0]["lang"] == "en"


def test_render_quality_pages_shows_only_the_newest_check_of_a_stage() -> None:
    old = check("core_traces", "fine", "failed", run_id="r0", count=5, at=NOW - timedelta(days=1))
    html = render(old, check("core_traces", "fine"))["core_traces.html"]
    assert Outline(html).body()[1] == ["fine", "✓ passed", "rank", "error", "0", "0", "none"]
    assert "r0" not in html


def test_render_quality_pages_keeps_the_stages_that_write_one_table_apart() -> None:
    pages = render(check("out_metrics", "fine", stage="index"), check("out_metrics", "fine", stage="evaluate"))
    assert Outline(pages["index.html"]).body()[1][3] == "index 1,000, evaluate 1,000"
    assert len(Outline(pages["out_metrics.html"]).tags["table"]) == 3


def test_render_quality_pages_says_so_when_nothing_was_checked() -> None:
    pages = render_quality_pages(OUT_CHECKS.empty(), "tiny")
    assert list(pages) == ["index.html"]
    assert "No table of this dataset has been checked yet." in pages["index.html"]
