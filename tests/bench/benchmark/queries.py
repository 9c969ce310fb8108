"""What the tables are drawn from: SQL over the warehouse, nothing else."""

from pathlib import Path

from warehouse.duck import query_warehouse

Rows = list[dict[str, object]]

_PUBLISHED = """join published p on p.dataset = m.dataset and p.run_id = m.run_id and p."table" = '{table}'
  and p.stage in ('evaluate', 'fidelity')"""

# Datasets with a dot in their name are variants, of which no segment is shown.
METRICS = f"""
select m.dataset, m.system, m.metric, m.k, m.segment, round(m.value, 6) as value, round(m.ci_low, 6) as ci_low,
       round(m.ci_high, 6) as ci_high, m.document_count, m.seed_count, round(m.seed_sd, 6) as seed_sd
from out_metrics m {_PUBLISHED.format(table="out_metrics")}
where m.dataset = '{{dataset}}' and (m.segment = 'all' or m.dataset not like '%.%')
  and (m.k = 0 or m.split = 'test' and (m.metric, m.k) in (('P', 1), ('P', 5), ('R', 10), ('R', 100), ('PSP', 5)))
group by all order by m.system, m.metric, m.k, m.segment"""

CONTRASTS = f"""
select m.dataset, m.system, m.baseline, m.metric, m.k, m.segment, round(m.difference, 6) as difference,
       round(m.ci_low, 6) as ci_low, round(m.ci_high, 6) as ci_high, round(m.p_value, 6) as p_value, m.document_count,
       m.seed_count
from out_contrasts m {_PUBLISHED.format(table="out_contrasts")}
where m.dataset = '{{dataset}}' and (m.segment = 'all' or m.dataset not like '%.%')
  and (m.k = 0 or (m.metric, m.k) in (('P', 1), ('P', 5), ('R', 10), ('R', 100), ('PSP', 5)))
group by all order by m.system, m.baseline, m.metric, m.k, m.segment"""

COUNTS = """
select (select count(*) from core_documents where dataset = '{dataset}' and split = 'train') as train_documents,
       (select count(*) from core_documents where dataset = '{dataset}' and split = 'test') as test_documents,
       (select count(*) from core_labels where dataset = '{dataset}') as labels,
       (select count(distinct document_id) from core_traces where dataset = '{dataset}' and split = 'train' and variant = 'both')
           as train_traces"""

# Variants ask some of the same requests, so the dataset is part of what their answers are found by.
TOKENS = """
select avg(r.prompt_tokens) as prompt_tokens, avg(r.completion_tokens) as completion_tokens, count(*) as traces
from core_traces t join raw_traces r using (dataset, request_hash, document_id)
where dataset = '{dataset}' and t.variant = 'both' and t.sample_index = 0"""

DATASETS = "select distinct dataset from published where stage = 'evaluate' order by dataset"


def ask(root: Path, query: str, dataset: str) -> Rows:
    """The rows of one of these queries for one dataset."""
    return query_warehouse(root, query.format(dataset=dataset)).to_dicts()


def evaluated_datasets(root: Path) -> list[str]:
    """The datasets of a root that were evaluated."""
    return [str(name) for name in query_warehouse(root, DATASETS)["dataset"]]
