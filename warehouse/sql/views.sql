-- Views for readers. Names and columns are stable; `ctd sql` without a query lists them.
-- `published` holds the newest publication of every stage of every dataset; the out_ tables keep every run.

-- Metrics and contrasts without a cutoff (k = 0) are of the variants of the teacher, from the stage characterize, or of how
-- decoder students reason, from the stage fidelity; verdicts on heads are those that are not on the text. One run may have written the newest rows of one stage and older ones of another.
create or replace view leaderboard as
select m.dataset, m.system, m.metric, m.k, m.value, m.ci_low, m.ci_high, m.document_count, m.seed_count, m.seed_sd, m.run_id
from out_metrics m
join published p on p.dataset = m.dataset and p.run_id = m.run_id and p."table" = 'out_metrics' and p.stage = 'evaluate'
where m.segment = 'all' and m.split = 'test' and m.system <> 'label_index' and m.k > 0
order by m.dataset, m.metric, m.k, m.value desc, m.system;

create or replace view contrasts as
select c.dataset, c.system, c.baseline, c.metric, c.k, c.segment, c.difference, c.ci_low, c.ci_high, c.p_value,
       c.document_count, c.seed_count, c.run_id
from out_contrasts c
where exists (
    select 1 from published p where p.dataset = c.dataset and p.run_id = c.run_id and p."table" = 'out_contrasts'
    and p.stage = if(c.k > 0, 'evaluate', if(c.system like 'decoder-%', 'fidelity', 'characterize'))
)
order by c.dataset, c.metric, c.k, c.segment, c.system, c.baseline;

create or replace view fidelity as
select m.dataset, m.system, m.metric, m.value, m.ci_low, m.ci_high, m.seed_sd, m.document_count, m.seed_count, m.split,
       cot.difference as to_cot, cot.ci_low as to_cot_low, cot.ci_high as to_cot_high, cot.p_value as to_cot_p,
       control.difference as to_random_heads, control.ci_low as to_random_heads_low, control.ci_high as to_random_heads_high,
       control.p_value as to_random_heads_p, m.run_id
from out_metrics m
join published p on p.dataset = m.dataset and p.run_id = m.run_id and p."table" = 'out_metrics' and p.stage = 'fidelity'
left join out_contrasts cot on cot.run_id = m.run_id and cot.system = m.system and cot.metric = m.metric and cot.k = 0
    and cot.segment = m.segment and cot.baseline = 'decoder-cot'
left join out_contrasts control on control.run_id = m.run_id and control.system = m.system and control.metric = m.metric
    and control.k = 0 and control.segment = m.segment and control.baseline = 'decoder-mechanistic-random-heads'
where m.k = 0 and m.system like 'decoder-%'
order by m.dataset, m.metric, m.system;

create or replace view trajectories as
select dataset, system, quantity, round(position, 4) as position, avg(value) as value, count(*) as document_count,
       stddev_samp(value) / sqrt(count(*)) as standard_error
from core_trajectories
group by all
order by dataset, system, quantity, position;

create or replace view verdicts as
select v.dataset, v.system, v.claim, v.standing, v.sentence_text, v.difference, v.ci_low, v.ci_high, v.document_count, v.run_id
from out_verdicts v
where exists (
    select 1 from published p where p.dataset = v.dataset and p.run_id = v.run_id and p."table" = 'out_verdicts'
    and p.stage = if(
        v.claim in ('focus_early', 'confusion_late', 'refinement_helps', 'isolated', 'complementary'), 'characterize', 'heads'
    )
)
order by v.dataset, v.claim, v.system;

create or replace view head_ranking as
select dataset, model, layer, head,
       rank() over (partition by dataset, model order by coarse_score desc nulls last) as coarse_rank,
       coarse_score, coarse_ci_low, coarse_ci_high, kurtosis, anchor_alignment,
       rank() over (partition by dataset, model order by refine_score desc nulls last) as refine_rank,
       refine_score, refine_ci_low, refine_ci_high, qk_refinement, ov_helpfulness, document_count
from core_head_scores
order by dataset, model, coarse_rank, layer, head;

-- Random draws of one size are one row: their mean, and the range that 95% of them lie in.
create or replace view patching as
select dataset, model, phase, direction, corruption, patched_part, outcome_quantity, head_set, head_count,
       count(*) as draw_count, avg(value) as value,
       if(count(*) = 1, min(ci_low), quantile_cont(value, 0.025)) as low,
       if(count(*) = 1, max(ci_high), quantile_cont(value, 0.975)) as high,
       avg(clean_value) as clean_value, avg(corrupted_value) as corrupted_value, avg(effect_frac) as effect_frac,
       if(count(*) = 1, min(effect_ci_low), quantile_cont(effect_frac, 0.025)) as effect_low,
       if(count(*) = 1, max(effect_ci_high), quantile_cont(effect_frac, 0.975)) as effect_high,
       min(document_count) as document_count
from core_patch_effects
group by dataset, model, phase, direction, corruption, patched_part, outcome_quantity, head_set, head_count
order by dataset, model, phase, direction, outcome_quantity, head_count, head_set;

create or replace view traces as
select t.*, r.completion_text, r.reasoning_text, r.finish_reason, r.prompt_tokens, r.completion_tokens, r.cost_usd,
       r.latency_ms, r.attempt_count
from core_traces t join raw_traces r using (dataset, request_hash, document_id);

create or replace view costs as
select c.*, r.command, r.started_at
from out_costs c join out_runs r using (run_id)
order by r.started_at, c.stage;

create or replace view checks as
select c.*
from out_checks c
order by c.checked_at desc, c.outcome = 'passed', c."table", c.expectation;

create or replace view runs as
select run_id, dataset, command, status, started_at, finished_at, epoch(finished_at - started_at) as duration_s,
       "commit", device, error_text
from out_runs
order by started_at desc;
