-- Votes for similar and dissimilar pairs, from the events of a log.
--
-- In:  events(event_id BIGINT, session STRING, id STRING, kind STRING, time_us BIGINT)
--      with kind 'view', 'purchase' or 'cart' and every event_id once; a session is here
--      the key of a customer or of a session, and is cut at every long gap;
--      categories(id STRING, category STRING) with every id once; empty without a gate.
-- Out: one row for each pair that is kept (outcome 'pair'), and one row for each other
--      outcome with NULL ids: outcome, anchor_id, other_id, label, weight, share,
--      positive_votes, negative_votes, cases, votes, pairs. `cases` counts what fell
--      under the outcome, `votes` what was left of it when the repeated votes of a
--      session were brought down to one, `pairs` the pairs (or buyers).
-- Integers put in by mining.py, where 0 of a maximum means none: {session_gap_us},
--      {slots_back} (negative_slots - 1), {look_back} (1 or 0), {max_lookback_us},
--      {cart_milli} and {min_support_milli} (thousandths of a vote: whole numbers add up
--      to the same sum in any order), {max_events}, {max_votes}, {max_pairs},
--      {same_category} (1 for positives, 2 for negatives too), {drop_conflicts}.
--
-- The same text runs on DuckDB and on Spark SQL 3.5. Hence LAG, running COUNT and MAX only
-- (IGNORE NULLS is spelled differently), and windows partitioned by session first, so
-- that Spark shuffles the events once.
WITH bought AS (
    SELECT session, MAX(time_us) AS last_purchase_us
    FROM events
    WHERE kind = 'purchase' OR (kind = 'cart' AND {cart_milli} > 0)
    GROUP BY session
),

busy AS (
    SELECT session
    FROM events
    WHERE {max_events} > 0
    GROUP BY session
    HAVING COUNT(*) > {max_events}
),

buyers AS (
    SELECT
        bought.session,
        last_purchase_us,
        CASE WHEN busy.session IS NULL THEN 'buyers' ELSE 'buyers_over_event_limit' END
            AS outcome
    FROM bought
    LEFT JOIN busy ON bought.session = busy.session
),

useful AS (
    -- Most customers buy nothing: only what can decide a pair goes on.
    SELECT events.session, event_id, time_us, id, kind
    FROM events
    INNER JOIN buyers ON events.session = buyers.session
    WHERE time_us <= last_purchase_us
        AND outcome = 'buyers'
        AND (kind <> 'cart' OR {cart_milli} > 0)
),

marked AS (
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
        END AS is_start
    FROM useful
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
        COUNT(CASE WHEN action = 'view' THEN 1 END) OVER so_far AS view_no,
        LAG(id) OVER alike AS earlier_id,
        LAG(time_us) OVER alike AS earlier_us,
        LAG(id, {slots_back}) OVER alike AS slot_id,
        LAG(time_us, {slots_back}) OVER alike AS slot_us
    FROM marked
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
        COUNT(
            CASE
                WHEN action <> 'view' THEN NULL
                WHEN earlier_us >= started_us AND earlier_id = id THEN NULL
                ELSE 1
            END
        ) OVER (
            PARTITION BY session ORDER BY time_us, event_id
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS run_no
    FROM placed
),

carried AS (
    -- From each view to the purchases that follow it.
    SELECT
        session,
        started_us,
        time_us,
        is_start,
        action,
        id AS purchased_id,
        MAX(CASE WHEN action = 'view' THEN time_us END) OVER same_view AS last_us,
        MAX(CASE WHEN action = 'view' THEN id END) OVER same_view AS last_id,
        MAX(CASE WHEN action = 'view' THEN slot_us END) OVER same_view AS slot_us,
        MAX(CASE WHEN action = 'view' THEN slot_id END) OVER same_view AS slot_id,
        MAX(
            CASE WHEN action = 'view' AND earlier_id <> id THEN earlier_us END
        ) OVER same_run AS before_us,
        MAX(
            CASE WHEN action = 'view' AND earlier_id <> id THEN earlier_id END
        ) OVER same_run AS before_id
    FROM numbered
    WINDOW
        same_view AS (PARTITION BY session, view_no),
        same_run AS (PARTITION BY session, run_no)
),

recalled AS (
    -- What was carried over from an earlier session of the same customer is forgotten.
    SELECT
        session,
        started_us,
        time_us,
        is_start,
        action,
        purchased_id,
        CASE WHEN last_us >= started_us THEN last_id END AS last_id,
        last_us,
        CASE WHEN before_us >= started_us THEN before_id END AS before_id,
        before_us,
        CASE WHEN slot_us >= started_us THEN slot_id END AS slot_id,
        slot_us
    FROM carried
    WHERE action <> 'view' OR is_start = 1
),

considered AS (
    -- Each purchase may give a similar and a dissimilar pair; the rest is counted.
    SELECT
        session,
        started_us,
        time_us,
        purchased_id,
        role,
        CASE WHEN action = 'cart' THEN {cart_milli} ELSE 1000 END AS vote,
        CASE
            WHEN role = 'negative' THEN slot_id
            WHEN last_id <> purchased_id THEN last_id
            WHEN {look_back} = 1 THEN before_id
        END AS viewed_id,
        CASE
            WHEN role = 'session' THEN 'sessions'
            WHEN role = 'repeat' THEN 'repeated_event'
            WHEN role = 'positive' AND last_id IS NULL THEN 'no_view_before'
            WHEN role = 'positive' AND last_id = purchased_id
                AND ({look_back} = 0 OR before_id IS NULL) THEN 'last_view_is_purchased'
            WHEN role = 'positive' AND {max_lookback_us} > 0
                AND time_us - CASE
                    WHEN last_id <> purchased_id THEN last_us ELSE before_us
                END > {max_lookback_us} THEN 'view_too_long_ago'
            WHEN role = 'positive' THEN 'pair'
            WHEN slot_id IS NULL THEN 'too_few_views_before'
            WHEN slot_id = purchased_id THEN 'slot_is_purchased'
            WHEN {max_lookback_us} > 0 AND time_us - slot_us > {max_lookback_us}
                THEN 'slot_too_long_ago'
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
        OR (role IN ('positive', 'negative') AND action IN ('purchase', 'cart'))
),

voted AS (
    -- One vote for a session, however often it bought or looked: a purchase's, where
    -- the product was put into the cart and bought.
    SELECT
        session,
        outcome,
        role,
        CASE WHEN outcome = 'pair' THEN LEAST(viewed_id, purchased_id) END AS anchor_id,
        CASE WHEN outcome = 'pair' THEN GREATEST(viewed_id, purchased_id) END AS other_id,
        MAX(vote) AS vote,
        MIN(time_us) AS voted_us,
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

gated AS (
    -- A product without a category shares it with no other.
    SELECT
        session,
        role,
        anchor_id,
        other_id,
        vote,
        voted_us,
        cases,
        CASE
            WHEN outcome <> 'pair' OR {same_category} = 0 THEN outcome
            WHEN one.category = another.category THEN outcome
            WHEN role = 'positive' THEN 'positive_across_categories'
            WHEN {same_category} = 2 THEN 'negative_across_categories'
            ELSE outcome
        END AS outcome
    FROM voted
    LEFT JOIN categories AS one ON {same_category} > 0 AND anchor_id = one.id
    LEFT JOIN categories AS another ON {same_category} > 0 AND other_id = another.id
),

counted AS (
    -- A customer's first votes count.
    SELECT
        outcome,
        CASE WHEN outcome = 'pair' THEN anchor_id END AS anchor_id,
        CASE WHEN outcome = 'pair' THEN other_id END AS other_id,
        SUM(CASE WHEN role = 'positive' THEN vote ELSE 0 END) AS positive,
        SUM(CASE WHEN role = 'negative' THEN vote ELSE 0 END) AS negative,
        SUM(cases) AS cases,
        COUNT(*) AS votes
    FROM (
        SELECT role, anchor_id, other_id, vote, cases, outcome
        FROM gated
        WHERE {max_votes} = 0 OR outcome <> 'pair'
        UNION ALL
        SELECT
            role,
            anchor_id,
            other_id,
            vote,
            cases,
            CASE
                WHEN vote_no <= {max_votes} THEN outcome ELSE 'over_customer_limit'
            END AS outcome
        FROM (
            SELECT
                *,
                ROW_NUMBER() OVER (
                    PARTITION BY session
                    ORDER BY voted_us, role DESC, anchor_id, other_id
                ) AS vote_no
            FROM gated
            WHERE {max_votes} > 0 AND outcome = 'pair'
        ) AS in_turn
    ) AS limited
    GROUP BY
        outcome,
        CASE WHEN outcome = 'pair' THEN anchor_id END,
        CASE WHEN outcome = 'pair' THEN other_id END
),

judged AS (
    SELECT
        CASE
            WHEN outcome <> 'pair' THEN outcome
            WHEN positive + negative < {min_support_milli} THEN 'below_min_support'
            WHEN positive = negative THEN 'conflict_tie'
            WHEN {drop_conflicts} = 1 AND positive > 0 AND negative > 0 THEN 'conflict'
            ELSE 'pair'
        END AS outcome,
        anchor_id,
        other_id,
        positive,
        negative,
        cases,
        votes
    FROM counted
),

crowded AS (
    -- Pairs beyond the strongest ones of either product.
    SELECT DISTINCT anchor_id, other_id
    FROM (
        SELECT
            anchor_id,
            other_id,
            ROW_NUMBER() OVER (
                PARTITION BY id, positive > negative
                ORDER BY ABS(positive - negative) DESC, anchor_id, other_id
            ) AS place
        FROM (
            SELECT anchor_id AS id, anchor_id, other_id, positive, negative
            FROM judged
            WHERE {max_pairs} > 0 AND outcome = 'pair'
            UNION ALL
            SELECT other_id AS id, anchor_id, other_id, positive, negative
            FROM judged
            WHERE {max_pairs} > 0 AND outcome = 'pair'
        ) AS ends
    ) AS places
    WHERE place > {max_pairs}
),

chosen AS (
    SELECT
        CASE
            WHEN crowded.anchor_id IS NOT NULL THEN 'over_product_limit' ELSE outcome
        END AS outcome,
        judged.anchor_id,
        judged.other_id,
        positive,
        negative,
        cases,
        votes
    FROM judged
    LEFT JOIN crowded
        ON judged.anchor_id = crowded.anchor_id AND judged.other_id = crowded.other_id
)

SELECT
    outcome,
    anchor_id,
    other_id,
    CAST(CASE WHEN positive > negative THEN 1 ELSE 0 END AS TINYINT) AS label,
    CAST(
        CAST(ABS(positive - negative) AS DOUBLE) / (positive + negative + 1000) AS FLOAT
    ) AS weight,
    CAST(CAST(positive AS DOUBLE) / (positive + negative) AS FLOAT) AS share,
    CAST(positive AS DOUBLE) / 1000 AS positive_votes,
    CAST(negative AS DOUBLE) / 1000 AS negative_votes,
    CAST(cases AS BIGINT) AS cases,
    CAST(votes AS BIGINT) AS votes,
    CAST(1 AS BIGINT) AS pairs
FROM chosen
WHERE outcome = 'pair'
UNION ALL
SELECT
    outcome,
    NULL AS anchor_id,
    NULL AS other_id,
    NULL AS label,
    NULL AS weight,
    NULL AS share,
    NULL AS positive_votes,
    NULL AS negative_votes,
    CAST(SUM(cases) AS BIGINT) AS cases,
    CAST(SUM(votes) AS BIGINT) AS votes,
    COUNT(*) AS pairs
FROM chosen
WHERE outcome <> 'pair'
GROUP BY outcome
UNION ALL
SELECT
    outcome,
    NULL AS anchor_id,
    NULL AS other_id,
    NULL AS label,
    NULL AS weight,
    NULL AS share,
    NULL AS positive_votes,
    NULL AS negative_votes,
    CAST(0 AS BIGINT) AS cases,
    CAST(0 AS BIGINT) AS votes,
    COUNT(*) AS pairs
FROM buyers
GROUP BY outcome
