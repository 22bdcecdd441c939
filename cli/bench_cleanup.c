/* list -> delete what was listed -> list …, over when a list is empty.
 *
 * It looks again because a publication of a connection that was closed may come to the broker behind the deletion and
 * make its topic anew. After a few rounds somebody else must be publishing there: that is a failure. */
#include "bench_cleanup.h"

#include "text.h"

#include <stdio.h>
#include <stdlib.h>

enum { MOST_ROUNDS = 20, UNDER_WAY = 256, FIRST_ROOM = 64 };

static void look(struct bench_cleanup *cleanup);

static void end(struct bench_cleanup *cleanup, enum ps_status status)
{
    struct psc_error error = {.status = status, .text = ps_status_text(status)};

    if (cleanup->over)
        return;
    cleanup->over = true;
    cleanup->done(cleanup, status == PS_OK ? NULL : &error, cleanup->data);
}

static void fail(struct bench_cleanup *cleanup, enum ps_status status)
{
    if (!cleanup->failed)
        cleanup->status = status;
    cleanup->failed = true;
}

/* ---------------------------------------------------------------------------------------------- deleting */

static void delete_more(struct bench_cleanup *cleanup);

static void deleted_cb(const struct psc_error *error, void *data)
{
    struct bench_cleanup *cleanup = data;

    cleanup->answered++;
    if (error != NULL && error->status != PS_NO_SUCH_TOPIC)
        fail(cleanup, error->status);
    delete_more(cleanup);
}

static void delete_more(struct bench_cleanup *cleanup)
{
    while (!cleanup->failed && cleanup->next < cleanup->count &&
           cleanup->next - cleanup->answered < UNDER_WAY) {
        char name[96];
        snprintf(name, sizeof name, "%s%u", cleanup->prefix, (unsigned)cleanup->found[cleanup->next]);
        enum ps_status status = psc_delete_topic(cleanup->client, bytes_of(name), deleted_cb, cleanup);
        if (status != PS_OK) {
            fail(cleanup, status);
            break;
        }
        cleanup->next++;
    }
    if (cleanup->answered != cleanup->next)
        return;
    if (cleanup->failed)
        end(cleanup, cleanup->status);
    else if (cleanup->next == cleanup->count)
        look(cleanup);
}

/* ----------------------------------------------------------------------------------------------- looking */

static void remember(struct bench_cleanup *cleanup, struct psc_bytes topic)
{
    size_t length = strlen(cleanup->prefix);
    const char *at = topic.data;
    uint32_t number = 0;

    for (size_t i = length; i < topic.size; i++)
        number = number * 10 + (uint32_t)(at[i] - '0');
    if (cleanup->count == cleanup->room) {
        cleanup->room = cleanup->room == 0 ? FIRST_ROOM : 2 * cleanup->room;
        cleanup->found = must_resize(cleanup->found, cleanup->room * sizeof *cleanup->found);
    }
    cleanup->found[cleanup->count++] = number;
}

static void listed_cb(const struct psc_error *error, const struct psc_topic_info *topic, void *data)
{
    struct bench_cleanup *cleanup = data;

    if (topic != NULL)
        remember(cleanup, topic->topic);
    else if (error != NULL)
        end(cleanup, error->status);
    else if (cleanup->count == 0)
        end(cleanup, PS_OK);
    else if (cleanup->rounds == MOST_ROUNDS)
        end(cleanup, PS_LIMIT_EXCEEDED);
    else
        delete_more(cleanup);
}

static void look(struct bench_cleanup *cleanup)
{
    cleanup->rounds++;
    cleanup->count = cleanup->next = cleanup->answered = 0;
    enum ps_status status = psc_list_topics(cleanup->client, bytes_of(cleanup->filter), listed_cb, cleanup);
    if (status != PS_OK)
        end(cleanup, status);
}

void bench_cleanup_start(struct bench_cleanup *cleanup, struct psc_client *client, const char *prefix,
                         void (*done)(struct bench_cleanup *, const struct psc_error *, void *), void *data)
{
    *cleanup = (struct bench_cleanup){.client = client, .prefix = prefix, .done = done, .data = data};
    snprintf(cleanup->filter, sizeof cleanup->filter, "%s+", prefix);
    look(cleanup);
}

void bench_cleanup_deinit(struct bench_cleanup *cleanup)
{
    free(cleanup->found);
    cleanup->found = NULL;
}
