"""The report page: facts and frames in, one HTML text out. It loads nothing: styles and charts are in the page."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from tasks.reports.charts import BarChart, DotChart, LineChart
from tasks.reports.frames import Facts, Frames
from tasks.reports.head_map import HeadMap
from tasks.reports.sections import header_facts, sections, summary

TEMPLATE = "report.html.jinja"
QUALITY_PAGE = "quality/index.html"


def render_page(facts: Facts, frames: Frames) -> str:
    """The whole page as HTML; every text from documents, labels and the teacher is escaped."""
    return (
        _environment()
        .get_template(TEMPLATE)
        .render(
            facts=facts,
            header=header_facts(facts, frames),
            summary=summary(facts, frames),
            sections=sections(facts, frames),
            quality_page=QUALITY_PAGE,
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("tasks.reports", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["dot_chart"] = lambda chart: isinstance(chart, DotChart)
    environment.tests["line_chart"] = lambda chart: isinstance(chart, LineChart)
    environment.tests["bar_chart"] = lambda chart: isinstance(chart, BarChart)
    environment.tests["head_map"] = lambda chart: isinstance(chart, HeadMap)
    return environment
