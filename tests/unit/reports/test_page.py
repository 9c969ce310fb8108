import re
from dataclasses import fields, replace

import pytest

from tasks.reports.frames import Frames, missing_note
from tasks.reports.page import render_page
from tasks.reports.sections import sections
from tests.unit.reports.outline import Outline
from tests.unit.reports.report_frames import ATTACK, COSTS, FACTS, FRAMES, REAL_TEACHER

IDS = ("summary", *(section.slug for section in sections(FACTS, FRAMES)), "quality", "glossary")


PAGE = render_page(FACTS, FRAMES)
OUTLINE = Outline(PAGE)


def test_render_page_is_balanced_html() -> None:
    assert PAGE.lstrip().lower().startswith("<!doctype html>")
    assert OUTLINE.open == []


def test_render_page_has_every_section_and_links_to_it() -> None:
    ids = [attributes.get("id") for _, attributes in OUTLINE.tags if attributes.get("id")]
    assert set(IDS) <= set(ids)
    assert len(ids) == len(set(ids))
    targets = [str(a["href"]) for a in OUTLINE.named("a")]
    assert {t[1:] for t in targets if t.startswith("#")} <= set(ids)
    assert "quality/index.html" in targets


def test_render_page_loads_nothing_and_runs_nothing() -> None:
    assert not OUTLINE.named("script") and not OUTLINE.named("link") and not OUTLINE.named("img") and not OUTLINE.named("iframe")
    assert not re.findall(r"https?://|@import|url\(", PAGE)
    assert not [a for _, a in OUTLINE.tags if any(name == "src" or name.startswith("on") for name in a)]
    assert all(str(a["href"]).startswith(("#", "quality/")) for a in OUTLINE.named("a"))


def test_render_page_escapes_what_documents_labels_and_the_teacher_wrote() -> None:
    assert ATTACK not in PAGE
    assert PAGE.count("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;") >= 6
    assert "cat &amp; dog" in PAGE


def test_render_page_escapes_names_of_systems_in_charts() -> None:
    assert FRAMES.metrics is not None
    named = replace(FRAMES, metrics=FRAMES.metrics.with_columns(system=FRAMES.metrics["system"].replace("lexical", ATTACK)))
    page = render_page(replace(FACTS, teacher=ATTACK), named)
    assert ATTACK not in page
    assert not Outline(page).named("script")


def test_render_page_has_one_heading_one_main_and_a_skip_link() -> None:
    assert len(OUTLINE.named("h1")) == 1
    assert [a.get("id") for a in OUTLINE.named("main")] == ["main"]
    assert all(OUTLINE.named(tag) for tag in ("header", "nav", "footer"))
    assert OUTLINE.named("a")[0]["href"] == "#main"


def test_render_page_describes_every_chart_and_gives_its_numbers() -> None:
    charts = [a for a in OUTLINE.named("svg") if a.get("aria-hidden") != "true"]
    assert len(charts) == len(OUTLINE.named("figure")) >= 8
    described = {str(a["id"]) for tag in ("title", "desc") for a in OUTLINE.named(tag) if "id" in a}
    for chart in charts:
        assert chart["role"] == "img"
        assert set(str(chart["aria-labelledby"]).split()) <= described
    assert len([a for a in OUTLINE.named("details") if a.get("class") == "data"]) == len(charts)


def test_render_page_captions_tables_and_scopes_their_headers() -> None:
    assert len(OUTLINE.named("caption")) == len(OUTLINE.named("table"))
    assert all(a.get("scope") in ("col", "row") for a in OUTLINE.named("th"))


def test_render_page_tells_a_stand_in_from_a_model() -> None:
    assert "stand-in, not a language model" in PAGE
    assert "retrieval alone" in PAGE
    assert "not a language model" not in render_page(REAL_TEACHER, FRAMES)


def test_render_page_shows_phases_and_verdicts_as_words() -> None:
    assert '<div class="step refine">' in PAGE
    assert "<b>refine</b>, step 1, verdict: <b>drop</b>, for nano" in PAGE


def test_render_page_shows_an_unknown_price_as_unknown() -> None:
    assert "<td>unknown</td>" in PAGE
    assert "$0" not in PAGE
    paid = replace(FRAMES, costs=COSTS.with_columns(cost_usd=0.5))
    assert "$0.50" in render_page(FACTS, paid)


def test_render_page_shows_the_loss_of_the_decoder_beside_those_of_the_students() -> None:
    assert "Loss of the refiner, nats per document" in PAGE and "Loss of the decoder, nats per document" in PAGE
    alone = render_page(FACTS, replace(FRAMES, train_steps=None))
    assert "Loss of the decoder" in alone and "“ctd distill toy”" in alone


@pytest.mark.parametrize(
    ("table", "command"),
    [
        ("out_metrics", "ctd evaluate toy"),
        ("core_steps", "ctd parse toy"),
        ("core_rejects", "ctd parse toy"),
        ("core_trajectories", "ctd characterize toy"),
        ("core_train_steps", "ctd distill toy"),
        ("out_costs", "ctd run"),
    ],
)
def test_missing_note_names_the_command(table: str, command: str) -> None:
    assert f"“{command}”" in missing_note(table, "toy")


def test_render_page_without_any_table_says_how_to_get_each() -> None:
    page = render_page(replace(FACTS, teacher=None, is_stand_in=False), Frames())
    outline = Outline(page)
    assert outline.open == [] and not outline.named("table") and not outline.named("figure")
    commands = set(re.findall(r"“(ctd [^”]+)”", page))
    named = ("evaluate", "characterize", "parse", "distill", "index", "decoder")
    decoders = {"ctd distill-decoder toy", "ctd fidelity toy"}
    assert commands == {*(f"ctd {c} toy" for c in named), "ctd heads toy --model decoder", "ctd run"} | decoders


@pytest.mark.parametrize("name", [field.name for field in fields(Frames)])
def test_render_page_survives_each_table_missing_alone(name: str) -> None:
    assert Outline(render_page(FACTS, replace(FRAMES, **{name: None}))).open == []


@pytest.mark.parametrize("name", [field.name for field in fields(Frames) if field.name != "sample"])
def test_render_page_survives_each_table_empty(name: str) -> None:
    frame = getattr(FRAMES, name)
    page = render_page(FACTS, replace(FRAMES, **{name: frame.clear()}))
    assert Outline(page).open == []
    assert "nan" not in re.sub(r"\bnano\b", "", page)
