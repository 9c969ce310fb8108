import polars as pl
import pytest

from schemas.errors import EmptyTargetError
from schemas.tables import CORE_TRACES
from tasks.phases.sampling import sample_traces


def traces(*rows: tuple[str, str, str, int]) -> pl.DataFrame:
    """Test traces: trace, document, variant, sample number."""
    filled = [
        dict.fromkeys(CORE_TRACES.columns)
        | {
            "trace_id": trace_id,
            "document_id": document,
            "variant": variant,
            "sample_index": sample,
            "split": "test",
            "step_count": 3,
        }
        for trace_id, document, variant, sample in rows
    ]
    return pl.DataFrame(filled, schema=CORE_TRACES.schema)


WHOLE = [("t5", "a", "both", 0), ("t6", "b", "both", 0)]
OTHERS = [("t1", "a", "phase-1", 0), ("t2", "a", "both", 1), ("t3", "b", "phase-2-index", 0), ("t4", "c", "phase-1", 0)]


def test_sample_traces_is_the_same_with_single_phases_and_further_samples() -> None:
    assert sample_traces(traces(*OTHERS, *WHOLE), 10, 0).equals(sample_traces(traces(*WHOLE), 10, 0))
    assert sample_traces(traces(*WHOLE), 10, 0)["trace_id"].to_list() == ["t5", "t6"]


def test_sample_traces_of_single_phases_alone_is_undefined() -> None:
    with pytest.raises(EmptyTargetError, match="no test document has a usable trace"):
        sample_traces(traces(*OTHERS), 10, 0)


def test_sample_traces_takes_no_train_document_and_no_trace_without_steps() -> None:
    several = traces(*WHOLE, ("t7", "c", "both", 0)).with_columns(
        split=pl.Series(["train", "test", "test"]), step_count=pl.Series([3, 3, 0], dtype=pl.Int32)
    )
    assert sample_traces(several, 10, 0)["document_id"].to_list() == ["b"]
