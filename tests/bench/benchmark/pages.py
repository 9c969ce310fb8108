"""The benchmark's results as Markdown."""

from collections.abc import Iterable, Sequence
from typing import Any

from schemas.fields import DECODER_BASELINES, SAMPLED
from tests.bench.benchmark.plan import SAMPLE, TAGGING, VARIANTS, variant_dataset
from tests.bench.benchmark.step_costs import beside_cot

Found = dict[str, Any]
"""What `tables.collect` gives, as JSON has it."""

Rows = dict[tuple[Any, ...], Found]
"""Rows by `key`."""

ENCODER = (
    "teacher", "lexical", "embedding", "knn-gold",
    "answers", "mechanistic-no-p2", "mechanistic-no-p1", "mechanistic", "mechanistic-random-anchors", "supervised",
    "napkinxc-gold",
)  # fmt: skip
STUDENTS = ("mechanistic-no-p2", "mechanistic-no-p1", "mechanistic", "mechanistic-random-anchors", "supervised")
ENCODER_METRICS = (("P", 1), ("P", 5), ("R", 10), ("R", 100), ("PSP", 5))
ANSWERED = (("P", 1), ("P", 5), ("R", 10), ("PSP", 5), ("format_frac", 0))
PLAIN = ("focus_distance", "confusion_distance", "token_loss_nats")
"""Not shares: shown as they are."""
REASONED = (*((name, 0) for name in ("las", "las_nonleaking", "las_leaking", "leaking_frac")), *((name, 0) for name in PLAIN))
SEGMENTS = ("head", "torso", "tail", "unseen")


def benchmark_page(found: Found) -> str:
    """The whole page."""
    lines = [
        "# Benchmark",
        "",
        "Made by `make benchmark`, drawn from the warehouses below its data root. The teacher is the stand-in, no model:",
        "on train documents it knows the targets, on test documents it is retrieval. Percent with 95% intervals (bootstrap over",
        "documents and seeds) unless said; `knn-gold`, `supervised` and `napkinxc-gold` learn from known targets of train.",
        "",
    ]
    for name, part in found["datasets"].items():
        lines += dataset_lines(name, part)
    return "\n".join(lines).rstrip() + "\n"


def dataset_lines(name: str, part: Found) -> list[str]:
    """All tables of one dataset."""
    if name not in part["counts"]:
        return []
    counts = part["counts"][name]
    lines = [
        f"## {name}",
        "",
        f"{counts['train_documents']:,} train documents, {counts['train_traces']:,} with a usable trace; "
        f"{counts['test_documents']:,} test documents; {counts['labels']:,} labels.",
        "",
    ]
    metrics, contrasts = ({key(row): row for row in part[kind] if row["dataset"] == name} for kind in ("metrics", "contrasts"))
    lines += encoder_lines(metrics, contrasts) + decoder_lines(metrics, contrasts) + step_lines(part["steps"])
    if name == SAMPLE:
        lines += sensitivity_lines(part)
    return lines + speed_lines(part) + cost_lines(part["costs"].get(name, {}))


def key(row: Found) -> tuple[Any, ...]:
    """What a row is looked up by: (system, baseline or None, metric, k, segment)."""
    return row["system"], row.get("baseline"), row["metric"], row["k"], row["segment"]


def systems_of(rows: Iterable[tuple[Any, ...]]) -> list[str]:
    """The systems that have rows."""
    return sorted({str(row[0]) for row in rows})


def percent(row: Found | None, name: str = "value", scale: float = 100, digits: int = 1) -> str:
    """A value with its interval; a dash where there is none."""
    if row is None:
        return "-"
    sign = "+" if name == "difference" else ""
    value, low, high = (scale * row[column] for column in (name, "ci_low", "ci_high"))
    return f"{value:{sign}.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table with an empty line after it."""
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)] + [""]


def encoder_lines(metrics: Rows, contrasts: Rows) -> list[str]:
    """Encoder students and what stands beside them."""
    systems = [system for system in ENCODER if system in systems_of(metrics)]
    heads = [f"{metric}@{k}" for metric, k in ENCODER_METRICS]

    def values(system: str) -> list[str]:
        return [percent(metrics.get((system, None, *pair, "all"))) for pair in ENCODER_METRICS]

    def differences(system: str, against: str = "answers") -> list[str]:
        return [percent(contrasts.get((system, against, *pair, "all")), "difference") for pair in ENCODER_METRICS]

    first = metrics.get(("answers", None, "P", 1, "all"))
    counted = f"{first['document_count']:,} test documents with a target, {first['seed_count']} seeds a student." if first else ""
    lines = ["### Encoder students", "", counted, ""]
    lines += table(["system", *heads], ([system, *values(system)] for system in systems))
    lines += ["Paired differences to `answers`, points:", ""]
    controlled = ["`mechanistic` less `mechanistic-random-anchors`", *differences("mechanistic", "mechanistic-random-anchors")]
    lines += table(["system", *heads], [*([s, *differences(s)] for s in STUDENTS if s in systems), controlled])
    lines += square_lines(metrics) + segment_lines(metrics, contrasts, systems)
    return lines


def square_lines(metrics: Rows) -> list[str]:
    """The four cells of phase-1 and phase-2 supervision."""
    lines = ["Phase 1 x phase 2 at one architecture, P@1 and R@10:", ""]

    def cell(system: str) -> str:
        return " / ".join(percent(metrics.get((system, None, *pair, "all"))) for pair in (("P", 1), ("R", 10)))

    rows = (
        ["phase 1 not supervised", cell("answers"), cell("mechanistic-no-p1")],
        ["phase 1 supervised", cell("mechanistic-no-p2"), cell("mechanistic")],
    )
    return lines + table(["", "phase 2 not supervised", "phase 2 supervised"], rows)


def segment_lines(metrics: Rows, contrasts: Rows, systems: Sequence[str]) -> list[str]:
    """R@10 by how often train has the label."""
    known = [s for s in SEGMENTS if ("embedding", None, "R", 10, s) in metrics]
    heads = [f"{s}, n {metrics['embedding', None, 'R', 10, s]['document_count']:,}" for s in known]
    rows = [[system, *(percent(metrics.get((system, None, "R", 10, s))) for s in known)] for system in systems]
    less = [percent(contrasts.get(("mechanistic", "answers", "R", 10, s)), "difference") for s in known]
    lines = ["R@10 by train documents of the label (head 20 and more, tail 1 to 3, unseen none):", ""]
    return lines + table(["system", *heads], [*rows, ["`mechanistic` less `answers`, points", *less]])


def decoder_lines(metrics: Rows, contrasts: Rows) -> list[str]:
    """Decoder students: what they answer and how they reason."""
    systems = [system for system in systems_of(metrics) if system.startswith("decoder-")]
    if not systems:
        return []
    first = metrics[systems[0], None, "P", 1, "all"]
    lines = [
        "### Decoder students",
        "",
        f"{first['document_count']:,} test documents, {first['seed_count']} seeds a student. Simulability (`las`, its parts) and "
        "shares in percent; distances of Focus and Confusion to the teacher's as cosines; loss of the trace in nats a token, on "
        "held-out train documents. `-sampled`: labels ranked by the mean over drawn traces; all else reads the greedy one.",
        "",
    ]
    for columns in (ANSWERED, REASONED):
        lines += decoder_table(systems, metrics, None, columns)
    for baseline in (*DECODER_BASELINES, *(name + SAMPLED for name in DECODER_BASELINES)):
        if any(row[1] == baseline for row in contrasts):
            lines += [f"Paired differences to `{baseline}`:", ""]
            for columns in (ANSWERED, REASONED):
                lines += decoder_table(systems, contrasts, baseline, columns)
    return lines


def decoder_table(systems: Sequence[str], rows: Rows, baseline: str | None, columns: Sequence[tuple[str, int]]) -> list[str]:
    """Values of decoder students, or their differences to a baseline; a system that has none has no row."""
    name = "difference" if baseline else "value"

    def cell(system: str, metric: str, k: int) -> str:
        found = rows.get((system, baseline, metric, k, "all"))
        return percent(found, name, 1, 3) if metric in PLAIN else percent(found, name)

    header = ["system", *(f"{metric}@{k}" if k else f"`{metric}`" for metric, k in columns)]
    known = [system for system in systems if any((system, baseline, *column, "all") in rows for column in columns)]
    return table(header, ([system, *(cell(system, *column) for column in columns)] for system in known)) if known else []


def step_lines(steps: list[Found]) -> list[str]:
    """What a training step costs beside plain distillation of the trace."""
    found = beside_cot(steps)
    if not found:
        return []
    rows = (
        [method, f"{ms:.1f}", f"{ratio:.2f} ({least:.2f} to {most:.2f})"] for method, (ms, ratio, least, most) in found.items()
    )
    return [*table(["method", "CPU ms a step", "times `cot` of the same seed: mean (least to most)"], rows)]


def sensitivity_lines(part: Found) -> list[str]:
    """The contrast of `mechanistic` and `answers` where the teacher errs more or less, and where it was asked less."""
    rows = []
    metrics, contrasts = ({(row["dataset"], *key(row)): row for row in part[kind]} for kind in ("metrics", "contrasts"))
    for variant in VARIANTS:
        name = variant_dataset(variant)
        if name not in part["counts"]:
            continue
        values = [percent(metrics.get((name, s, None, "R", 10, "all"))) for s in ("teacher", "answers", "mechanistic")]
        less = [
            percent(contrasts.get((name, "mechanistic", "answers", *pair, "all")), "difference")
            for pair in (("P", 1), ("R", 10), ("R", 100))
        ]
        rows.append(
            [
                variant.name,
                "; ".join(s.removeprefix("teacher.") for s in variant.settings),
                f"{part['counts'][name]['train_traces']:,}",
                *values,
                *less,
            ]
        )
    if not rows:
        return []
    header = [
        "variant", "settings", "train traces", "teacher R@10", "`answers` R@10", "`mechanistic` R@10",
        "less `answers`, P@1", "R@10", "R@100",
    ]  # fmt: skip
    first = next(row for (name, *_), row in contrasts.items() if name != SAMPLE)
    said = (
        f"{first['seed_count']} seeds a student, the same test documents everywhere; the teacher's errors are on train documents."
    )
    return ["### Sensitivity to the teacher", "", said, "", *table(header, rows)]


def speed_lines(part: Found) -> list[str]:
    """Speed of tagging, and what a million documents take."""
    million, tagging = part["million"], part["tagging"]
    if million["teacher_tokens_in"] is None or tagging is None:
        return []
    into, out = (f"{million[name] / 1e6:,.0f}" for name in ("teacher_tokens_in", "teacher_tokens_out"))
    return [
        "### Speed and cost of tagging",
        "",
        f"`{tagging['system']}` tags {tagging['documents_a_cpu_s']:.1f} documents a CPU second, embedding included "
        f"({tagging['cpu_ms_a_document']:.1f} ms each, {tagging['document_count']:,} documents, the start of "
        f"{tagging['start_cpu_s']:.1f} s taken off). A million documents: {million['student_core_hours']:.1f} core hours"
        f"{usd(million['student_usd'])}.",
        f"The teacher, by {part['tokens']['traces']:,} traces: {into} million tokens in and {out} million out for a million "
        f"documents{usd(million['teacher_usd'])}. The stand-in's own speed says nothing of a teacher's, so none is given.",
        "",
    ]


def usd(amount: float | None) -> str:
    """An amount of money, or that no price was given."""
    return "" if amount is None else f" ({amount:,.2f} USD at the prices given)"


def cost_lines(costs: Found) -> list[str]:
    """CPU seconds of the steps."""
    if not costs:
        return []
    total = sum(cost["cpu_s"] for cost in costs.values())
    parts = ", ".join(f"{stage} {cost['cpu_s']:,.0f}" for stage, cost in costs.items() if stage != TAGGING)
    return [f"CPU seconds by stage: {parts}; {total:,.0f} in all.", ""]
