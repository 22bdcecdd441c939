/* sqlite3_config() works only before SQLite's first use in a process, and holds for everybody in it. So it is called
 * once, in front of our first connection, and its outcome is kept. The log's listeners come and go with the stores,
 * which SQLite could not do. */
#include "library.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool settled;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct library_listener *listeners;

/* Syslog's level for a result code. What the store waits for or tries again is no event by itself. */
static int level_of(int code)
{
    switch (code & 0xff) {
    case SQLITE_NOTICE:
        return 6;
    case SQLITE_SCHEMA:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return 7;
    case SQLITE_WARNING:
    case SQLITE_CONSTRAINT:
    case SQLITE_TOOBIG:
        return 4;
    default:
        return 3;
    }
}

/* SQLite's texts quote SQL: no quote, newline or other control byte of it may break a logfmt value. */
static void tell(void *ctx, int code, const char *text)
{
    char line[512];
    int used = snprintf(line, sizeof(line), "event=sqlite code=%d text=\"%s", code, text);
    size_t end = used < 0 ? 0 : (size_t)used;

    (void)ctx;
    if (end > sizeof(line) - 2)
        end = sizeof(line) - 2;
    for (char *at = strchr(line, '"') + 1; at < line + end; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = ' ';
        else if (*at == '"' || *at == '\\')
            *at = '\'';
    }
    memcpy(line + end, "\"", 2);

    pthread_mutex_lock(&mutex);
    for (const struct library_listener *listener = listeners; listener != NULL; listener = listener->next)
        if (listener->log != NULL)
            listener->log(listener->ctx, level_of(code), line);
    pthread_mutex_unlock(&mutex);
}

/* Memory statistics take a global mutex for each allocation, which writer and readers would share. */
static void configure(void)
{
    settled = sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0) == SQLITE_OK &&
              sqlite3_config(SQLITE_CONFIG_LOG, tell, NULL) == SQLITE_OK;
}

bool library_init(void)
{
    pthread_once(&once, configure);
    return settled;
}

void library_listen_start(struct library_listener *listener, store_log_fn *log, void *ctx)
{
    *listener = (struct library_listener){.log = log, .ctx = ctx};
    pthread_mutex_lock(&mutex);
    listener->next = listeners;
    listeners = listener;
    pthread_mutex_unlock(&mutex);
}

void library_listen_stop(struct library_listener *listener)
{
    pthread_mutex_lock(&mutex);
    for (struct library_listener **at = &listeners; *at != NULL; at = &(*at)->next) {
        if (*at == listener) {
            *at = listener->next;
            break;
        }
    }
    pthread_mutex_unlock(&mutex);
}
