-- Votes for similar and dissimilar pairs, from the events of a log.
--
-- In:  events(event_id BIGINT, session STRING, id STRING, kind STRING, time_us BIGINT)
--      with kind 'view' or 'purchase' and every event_id once.
-- Out: one row for each pair that is kept (outcome 'pair'), and one row for each other
--      outcome with NULL ids: outcome, anchor_id, other_id, positive_votes,
--      negative_votes, cases. `cases` counts what fell under the outcome, before
--      repeated votes of one session were brought down to one.
-- Integers put in by mining.py: {session_gap_us}, {slots_back} (negative_slots - 1),
--      {look_back} (1 or 0), {min_support}.
--
-- The same text runs on DuckDB and on Spark SQL 3.5. Hence LAG, running COUNT and MAX only
-- (IGNORE NULLS is spelled differently), and windows partitioned by session first, so
-- that Spark shuffles the events once.
WITH marked AS (
    -- An event that repeats the one right before it at the same instant was logged twice.
    SELECT
        session,
        event_id,
        time_us,
        id,
        CASE
            WHEN LAG(time_us) OVER in_order = time_us
                AND LAG(id) OVER in_order = id
                AND LAG(kind) OVER in_order = kind THEN 'repeat'
            ELSE kind
        END AS action,
        CASE
            WHEN time_us - LAG(time_us) OVER in_order <= {session_gap_us} THEN 0
            ELSE 1
        END AS is_start,
        MAX(CASE WHEN kind = 'purchase' THEN time_us END) OVER (
            PARTITION BY session ORDER BY time_us, event_id
            ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
        ) AS last_purchase_us
    FROM events
    WINDOW in_order AS (PARTITION BY session ORDER BY time_us, event_id)
),

placed AS (
    -- A session's start is later than all that came before it, so `started_us` names
    -- the session, and a time tells whether an earlier view belongs to it.
    SELECT
        session,
        event_id,
        time_us,
        id,
        action,
        is_start,
        MAX(CASE WHEN is_start = 1 THEN time_us END) OVER so_far AS started_us,
        LAG(id) OVER alike AS earlier_id,
        LAG(time_us) OVER alike AS earlier_us,
        LAG(id, {slots_back}) OVER alike AS slot_id,
        LAG(time_us, {slots_back}) OVER alike AS slot_us
    FROM marked
    -- Most visitors buy nothing: only what can decide a pair or is counted goes on.
    WHERE time_us <= last_purchase_us OR is_start = 1 OR action = 'repeat'
    WINDOW
        so_far AS (
            PARTITION BY session ORDER BY time_us, event_id
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ),
        alike AS (PARTITION BY session, action ORDER BY time_us, event_id)
),

numbered AS (
    -- A run is a series of views of one product; the run before it shows another one.
    SELECT
        *,
        COUNT(CASE WHEN action = 'view' THEN 1 END) OVER so_far AS view_no,
        COUNT(
            CASE
                WHEN action <> 'view' THEN NULL
                WHEN earlier_us >= started_us AND earlier_id = id THEN NULL
                ELSE 1
            END
        ) OVER so_far AS run_no
    FROM placed
    WINDOW so_far AS (
        PARTITION BY session ORDER BY time_us, event_id
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    )
),

carried AS (
    -- From each view to the purchases that follow it.
    SELECT
        session,
        started_us,
        is_start,
        action,
        id AS purchased_id,
        MAX(CASE WHEN action = 'view' THEN time_us END) OVER same_view AS last_us,
        MAX(CASE WHEN action = 'view' THEN id END) OVER same_view AS last_id,
        MAX(
            CASE WHEN action = 'view' AND slot_us >= started_us THEN slot_id END
        ) OVER same_view AS slot_id,
        MAX(
            CASE
                WHEN action = 'view' AND earlier_us >= started_us AND earlier_id <> id
                    THEN earlier_id
            END
        ) OVER same_run AS before_id
    FROM numbered
    WINDOW
        same_view AS (PARTITION BY session, view_no),
        same_run AS (PARTITION BY session, run_no)
),

recalled AS (
    -- What was carried over from an earlier session of the same visitor is forgotten.
    SELECT
        session,
        started_us,
        is_start,
        action,
        purchased_id,
        CASE WHEN last_us >= started_us THEN last_id END AS last_id,
        CASE WHEN last_us >= started_us THEN before_id END AS before_id,
        CASE WHEN last_us >= started_us THEN slot_id END AS slot_id
    FROM carried
    WHERE action <> 'view' OR is_start = 1
),

considered AS (
    -- Each purchase may give a similar and a dissimilar pair; the rest is counted.
    SELECT
        session,
        started_us,
        purchased_id,
        role,
        CASE
            WHEN role = 'negative' THEN slot_id
            WHEN last_id <> purchased_id THEN last_id
            WHEN {look_back} = 1 THEN before_id
        END AS viewed_id,
        CASE
            WHEN role = 'session' THEN 'sessions'
            WHEN role = 'repeat' THEN 'repeated_event'
            WHEN role = 'positive' AND last_id IS NULL THEN 'no_view_before'
            WHEN role = 'positive' AND last_id <> purchased_id THEN 'pair'
            WHEN role = 'positive' AND {look_back} = 1 AND before_id IS NOT NULL
                THEN 'pair'
            WHEN role = 'positive' THEN 'last_view_is_purchased'
            WHEN slot_id IS NULL THEN 'too_few_views_before'
            WHEN slot_id = purchased_id THEN 'slot_is_purchased'
            ELSE 'pair'
        END AS outcome
    FROM recalled
    CROSS JOIN (
        SELECT 'positive' AS role
        UNION ALL SELECT 'negative' AS role
        UNION ALL SELECT 'session' AS role
        UNION ALL SELECT 'repeat' AS role
    ) AS roles
    WHERE (role = 'session' AND is_start = 1)
        OR (role = 'repeat' AND action = 'repeat')
        OR (role IN ('positive', 'negative') AND action = 'purchase')
),

votes AS (
    -- One vote for a session, however often it bought or looked.
    SELECT
        outcome,
        role,
        CASE WHEN outcome = 'pair' THEN LEAST(viewed_id, purchased_id) END AS anchor_id,
        CASE WHEN outcome = 'pair' THEN GREATEST(viewed_id, purchased_id) END AS other_id,
        COUNT(*) AS cases
    FROM considered
    GROUP BY
        session,
        started_us,
        outcome,
        role,
        CASE WHEN outcome = 'pair' THEN LEAST(viewed_id, purchased_id) END,
        CASE WHEN outcome = 'pair' THEN GREATEST(viewed_id, purchased_id) END
),

counted AS (
    SELECT
        outcome,
        anchor_id,
        other_id,
        SUM(CASE WHEN role = 'positive' THEN 1 ELSE 0 END) AS positive_votes,
        SUM(CASE WHEN role = 'negative' THEN 1 ELSE 0 END) AS negative_votes,
        SUM(cases) AS cases
    FROM votes
    GROUP BY outcome, anchor_id, other_id
),

judged AS (
    SELECT
        CASE
            WHEN outcome <> 'pair' THEN outcome
            WHEN positive_votes + negative_votes < {min_support} THEN 'below_min_support'
            WHEN positive_votes = negative_votes THEN 'conflict_tie'
            ELSE 'pair'
        END AS outcome,
        anchor_id,
        other_id,
        positive_votes,
        negative_votes,
        cases
    FROM counted
)

SELECT
    outcome,
    CASE WHEN outcome = 'pair' THEN anchor_id END AS anchor_id,
    CASE WHEN outcome = 'pair' THEN other_id END AS other_id,
    CAST(SUM(positive_votes) AS BIGINT) AS positive_votes,
    CAST(SUM(negative_votes) AS BIGINT) AS negative_votes,
    CAST(SUM(cases) AS BIGINT) AS cases,
    COUNT(*) AS pairs
FROM judged
GROUP BY
    outcome,
    CASE WHEN outcome = 'pair' THEN anchor_id END,
    CASE WHEN outcome = 'pair' THEN other_id END
ORDER BY outcome, anchor_id, other_id
