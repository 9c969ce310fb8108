"""Every error this project raises on purpose; a message says where, what was seen, what is allowed, what to do."""


class PipelineError(Exception):
    """Root of all our errors; the command line prints its message without a traceback and exits 1."""


class ConfigError(PipelineError):
    """A setting, argument or input path is wrong; raised before any work or money is spent. Fix it; exit 2."""


class InputFormatError(PipelineError):
    """A dataset file cannot be read as its format, or too many of its rows are bad; fix the file or the limit."""


class MissingTableError(PipelineError):
    """A stage needs a table that no earlier stage has published for this dataset; run the named stage first."""


class SchemaMismatchError(PipelineError):
    """A frame does not have the columns, types or rows its table declares; the producer is wrong, or the file damaged."""


class StorageError(PipelineError):
    """The data root cannot be read or written (full, read-only, locked, damaged); nothing published was changed."""


class CheckFailedError(PipelineError):
    """A check of severity `error` failed or could not run, so the stage was not published; exit 3."""


class IndexRefusedError(PipelineError):
    """The label index is below its recall floor, damaged, or belongs to another label set; rebuild it."""


class EmptyTargetError(PipelineError):
    """A mean over no items was asked for (no positions, no positives, no documents), so it is undefined."""


class TrainingError(PipelineError):
    """A student cannot be trained: too little supervision of a kind, or a loss that is not finite."""


class ModelRefusedError(PipelineError):
    """A decoder's heads cannot be measured (unknown architecture, no attention to record, a tokenizer without offsets)."""


class TeacherError(PipelineError):
    """The teacher cannot be asked."""


class TransientTeacherError(TeacherError):
    """One request failed in a way that may pass (429, 5xx, timeout, broken body); retried, then kept as a row."""


class FatalTeacherError(TeacherError):
    """No request can succeed (wrong key, unknown model, server gone); the stage stops, answers so far are kept."""


class BudgetSpentError(TeacherError):
    """The next request might pass `teacher.max_usd`; nothing more is asked, answers so far are kept. Raise the cap."""


class SchemaRefusedError(FatalTeacherError):
    """The server does not take structured output; set `teacher.answer_form` to tagged, free or auto."""


class WorkerLostError(PipelineError):
    """A process that a stage started was ended from outside; nothing was published. Run it again, with fewer processes."""
