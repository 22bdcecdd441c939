-- The first schema. storage/README.md explains every table and column.
-- Applied in one transaction; user_version is set to the number of this file by the program.

PRAGMA application_id = 0x70736272; -- "psbr"

-- One value a name: log_id, start_count, and floors below which nothing may fall again.
CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

-- A row outlives its topic's deletion: names, ids and offsets are never used twice.
CREATE TABLE topics (
    topic_id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_seq INTEGER NOT NULL,
    first_offset INTEGER NOT NULL, -- rows below it are gone for readers
    next_offset INTEGER NOT NULL,  -- as of the last epoch
    last_seq INTEGER NOT NULL,     -- as of the last epoch
    swept_offset INTEGER NOT NULL, -- rows below it are gone from the file too
    quiet_from INTEGER,            -- between these epochs it has runs that are not `busy`
    quiet_to INTEGER,
    deleted_at INTEGER             -- microseconds UTC
) STRICT;

-- All topics together, in commit order: inserts hit the right edge of one b-tree. The payload stays last.
CREATE TABLE messages (
    seq INTEGER PRIMARY KEY,
    topic_id INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    published_at INTEGER NOT NULL, -- microseconds UTC, never decreasing
    flags INTEGER NOT NULL,
    expires_at INTEGER,
    producer_id INTEGER,
    producer_seq INTEGER,
    checksum INTEGER NOT NULL,     -- XXH3-64
    publisher TEXT,
    key ANY,
    headers TEXT,                  -- a JSON object
    payload ANY NOT NULL
) STRICT;

-- From (topic, offset) to seq, an epoch at a time. Only runs of an epoch that stands in `epochs` count.
CREATE TABLE topic_runs (
    epoch INTEGER NOT NULL,
    topic_id INTEGER NOT NULL,
    first_offset INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    count INTEGER NOT NULL,        -- 1 to 1024
    busy INTEGER NOT NULL,         -- 1: its topic is one of the 64 with the most rows in the epoch
    PRIMARY KEY (epoch, topic_id, first_offset)
) STRICT, WITHOUT ROWID;

-- The busiest topics of each epoch are found by topic at once, whatever the number of epochs. At most 64 pages
-- an epoch are written for it, as all runs of a topic in an epoch stand together.
CREATE INDEX busy_runs ON topic_runs (topic_id, first_offset, first_seq, count, busy) WHERE busy = 1;

CREATE TABLE epochs (
    epoch INTEGER PRIMARY KEY,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    quiet_runs INTEGER NOT NULL,   -- runs in it that are not busy
    closed_at INTEGER NOT NULL     -- microseconds UTC
) STRICT;

CREATE INDEX epochs_by_last_seq ON epochs (last_seq);
CREATE INDEX epochs_with_quiet_runs ON epochs (epoch, quiet_runs) WHERE quiet_runs > 0;

CREATE TABLE subscriptions (
    subscription_id INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    filter TEXT NOT NULL,
    start TEXT NOT NULL CHECK (start IN ('new', 'beginning', 'offset', 'last')),
    start_value INTEGER NOT NULL,  -- the offset, or how many
    mark INTEGER NOT NULL,         -- the seq that came next when it was stored
    generation INTEGER NOT NULL,
    UNIQUE (id, filter)
) STRICT;

CREATE TABLE committed_offsets (
    topic_id INTEGER NOT NULL,
    subscription_id INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    PRIMARY KEY (topic_id, subscription_id)
) STRICT, WITHOUT ROWID;

-- To forget a subscription without reading everybody's offsets.
CREATE INDEX committed_offsets_by_subscription ON committed_offsets (subscription_id);

-- Three parts without overlap: busy runs, the other runs, and the rows behind the last epoch. `run` is the first
-- offset of the row's run (of the row itself in the third part), so a range of offsets X to Y is asked for as
--     offset BETWEEN X AND Y AND run BETWEEN X - 1023 AND Y
-- The + keeps SQLite from building an index over all messages on the fly.
CREATE VIEW history (topic, offset, published, publisher, key, headers, payload, run) AS
SELECT t.name, m.offset,
       strftime('%Y-%m-%dT%H:%M:%S', m.published_at / 1000000, 'unixepoch')
           || printf('.%06dZ', m.published_at % 1000000),
       m.publisher, m.key, m.headers, m.payload, r.first_offset
FROM topics t
CROSS JOIN topic_runs r INDEXED BY busy_runs
CROSS JOIN messages m
WHERE t.deleted_at IS NULL
  AND r.busy = 1
  AND r.topic_id = t.topic_id
  AND r.epoch <= (SELECT max(epoch) FROM epochs)
  AND m.seq BETWEEN r.first_seq AND r.first_seq + r.count - 1
  AND +m.topic_id = t.topic_id
  AND m.offset >= t.first_offset
UNION ALL
SELECT t.name, m.offset,
       strftime('%Y-%m-%dT%H:%M:%S', m.published_at / 1000000, 'unixepoch')
           || printf('.%06dZ', m.published_at % 1000000),
       m.publisher, m.key, m.headers, m.payload, r.first_offset
FROM topics t
CROSS JOIN epochs e INDEXED BY epochs_with_quiet_runs
CROSS JOIN topic_runs r
CROSS JOIN messages m
WHERE t.deleted_at IS NULL
  AND e.quiet_runs > 0
  AND e.epoch BETWEEN t.quiet_from AND t.quiet_to
  AND r.epoch = e.epoch
  AND r.topic_id = t.topic_id
  AND r.busy = 0
  AND m.seq BETWEEN r.first_seq AND r.first_seq + r.count - 1
  AND +m.topic_id = t.topic_id
  AND m.offset >= t.first_offset
UNION ALL
SELECT t.name, m.offset,
       strftime('%Y-%m-%dT%H:%M:%S', m.published_at / 1000000, 'unixepoch')
           || printf('.%06dZ', m.published_at % 1000000),
       m.publisher, m.key, m.headers, m.payload, m.offset
FROM topics t
CROSS JOIN messages m
WHERE t.deleted_at IS NULL
  AND m.seq > (SELECT coalesce(max(last_seq), 0) FROM epochs)
  AND +m.topic_id = t.topic_id
  AND m.offset >= t.first_offset;

CREATE VIEW topic_stats (topic, first_offset, next_offset, messages, last_published) AS
WITH tail AS (
    SELECT topic_id, max(offset) + 1 AS next_offset, max(seq) AS last_seq
    FROM messages
    WHERE seq > (SELECT coalesce(max(last_seq), 0) FROM epochs)
    GROUP BY topic_id
)
SELECT t.name, t.first_offset, coalesce(tail.next_offset, t.next_offset),
       coalesce(tail.next_offset, t.next_offset) - t.first_offset,
       strftime('%Y-%m-%dT%H:%M:%S', m.published_at / 1000000, 'unixepoch')
           || printf('.%06dZ', m.published_at % 1000000)
FROM topics t
LEFT JOIN tail ON tail.topic_id = t.topic_id
LEFT JOIN messages m ON m.seq = coalesce(tail.last_seq, t.last_seq)
WHERE t.deleted_at IS NULL;
