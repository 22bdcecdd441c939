/* Every statement that the running store prepares, in one table. STATEMENT_x names the one called x. */
#ifndef PSBROKER_STATEMENTS_H
#define PSBROKER_STATEMENTS_H

#define MESSAGE_COLUMNS                                                                                      \
    "m.topic_id, m.offset, m.published_at, m.flags, m.checksum, m.publisher, m.key, m.headers, m.payload"

#define STATEMENT_MAP(X)                                                                                     \
    X(BEGIN_WRITE, "BEGIN IMMEDIATE")                                                                        \
    X(BEGIN_READ, "BEGIN")                                                                                   \
    X(COMMIT, "COMMIT")                                                                                      \
    X(ROLLBACK, "ROLLBACK")                                                                                  \
    X(SAVEPOINT, "SAVEPOINT part")                                                                           \
    X(RELEASE, "RELEASE part")                                                                               \
    X(ROLLBACK_TO, "ROLLBACK TO part")                                                                       \
    X(DATA_VERSION, "PRAGMA data_version")                                                                   \
    X(SCHEMA_VERSION, "PRAGMA schema_version")                                                               \
    X(GET_SETTING, "SELECT value FROM settings WHERE name = ?1")                                             \
    X(PUT_SETTING, "INSERT INTO settings (name, value) VALUES (?1, ?2)"                                      \
                   " ON CONFLICT (name) DO UPDATE SET value = excluded.value")                               \
    X(HEAD, "SELECT max(coalesce((SELECT max(seq) FROM messages), 0) + 1,"                                   \
            " coalesce((SELECT value FROM settings WHERE name = 'next_seq'), 1),"                            \
            " coalesce((SELECT max(last_seq) FROM epochs), 0) + 1),"                                         \
            " (SELECT value FROM settings WHERE name = 'start_count'),"                                      \
            " (SELECT value FROM settings WHERE name = 'log_id')")                                           \
    X(FREE_PAGES, "PRAGMA freelist_count")                                                                   \
    X(SHRINK, "PRAGMA incremental_vacuum(16)") /* each of them rewrites a few others */                      \
    /* topics */                                                                                             \
    X(FIND_TOPIC, "SELECT topic_id, next_offset FROM topics WHERE name = ?1")                                \
    X(PUT_TOPIC, "INSERT INTO topics (topic_id, name, created_seq, first_offset, next_offset, last_seq,"     \
                 " swept_offset) VALUES (?1, ?2, ?3, ?4, ?4, 0, ?4)"                                         \
                 " ON CONFLICT (topic_id) DO UPDATE SET created_seq = excluded.created_seq,"                 \
                 " first_offset = excluded.first_offset, next_offset = excluded.next_offset,"                \
                 " deleted_at = NULL")                                                                       \
    X(DELETE_TOPIC, "UPDATE topics SET first_offset = ?2, next_offset = ?2, last_seq = ?3, deleted_at = ?4"  \
                    " WHERE topic_id = ?1")                                                                  \
    X(INDEX_TOPIC, "UPDATE topics SET next_offset = max(next_offset, ?2), last_seq = max(last_seq, ?3),"     \
                   " quiet_from = iif(?4 IS NULL, quiet_from, coalesce(quiet_from, ?4)),"                    \
                   " quiet_to = coalesce(?4, quiet_to) WHERE topic_id = ?1")                                 \
    X(SWEPT_TOPIC, "UPDATE topics SET swept_offset = ?2 WHERE topic_id = ?1 AND swept_offset < ?2")          \
    X(LIST_TOPICS, "SELECT topic_id, name, created_seq, first_offset, next_offset, last_seq, swept_offset,"  \
                   " deleted_at IS NOT NULL FROM topics ORDER BY topic_id")                                  \
    X(KEPT_FROM, "SELECT first_offset FROM topics WHERE topic_id = ?1")                                      \
    /* messages */                                                                                           \
    X(APPEND_PLAIN, "INSERT INTO messages (topic_id, offset, published_at, flags, checksum, payload)"        \
                    " SELECT topic_id, offset, ?1, 0, checksum, payload FROM message_batch")                 \
    X(APPEND_MESSAGES, "INSERT INTO messages (topic_id, offset, published_at, flags, checksum, publisher,"   \
                       " key, headers, payload) SELECT topic_id, offset, ?1, flags, checksum, publisher,"    \
                       " key, headers, payload FROM message_batch")                                          \
    X(INSERT_MESSAGES, "INSERT INTO messages (seq, topic_id, offset, published_at, flags, checksum,"         \
                       " publisher, key, headers, payload) SELECT seq, topic_id, offset, ?1, flags,"         \
                       " checksum, publisher, key, headers, payload FROM message_batch")                     \
    X(READ_ROWS,                                                                                             \
      "SELECT 1 FROM messages m WHERE m.seq BETWEEN ?1 AND ?2 AND NOT show_row(" MESSAGE_COLUMNS ")"         \
      " ORDER BY m.seq")                                                                                     \
    X(TAIL_ROWS, "SELECT seq, topic_id, offset FROM messages WHERE seq > ?1 ORDER BY seq")                   \
    X(LAST_ROW, "SELECT seq, published_at FROM messages ORDER BY seq DESC LIMIT 1")                          \
    X(ROW_AT, "SELECT topic_id, offset FROM messages WHERE seq = ?1")                                        \
    X(FIRST_ROW_BETWEEN, "SELECT seq FROM messages WHERE seq BETWEEN ?1 AND ?2 ORDER BY seq LIMIT 1")        \
    X(DELETE_ROWS, "DELETE FROM messages WHERE seq BETWEEN ?1 AND ?2")                                       \
    /* the index */                                                                                          \
    X(INSERT_RUNS, "INSERT INTO topic_runs (epoch, topic_id, first_offset, first_seq, count,"                \
                   " busy) SELECT * FROM run_batch")                                                         \
    X(INSERT_EPOCH, "INSERT INTO epochs (epoch, first_seq, last_seq, quiet_runs, closed_at)"                 \
                    " VALUES (?1, ?2, ?3, ?4, ?5)")                                                          \
    X(LAST_EPOCH, "SELECT epoch, last_seq FROM epochs ORDER BY epoch DESC LIMIT 1")                          \
    X(LAST_TWO_EPOCHS, "SELECT epoch, first_seq, last_seq FROM epochs ORDER BY epoch DESC LIMIT 2")          \
    X(EPOCH_AT_OR_BELOW, "SELECT epoch FROM epochs WHERE epoch <= ?1 ORDER BY epoch DESC LIMIT 1")           \
    X(RUNS_OF_EPOCH, "SELECT topic_id, first_offset, first_seq, count FROM topic_runs WHERE epoch = ?1"      \
                     " ORDER BY topic_id, first_offset")                                                     \
    X(UNLISTED_RUN, "SELECT 1 FROM topic_runs WHERE epoch > ?1 LIMIT 1")                                     \
    X(RIGHT_EDGES,                                                                                           \
      "SELECT (SELECT max(topic_id) FROM topic_runs INDEXED BY busy_runs WHERE busy = 1),"                   \
      " (SELECT max(last_seq) FROM epochs INDEXED BY epochs_by_last_seq),"                                   \
      " (SELECT max(epoch) FROM epochs INDEXED BY epochs_with_quiet_runs WHERE quiet_runs > 0),"             \
      " (SELECT max(epoch) FROM topic_runs)")                                                                \
    X(FIRST_EPOCH, "SELECT min(epoch) FROM epochs")                                                          \
    X(DROP_UNLISTED, "DELETE FROM topic_runs WHERE epoch > ?1")                                              \
    X(NEXT_EPOCH, "SELECT epoch FROM epochs WHERE epoch >= ?1 AND epoch <= ?2 ORDER BY epoch LIMIT 1")       \
    X(EPOCH_OF_SEQ, "SELECT epoch FROM epochs WHERE last_seq >= ?1 ORDER BY last_seq LIMIT 1")               \
    X(RUN_AT_OR_BELOW, "SELECT first_offset, first_seq, count FROM topic_runs WHERE epoch = ?1"              \
                       " AND topic_id = ?2 AND first_offset <= ?3 ORDER BY first_offset DESC LIMIT 1")       \
    X(RUN_ABOVE, "SELECT first_offset, first_seq FROM topic_runs WHERE epoch = ?1"                           \
                 " AND topic_id = ?2 AND first_offset > ?3 ORDER BY first_offset LIMIT 1")                   \
    X(RUN_PAST_SEQ, "SELECT first_offset, first_seq FROM topic_runs WHERE epoch = ?1 AND topic_id = ?2"      \
                    " AND first_seq + count > ?3 ORDER BY first_offset LIMIT 1")                             \
    X(BUSY_RUN_AT_OR_BELOW, "SELECT epoch, first_offset, first_seq, count FROM topic_runs"                   \
                            " INDEXED BY busy_runs WHERE busy = 1 AND topic_id = ?1"                         \
                            " AND first_offset <= ?2 ORDER BY first_offset DESC LIMIT 1")                    \
    X(BUSY_RUN_ABOVE, "SELECT epoch FROM topic_runs INDEXED BY busy_runs WHERE busy = 1"                     \
                      " AND topic_id = ?1 AND first_offset > ?2 ORDER BY first_offset LIMIT 1")              \
    X(READ_EPOCH, "SELECT 1 FROM topic_runs r CROSS JOIN messages m WHERE r.epoch = ?1"                      \
                  " AND r.topic_id = ?2 AND r.first_offset >= ?3"                                            \
                  " AND m.seq BETWEEN max(r.first_seq, ?4) AND r.first_seq + r.count - 1 AND NOT "           \
                  "show_row(" MESSAGE_COLUMNS ") ORDER BY r.first_offset, m.seq")                            \
    X(DEAD_RUNS, "SELECT first_offset, first_seq, count FROM topic_runs WHERE epoch = ?1"                    \
                 " AND topic_id = ?2 AND first_offset < ?3 ORDER BY first_offset")                           \
    X(DELETE_RUN, "DELETE FROM topic_runs WHERE epoch = ?1 AND topic_id = ?2 AND first_offset = ?3")         \
    X(EPOCH_IN_USE, "SELECT 1 FROM topic_runs WHERE epoch = ?1 LIMIT 1")                                     \
    X(DELETE_EPOCH, "DELETE FROM epochs WHERE epoch = ?1 AND epoch < (SELECT max(epoch) FROM epochs)")       \
    /* a check of everything */                                                                              \
    X(SCRUB_ROWS, "SELECT m.seq, " MESSAGE_COLUMNS " FROM messages m WHERE m.seq >= ?1 AND m.seq < ?2"       \
                  " ORDER BY m.seq")                                                                         \
    X(SCRUB_EPOCH, "SELECT epoch, first_seq, last_seq FROM epochs WHERE last_seq >= ?1"                      \
                   " ORDER BY last_seq LIMIT 1")                                                             \
    X(SCRUB_TOPIC, "SELECT name, first_offset FROM topics WHERE topic_id = ?1")                              \
    X(SCRUB_TOPICS, "SELECT topic_id, name, first_offset, next_offset, last_seq FROM topics"                 \
                    " WHERE topic_id > ?1 ORDER BY topic_id LIMIT 256")                                      \
    X(SCRUB_OFFSETS, "SELECT c.topic_id, c.subscription_id, c.next_offset, t.name, t.next_offset, s.id"      \
                     " FROM committed_offsets c LEFT JOIN topics t ON t.topic_id = c.topic_id"               \
                     " LEFT JOIN subscriptions s ON s.subscription_id = c.subscription_id"                   \
                     " WHERE (c.topic_id, c.subscription_id) > (?1, ?2)"                                     \
                     " ORDER BY c.topic_id, c.subscription_id LIMIT 256")                                    \
    /* subscriptions */                                                                                      \
    X(FIND_SUBSCRIPTION, "SELECT subscription_id, start, start_value, mark, generation FROM subscriptions"   \
                         " WHERE id = ?1 AND filter = ?2")                                                   \
    X(NEW_SUBSCRIPTION, "INSERT INTO subscriptions (id, filter, start, start_value, mark, generation)"       \
                        " VALUES (?1, ?2, ?3, ?4, ?5, 1)")                                                   \
    X(COUNT_SUBSCRIPTIONS, "SELECT count(*) FROM subscriptions")                                             \
    X(RAISE_GENERATION, "UPDATE subscriptions SET generation = generation + 1 WHERE subscription_id = ?1")   \
    X(MOVE_SUBSCRIPTION, "UPDATE subscriptions SET start = ?2, start_value = ?3, mark = ?4,"                 \
                         " generation = generation + 1 WHERE subscription_id = ?1")                          \
    X(DELETE_SUBSCRIPTION, "DELETE FROM subscriptions WHERE subscription_id = ?1")                           \
    X(DELETE_OFFSETS, "DELETE FROM committed_offsets WHERE subscription_id = ?1")                            \
    X(PUT_OFFSET,                                                                                            \
      "INSERT INTO committed_offsets (topic_id, subscription_id, next_offset)"                               \
      " SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM subscriptions WHERE subscription_id = ?2)"             \
      " ON CONFLICT (topic_id, subscription_id) DO UPDATE SET next_offset = excluded.next_offset"            \
      " WHERE excluded.next_offset > next_offset")                                                           \
    X(GET_OFFSET, "SELECT next_offset FROM committed_offsets WHERE topic_id = ?1 AND subscription_id = ?2")  \
    X(LIST_SUBSCRIPTIONS, "SELECT subscription_id, id, filter, start, start_value, mark, generation"         \
                          " FROM subscriptions WHERE (id, filter) > (?1, ?2) ORDER BY id, filter LIMIT ?3")  \
    X(LIST_SUBSCRIPTIONS_OF, "SELECT subscription_id, id, filter, start, start_value, mark, generation"      \
                             " FROM subscriptions WHERE id = ?1 AND filter > ?2 ORDER BY filter LIMIT ?3")

enum statement {
#define STATEMENT_ENUM(symbol, sql) STATEMENT_##symbol,
    STATEMENT_MAP(STATEMENT_ENUM)
#undef STATEMENT_ENUM
        STATEMENT_COUNT
};

#endif
