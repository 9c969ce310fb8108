"""Small, whole tables for the report's tests: two documents, three labels, two traces, three systems."""

from dataclasses import replace
from datetime import UTC, datetime

import polars as pl

from schemas.tables import TABLES
from tasks.reports.frames import Facts, Frames
from tasks.reports.sample import TraceFrames

RUN = {"run_id": "20260701-101500-ab12cd", "dataset": "toy"}
ATTACK = "<script>alert('x')</script>"
REASONING = f"Let me see.\nIt could be vim. {ATTACK}\nBut nano fits less, drop it.\n"
COMPLETION = "vim; cat & dog"
FACTS = Facts(
    dataset="toy",
    run_id=RUN["run_id"],
    written_at=datetime(2026, 7, 1, 10, 15, tzinfo=UTC),
    teacher="stand-in",
    is_stand_in=True,
    has_exact_index=True,
    recall_floors=((10, 0.98), (100, 0.95)),
    baseline="answers",
)


def table(name: str, rows: list[dict[str, object]]) -> pl.DataFrame:
    """Rows as a table; columns that a row leaves out are null."""
    blank: dict[str, object] = dict.fromkeys(TABLES[name].columns)
    frame = pl.DataFrame([blank | {"dataset": "toy"} | row for row in rows], infer_schema_length=None)
    return TABLES[name].conform(frame.select(TABLES[name].columns)) if rows else TABLES[name].empty()


def metric(system: str, name: str, k: int, value: float, **other: object) -> dict[str, object]:
    """A row of `out_metrics` with an interval of 2 points either side."""
    ends = {"ci_low": value - 0.02, "ci_high": value + 0.02, "document_count": 40, "seed_count": 1}
    return {"system": system, "metric": name, "k": k, "segment": "all", "split": "test", "value": value} | ends | RUN | other


def contrast(system: str, difference: float, low: float, high: float, **other: object) -> dict[str, object]:
    """A row of `out_contrasts` in R@10 against `answers`."""
    row = {"system": system, "baseline": "answers", "metric": "R", "k": 10, "segment": "all", "difference": difference}
    return row | {"ci_low": low, "ci_high": high, "p_value": 0.2, "document_count": 40, "seed_count": 3} | RUN | other


METRICS = table(
    "out_metrics",
    [
        metric(system, name, k, value + shift)
        for system, value in (("lexical", 0.2), ("answers", 0.4), ("mechanistic", 0.41))
        for name, k, shift in (("P", 1, 0.0), ("P", 5, -0.1), ("R", 10, 0.05), ("R", 100, 0.2), ("nDCG", 5, 0.0))
    ]
    + [metric("answers", "R", 10, 0.2, segment="tail", document_count=31)],
)
INDEX_METRICS = table("out_metrics", [metric("label_index", "index_recall", 10, 0.97, split="train", ci_high=0.99)])
CONTRASTS = table("out_contrasts", [contrast("mechanistic", 0.01, -0.004, 0.02), contrast("lexical", -0.2, -0.25, -0.15)])
PHASE_METRICS = table(
    "out_metrics",
    [
        metric(f"teacher/{variant}", name, 0, value)
        for variant, value in (("both", 0.5), ("phase-1", 0.25), ("phase-2-teacher", 0.45), ("phase-2-stranger", 0.125))
        for name in ("shortlist_recall", "answer_precision", "answer_f1")
        if name != "shortlist_recall" or variant in ("both", "phase-1")
    ],
)
PHASE_CONTRASTS = table(
    "out_contrasts",
    [
        contrast(
            f"teacher/{one}", difference, difference - 0.02, difference + 0.02, baseline=f"teacher/{other}", metric=name, k=0
        )
        for one, other, difference in (
            ("phase-1", "both", -0.25),
            ("phase-2-teacher", "both", -0.05),
            ("phase-2-teacher", "phase-2-stranger", 0.325),
        )
        for name in ("answer_f1", "answer_recall")
    ],
)
VERDICTS = table(
    "out_verdicts",
    [
        {
            "system": "teacher", "claim": claim, "standing": standing, "sentence_text": f"{claim}: {ATTACK}",
            "difference": 0.1, "ci_low": 0.05, "ci_high": 0.15, "document_count": 40, **RUN,
        }
        for claim, standing in (("focus_early", "holds"), ("isolated", "undecided"), ("complementary", "fails"))
    ],
)  # fmt: skip
DOCUMENTS = table(
    "core_documents",
    [
        {"document_id": uid, "split": split, "title_text": f"{uid} {ATTACK}", "document_text": f"{uid} {ATTACK}\ntext"}
        for uid, split in (("d0", "train"), ("d1", "test"))
    ],
)
LABELS = table("core_labels", [{"label_id": i, "label_name": name} for i, name in enumerate(("vim", "nano", f"cat {ATTACK}"))])
RELEVANCE = table(
    "core_relevance",
    [
        {"document_id": "d0", "label_id": label, "split": "train", "relevance": 1.0, "is_filtered": is_filtered}
        for label, is_filtered in ((0, False), (1, True), (2, False))
    ],
)
TRACES = table(
    "core_traces",
    [
        {
            "trace_id": f"{n}abc", "request_hash": f"r{n}", "document_id": uid, "split": split, "teacher": "stand-in",
            "prompt_kind": "open", "variant": "both", "sample_index": 0, "answer_format": answer_format,
            "boundary_step": boundary, "boundary_evidence_text": "first verdict",
            "step_count": 2, "shortlist_count": 2, "answer_count": 2,
            "is_truncated": n == 1, "out_of_catalogue_frac": 0.25 * n,
        }
        for n, uid, split, answer_format, boundary in ((0, "d0", "train", "prose", 1), (1, "d1", "test", "json", None))
    ],
)  # fmt: skip
RAW = table(
    "raw_traces",
    [
        {
            "request_hash": f"r{n}", "document_id": f"d{n}", "teacher": "stand-in", "endpoint": "stand-in",
            "reasoning_text": REASONING if n == 0 else None, "completion_text": COMPLETION,
            "asked_at": datetime(2026, 7, 1, tzinfo=UTC),
        }
        for n in (0, 1)
    ],
)  # fmt: skip


def step(number: int, phase: str, verdict: str, text: str, target: int | None = None) -> dict[str, object]:
    """A row of `core_steps` of the first trace, at the place of `text` in its reasoning."""
    start = REASONING.index(text)
    span = {"step_text": text, "span_source": "reasoning_text", "char_start": start, "char_end": start + len(text)}
    key = {"trace_id": "0abc", "step": number, "request_hash": "r0", "document_id": "d0", "position": float(number)}
    return key | span | {"phase": phase, "verdict": verdict, "target_label_id": target}


STEPS = table(
    "core_steps",
    [step(0, "shortlist", "none", f"It could be vim. {ATTACK}", 0), step(1, "refine", "drop", "But nano fits less, drop it.", 1)],
)


def link(rank: int, mention: str, label: int | None) -> dict[str, object]:
    """A row of `core_shortlist` or `core_answers` of the first trace."""
    how = ("none", None) if label is None else ("fuzzy", 0.93)
    row = {"trace_id": "0abc", "rank": rank, "request_hash": "r0", "document_id": "d0", "mention_text": mention}
    return row | {"label_id": label, "link_method": how[0], "link_score": how[1], "char_start": 0, "char_end": 1}


SHORTLIST = table("core_shortlist", [link(1, "vim", 0), link(2, "nano", 1)])
ANSWERS = table("core_answers", [link(1, "vim", 0), link(2, f"cat {ATTACK}", None)])
PARSE_REJECTS = table(
    "core_rejects",
    [
        {"stage": "parse", "source_key": f"k{n}", "reject_reason": reason, "detail_text": f"seen {n} {ATTACK}"}
        for n, reason in enumerate(("no_answer", "refused", "refused"))
    ],
)
TRAJECTORIES = table(
    "core_trajectories",
    [
        {"system": "teacher", "document_id": uid, "quantity": quantity, "position": position, "value": value, "step_count": 2}
        for uid, shift in (("d0", 0.0), ("d1", 0.2))
        for quantity in ("focus", "confusion", "confusion_floor", "shortlist_recall", "inflation", "refinement_gain")
        for position, value in ((0.0, 0.4 + shift), (1.0, 0.8 + shift))
    ],
)
TRAIN_STEPS = table(
    "core_train_steps",
    [
        {"system": "answers", "seed": 0, "component": "refiner", "train_step": n, "loss_name": name, "loss_nats": 2.0 - n / 10}
        for n in range(3)
        for name in ("total_loss", "answer_loss")
    ],
)


def cost(stage: str, requests: int, usd: float | None, tokens: int | None, is_reused: bool = False) -> dict[str, object]:
    """A row of `out_costs`."""
    counts = {"rows_in_count": 2, "rows_out_count": 2, "rejected_count": 0, "duration_s": 61.0, "is_reused": is_reused}
    asked: dict[str, object] = {"request_count": requests, "prompt_tokens": tokens, "completion_tokens": tokens, "cost_usd": usd}
    return {"stage": stage} | asked | counts | RUN


COSTS = table("out_costs", [cost("ingest", 0, None, 0, is_reused=True), cost("trace", 2, None, 500)])
MODEL = {"model": "decoder"}
HEAD_SCORES = table(
    "core_head_scores",
    [
        MODEL | {
            "layer": layer, "head": head, "kurtosis": 4.0, "anchor_alignment": 0.5, "qk_refinement": 0.1, "ov_helpfulness": 0.2,
            "coarse_score": coarse, "coarse_ci_low": coarse - 0.5, "coarse_ci_high": coarse + 0.5, "refine_score": refine,
            "refine_ci_low": None if refine is None else refine - 0.001, "document_count": 40,
            "refine_ci_high": None if refine is None else refine + 0.001,
        }
        for layer, head, coarse, refine in (
            (0, 0, 8.0, 0.001), (0, 1, 2.0, -0.02), (0, 2, 0.1, None), (1, 0, -4.0, 0.004), (1, 1, -1.0, 0.0), (1, 2, 3.0, 0.016)
        )
    ],
)  # fmt: skip


def profile(score: str, summary: str, layer: int, value: float) -> dict[str, object]:
    """A row of `core_head_profiles` with an interval of 0.1 either side."""
    ends = {"value": value, "ci_low": value - 0.1, "ci_high": value + 0.1, "document_count": 40}
    return MODEL | {"score_name": score, "summary": summary, "layer": layer} | ends


DECODER_STEPS = TRAIN_STEPS.with_columns(system=pl.lit("decoder"), component=pl.lit("decoder"))
HEAD_PROFILES = table(
    "core_head_profiles",
    [profile(score, "layer_mean", layer, 1.5 - layer) for score in ("coarse_score", "refine_score") for layer in (0, 1)]
    + [profile("coarse_score", "layer_order", -1, -0.4), profile("refine_score", "layer_order", -1, 0.05)]
    + [profile("coarse_score", "split_half", -1, 0.85), profile("refine_score", "split_half", -1, 0.3)],
)


def patch(head_set: str, head_count: int, effect: float | None, **other: object) -> dict[str, object]:
    """A row of `core_patch_effects`: denoising the shortlist, clean 2 and corrupted 1, with an interval of 0.1 either side."""
    value = 1.0 + (effect or 0.0)
    ends = {"ci_low": value - 0.1, "ci_high": value + 0.1, "clean_value": 2.0, "corrupted_value": 1.0, "document_count": 48}
    share = {} if effect is None else {"effect_frac": effect, "effect_ci_low": effect - 0.1, "effect_ci_high": effect + 0.1}
    how = {"phase": "shortlist", "direction": "denoise", "corruption": "swap", "patched_part": "pattern", "draw": 0}
    key = how | {"head_set": head_set, "head_count": head_count, "outcome_quantity": "margin", "value": value}
    return MODEL | key | ends | share | other


PATCH_EFFECTS = table(
    "core_patch_effects",
    [
        patch(head_set, count, effect, phase=phase, direction=direction, outcome_quantity=quantity)
        for phase, direction, quantity in (("refine", "noise", "confusion"), ("shortlist", "denoise", "margin"))
        for head_set, count, effect in (("top", 3, 0.4), ("top", 8, 0.8), ("low", 3, 0.0), ("low", 8, None))
    ]
    + [patch("random", 3, effect, draw=draw) for draw, effect in enumerate((0.0, 0.1, 0.2))],
)
HOSTILE_TOKENS = ("<document>", ATTACK, "\u05d0\u05d1", "\u200b", "a\u202eb", "x\n", "heart")
ATTENTION_INSETS = table(
    "core_attention_insets",
    [
        MODEL | {
            "document_id": "d1", "phase": phase, "layer": layer, "head": 0, "token_index": n, "token_text": text,
            "attention_frac": frac, "is_anchor": text == "heart",
        }
        for phase, layer in (("refine", 1), ("shortlist", 0))
        for n, (text, frac) in enumerate(zip(HOSTILE_TOKENS, (0.32, 0.16, 0.04, 0.02, 0.01, 0.005, 0.08), strict=True))
    ],
)  # fmt: skip
HEAD_TRAJECTORIES = table(
    "core_trajectories",
    [
        {"system": "decoder", "document_id": uid, "quantity": quantity, "position": x, "value": value + shift, "step_count": 2}
        for uid, shift in (("d1", 0.0), ("d2", 0.1))
        for quantity in ("shortlist_attention_frac", "near_miss_attention_frac", "ov_helpfulness", "focus", "confusion")
        for x, value in ((0.0, 0.2), (1.0, 0.4))
    ],
)
HEAD_VERDICTS = table(
    "out_verdicts",
    [
        {"system": "decoder", "claim": claim, "standing": standing, "sentence_text": f"{claim}: said.", "document_count": 48}
        | {"difference": 0.1}
        | RUN
        for claim, standing in (
            ("early_heads_shortlist", "holds"),
            ("refine_heads_necessary", "undecided"),
            ("ov_helpfulness_grows", "fails"),
        )
    ],
)
FIDELITY_METRICS = table(
    "out_metrics",
    [
        metric(system, name, 0, value, split=split)
        for system, las in (("decoder-cot", 0.02), ("decoder-mechanistic", 0.08))
        for name, value, split in (("las", las, "test"), ("focus_distance", 0.05, "test"), ("token_loss_nats", 3.2, "train"))
    ]
    + [metric("decoder-answers", "format_frac", 0, 0.9)],
)
FIDELITY_TRAJECTORIES = table(
    "core_trajectories",
    [
        {"system": system, "document_id": uid, "quantity": quantity, "position": x, "value": value + shift, "step_count": 2}
        for system in ("teacher-decoder", "decoder-cot", "decoder-mechanistic-no-p1")
        for uid, shift in (("d1", 0.0), ("d2", 0.1))
        for quantity in ("focus", "confusion")
        for x, value in ((0.0, 0.2), (1.0, 0.4))
    ],
)
SAMPLE = TraceFrames(TRACES, RAW, STEPS, SHORTLIST, ANSWERS, DOCUMENTS, LABELS, RELEVANCE)
FRAMES = Frames(
    documents=DOCUMENTS,
    labels=LABELS,
    traces=TRACES,
    ingest_rejects=table("core_rejects", []),
    parse_rejects=PARSE_REJECTS,
    trajectories=TRAJECTORIES,
    train_steps=TRAIN_STEPS,
    decoder_steps=DECODER_STEPS,
    metrics=METRICS,
    index_metrics=INDEX_METRICS,
    contrasts=CONTRASTS,
    verdicts=VERDICTS,
    phase_metrics=PHASE_METRICS,
    phase_contrasts=PHASE_CONTRASTS,
    head_scores=HEAD_SCORES,
    head_profiles=HEAD_PROFILES,
    patch_effects=PATCH_EFFECTS,
    attention_insets=ATTENTION_INSETS,
    head_trajectories=HEAD_TRAJECTORIES,
    head_verdicts=HEAD_VERDICTS,
    fidelity_metrics=FIDELITY_METRICS,
    fidelity_trajectories=FIDELITY_TRAJECTORIES,
    costs=COSTS,
    sample=SAMPLE,
)
REAL_TEACHER = replace(FACTS, teacher="some-model", is_stand_in=False)
