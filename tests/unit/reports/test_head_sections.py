import re
from dataclasses import replace

import polars as pl
import pytest

from tasks.heads.patch_verdicts import CLAIMS as PATCH_CLAIMS
from tasks.heads.verdicts import DYNAMICS_CLAIMS, ORDER_CLAIMS
from tasks.reports.frames import Frames
from tasks.reports.head_sections import CLAIMS, head_sections
from tasks.reports.page import render_page
from tests.unit.reports.outline import Outline
from tests.unit.reports.report_frames import ATTACK, FACTS, FRAMES, HEAD_SCORES, PATCH_EFFECTS, patch, table

PAGE = render_page(FACTS, FRAMES)
MODES = ("light", "dark", "print")


def test_head_sections_are_four_where_heads_were_measured() -> None:
    found = head_sections(FACTS, FRAMES)
    assert [section.slug for section in found] == ["heads", "patching", "dynamics", "inset"]
    assert [len(section.charts) for section in found] == [4, 2, 4, 0]
    assert len(found[3].insets) == 2


def test_head_sections_are_one_note_where_no_heads_were_measured() -> None:
    (only,) = head_sections(FACTS, Frames())
    assert only.charts == () and "“ctd heads toy --model decoder”" in only.notes[0] and "“ctd decoder toy”" in only.notes[0]


@pytest.mark.parametrize(
    ("name", "slug"),
    [("head_scores", "heads"), ("patch_effects", "patching"), ("head_trajectories", "dynamics"), ("attention_insets", "inset")],
)
def test_head_sections_say_which_table_is_missing(name: str, slug: str) -> None:
    found = {section.slug: section for section in head_sections(FACTS, replace(FRAMES, **{name: None}))}
    assert found[slug].notes[0].startswith("Left out") and found[slug].charts == ()
    assert sum(section.notes[0].startswith("Left out") for section in found.values()) == 1


def test_head_sections_put_each_verdict_where_its_claim_is_tested() -> None:
    grids = {section.slug: section.lead_grids for section in head_sections(FACTS, FRAMES)}
    said = {
        slug: [(row[0].text, row[1].text, row[2].text) for grid in found for row in grid.rows] for slug, found in grids.items()
    }
    assert said == {
        "heads": [("Shortlisting heads stand early", "holds", "early_heads_shortlist: said.")],
        "patching": [("Refinement heads are needed (margin)", "open", "refine_heads_necessary: said.")],
        "dynamics": [("OV-helpfulness grows", "does not hold", "ov_helpfulness_grows: said.")],
        "inset": [],
    }


def test_head_sections_have_words_for_every_claim_of_the_stage() -> None:
    named = {claim.name for claim in PATCH_CLAIMS} | {c.name for c in (*ORDER_CLAIMS.values(), *DYNAMICS_CLAIMS.values())}
    assert {claim for claims in CLAIMS.values() for claim in claims} == named


def test_head_sections_without_verdicts_and_profiles_have_charts_alone() -> None:
    found = head_sections(FACTS, replace(FRAMES, head_verdicts=None, head_profiles=None))
    assert [len(section.charts) for section in found] == [2, 2, 4, 0]
    assert not any(section.lead_grids for section in found)


def test_page_names_every_head_and_its_value_once_in_each_map() -> None:
    titles = re.findall(r"<title>(L\d+H\d+): [^<]+</title>", PAGE)
    assert sorted(titles) == sorted(2 * [f"L{layer}H{head}" for layer in (0, 1) for head in (0, 1, 2)])


def test_page_shows_tokens_escaped_in_the_inset() -> None:
    shown = re.findall(r'<span class="a\d( anchor)?" title="[\d.]+%">([^<]*)</span>', PAGE)
    assert ("", "&lt;document&gt;") in shown and (" anchor", "heart") in shown
    assert ATTACK not in PAGE and "\u202e" not in PAGE and "\u200b" not in PAGE
    assert "a[U+202E]b" in PAGE


def test_page_escapes_the_name_of_the_model() -> None:
    named = {name: getattr(FRAMES, name).with_columns(model=pl.lit(ATTACK)) for name in ("head_scores", "patch_effects")}
    page = render_page(FACTS, replace(FRAMES, **named))
    assert ATTACK not in page and not Outline(page).named("script")


def test_page_of_a_large_model_lets_its_maps_scroll() -> None:
    heads = [(layer, head) for layer in range(80) for head in range(64)]
    large = pl.concat([HEAD_SCORES.head(1)] * len(heads)).with_columns(
        layer=pl.Series([layer for layer, _ in heads], dtype=pl.Int32),
        head=pl.Series([head for _, head in heads], dtype=pl.Int32),
    )
    page = render_page(FACTS, replace(FRAMES, head_scores=large))
    outline = Outline(page)
    assert page.count("<title>L79H63: ") == 2
    assert len([a for a in outline.named("figure") if a.get("class") == "wide"]) == 2
    maps = [a for a in outline.named("svg") if "min-width" in str(a.get("style"))]
    assert len(maps) == 2 and all(a["role"] == "img" for a in maps)
    assert len(page) < 2_000_000


def test_page_of_one_layer_and_one_head_is_whole() -> None:
    one = replace(FRAMES, head_scores=HEAD_SCORES.head(1), head_profiles=None)
    assert Outline(render_page(FACTS, one)).open == []


def test_page_without_a_single_value_is_whole() -> None:
    blank = HEAD_SCORES.with_columns(
        pl.lit(None, pl.Float64).alias(c) for c in HEAD_SCORES.columns if c.startswith(("coarse", "refine"))
    )
    nothing = table("core_patch_effects", [patch("top", 3, None), patch("random", 3, None)])
    page = render_page(FACTS, replace(FRAMES, head_scores=blank, patch_effects=nothing))
    assert Outline(page).open == []
    assert "do not differ surely" in page and "nan" not in re.sub(r"\bnano\b", "", page).lower().replace("nanoseconds", "")


def colours(mode: str) -> dict[str, str]:
    """The colours of the page by name, as the mode's own rules set them over the light ones."""
    blocks = re.findall(r":root \{(.*?)\}", PAGE, re.DOTALL)
    light, own = blocks[0], blocks[MODES.index(mode)]
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light)) | dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", own))


def luminance(colour: str) -> float:
    """Relative luminance. Source: WCAG 2.2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio, 1 to 21. Source: WCAG 2.2."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("mode", MODES)
def test_page_keeps_text_readable_on_every_shade_of_attention(mode: str) -> None:
    found = colours(mode)
    assert all(contrast(found["ink"], found[shade]) >= 4.5 for shade in ("page", "a1", "a2", "a3", "a4", "a5"))


@pytest.mark.parametrize("mode", MODES)
def test_page_tells_shades_apart_in_grey(mode: str) -> None:
    found = colours(mode)
    for steps in (("page", "a1", "a2", "a3", "a4", "a5"), ("z", "p1", "p2", "p3", "p4"), ("z", "n1", "n2", "n3", "n4")):
        values = [luminance(found[name]) for name in steps]
        assert values == sorted(values, reverse=mode != "dark") and len(set(values)) == len(values), steps


@pytest.mark.parametrize("mode", MODES)
def test_page_keeps_the_minus_of_negative_heads_visible(mode: str) -> None:
    found = colours(mode)
    assert all(contrast(found["ink"], found[shade]) >= 3 for shade in ("n1", "n2"))
    assert all(contrast(found["page"], found[shade]) >= 3 for shade in ("n3", "n4"))


def test_page_shows_patching_of_both_phases() -> None:
    assert PATCH_EFFECTS["phase"].n_unique() == 2
    assert "Phase 1, shortlist, denoise: margin" in PAGE and "Phase 2, refine, noise: Confusion of generated steps" in PAGE
