import pytest

from schemas.errors import ConfigError, InputFormatError
from tasks.students.tagging.documents import Columns, Document, Sieve, Skipped, Survey, choose_columns

PLAIN = Columns(("text",), "id")


def reason(values: dict[str, object], columns: Columns = PLAIN) -> str:
    found = Sieve(columns).check(7, values)
    assert isinstance(found, Skipped)
    assert found.line_number == 7
    return found.reject_reason


@pytest.mark.parametrize(
    ("names", "text", "name"),
    [
        (["uid", "text", "document_text"], ("document_text",), "uid"),
        (["id", "document_id", "text", "title"], ("text",), "document_id"),
        (["content", "title"], ("title", "content"), None),
        (["title", "other"], ("title",), None),
    ],
)
def test_choose_columns_takes_the_usual_ones(names: list[str], text: tuple[str, ...], name: str | None) -> None:
    assert choose_columns(names, None, None, "f") == Columns(text, name)


def test_choose_columns_takes_what_is_asked_for() -> None:
    found = choose_columns(["text", "abstract", "doi"], "abstract", "doi", "f")
    assert found == Columns(("abstract",), "doi")
    assert found.names == ("abstract", "doi")


def test_choose_columns_names_the_columns_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no column of texts.*f has 'body', 'n'; give --text-column"):
        choose_columns(["body", "n"], None, None, "f")
    with pytest.raises(ConfigError, match="--id-column 'key': there is no such column; f has 'text'"):
        choose_columns(["text"], None, "key", "f")


def test_check_gives_a_document() -> None:
    assert Sieve(PLAIN).check(3, {"text": " as it is ", "id": 12}) == Document(3, "12", " as it is ")


def test_check_names_documents_by_line_where_no_column_does() -> None:
    assert Sieve(Columns(("text",), None)).check(3, {"text": "a"}) == Document(3, "3", "a")


def test_check_joins_title_and_content_as_the_tables_do() -> None:
    sieve = Sieve(Columns(("title", "content"), None))
    assert sieve.check(1, {"title": " a ", "content": "b\n"}) == Document(1, "1", "a\nb")
    assert sieve.check(2, {"title": None, "content": "b"}) == Document(2, "2", "b")
    assert sieve.check(3, {"title": "a"}) == Document(3, "3", "a")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"id": "a"}, "missing_column"),
        ({"id": "a", "text": None}, "empty_text"),
        ({"id": "a", "text": " \n\t"}, "empty_text"),
        ({"id": "a", "text": 3}, "not_text"),
        ({"id": "a", "text": ["a"]}, "not_text"),
        ({"id": "a", "text": "bad \udcff"}, "not_text"),
        ({"text": "a"}, "missing_id"),
        ({"id": None, "text": "a"}, "missing_id"),
        ({"id": " ", "text": "a"}, "missing_id"),
        ({"id": 1.5, "text": "a"}, "missing_id"),
        ({"id": True, "text": "a"}, "missing_id"),
        ({"id": "\ud800", "text": "a"}, "missing_id"),
    ],
)
def test_check_leaves_out_what_cannot_be_tagged(values: dict[str, object], expected: str) -> None:
    assert reason(values) == expected


def test_check_leaves_out_broken_rows_with_what_is_wrong() -> None:
    assert Sieve(PLAIN).check(4, {}, "not JSON") == Skipped(4, None, "broken_line", "not JSON")


def test_check_leaves_out_repeated_ids_but_not_those_of_rows_left_out() -> None:
    sieve = Sieve(PLAIN)
    assert isinstance(sieve.check(1, {"id": "a", "text": ""}), Skipped)
    assert isinstance(sieve.check(2, {"id": "a", "text": "x"}), Document)
    again = sieve.check(3, {"id": "a", "text": "y"})
    assert isinstance(again, Skipped)
    assert again.reject_reason == "duplicate_document"


def test_refuse_too_many_says_how_many_why_and_which_first() -> None:
    survey = Survey()
    for row in (Document(1, "a", "x"), Skipped(2, None, "broken_line", "not JSON: here"), Skipped(3, "c", "empty_text", "")):
        survey.add(row)
    survey.refuse_too_many(0.67, "f")
    with pytest.raises(InputFormatError, match=r"f: 2 of 3 .*\(broken_line 1, empty_text 1\).*50%.*line 2: not JSON: here"):
        survey.refuse_too_many(0.5, "f")


def test_refuse_too_many_refuses_a_file_without_a_document() -> None:
    with pytest.raises(InputFormatError, match="holds no row"):
        Survey().refuse_too_many(1.0, "f")
    survey = Survey()
    survey.add(Skipped(1, None, "empty_text", "nothing"))
    with pytest.raises(InputFormatError, match="1 of 1 rows"):
        survey.refuse_too_many(1.0, "f")
