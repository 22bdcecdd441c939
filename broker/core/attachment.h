/* A subscription attached to a session: filter, credit, and one cursor per matching topic. */
#ifndef PSBROKER_ATTACHMENT_H
#define PSBROKER_ATTACHMENT_H

#include "broker_state.h"
#include "cursor.h"
#include "session_state.h"

/* RESOLVING is skipped where nothing has to be read. */
enum attachment_state {
    ATTACHMENT_STORING,   /* its STORE_ATTACH is under way; a temporary one has none and goes on at once */
    ATTACHMENT_ADDING,    /* topics that exist are being added, in parts */
    ATTACHMENT_RESOLVING, /* starts are being read */
    ATTACHMENT_ANSWERING, /* Subscribed goes out, in frames as there is room */
    ATTACHMENT_LIVE,
    ATTACHMENT_FINISHED /* durable, ended by itself: takes acknowledgements only */
};

struct attachment {
    struct map_node by_number;  /* session.by_number */
    struct map_node by_durable; /* broker.durables */
    struct list in_session;
    struct list in_ready;       /* session.ready */
    struct list in_progressing; /* broker.progressing */
    struct router_entry route;
    struct session *session;
    enum attachment_state state;
    uint64_t number;
    struct reply reply;      /* of the Subscribe, until the last Subscribed frame */
    bool told;               /* its number, in the first Subscribed frame */
    struct start_rule start; /* the rule in force, without offsets */
    uint64_t mark;
    bool until_end;
    bool created;
    uint64_t credit_messages, credit_bytes; /* totals granted */
    uint64_t sent_messages, sent_bytes;
    struct map cursors; /* by topic */
    struct list all, ready, resolving;
    struct list gone;         /* cursors that gave all of a topic that was deleted */
    uint32_t busy;            /* cursors neither waiting nor ended */
    uint32_t open;            /* cursors not ended */
    struct producer answer;   /* adds the topics that exist, then tells where each starts */
    struct topic *added;      /* the last one looked at, referenced; NULL: none, or all were */
    uint64_t begun_mark;      /* topics made behind it are not waited for until the end */
    struct list *answer_next; /* cursor whose start is told next */
    struct attach_request *attaching;
    struct resolve *resolve;
    /* durable */
    uint64_t subscription_id; /* 0: temporary, or not stored yet */
    uint64_t generation;
    uint32_t seeks; /* under way */
    struct list seek_waiters;
    size_t id_size, filter_size;
    uint8_t names[]; /* id, filter */
};

static inline bool attachment_durable(const struct attachment *a)
{
    return a->id_size > 0;
}
static inline struct span attachment_id(const struct attachment *a)
{
    return (struct span){a->names, a->id_size};
}
static inline struct span attachment_filter(const struct attachment *a)
{
    return (struct span){a->names + a->id_size, a->filter_size};
}

/* Registered with its session under a new number and, when durable, in the registry; in state STORING.
 * NULL: subscription_refusal() says why. */
struct attachment *attachment_new(struct session *session, const struct client_frame *frame);
/* Why there is no subscription or no cursor: the budget of all of them is used up, or memory is. */
struct protocol_error subscription_refusal(const struct broker *broker);
/* Dirty committed offsets must have been submitted before. Takes NULL. */
void attachment_free(struct attachment *a);

/* Ends it from the broker's side: tells the client, submits committed offsets, frees (a durable one that ended by
 * itself, with PS_END_REACHED or PS_DAMAGED, stays for its acknowledgements). */
void attachment_end(struct attachment *a, const struct protocol_error *reason);
void attachment_end_status(struct attachment *a, enum ps_status status);
/* Detaches without a word. */
void attachment_detach(struct attachment *a);

/* Every offset acknowledged through it is to be written again. */
void attachment_touch_acked(struct attachment *a);

struct attach_request;
/* The attachment is gone: the write goes on without it. */
void attach_forget(struct attach_request *request);

/* By the number that its client was told; before that it cannot be named. NULL: none. */
struct attachment *attachment_find(const struct session *session, uint64_t number);
/* The attachment that holds a durable subscription, in whatever session; NULL: none. */
struct attachment *attachment_holder(const struct broker *broker, struct span id, struct span filter);
struct cursor *attachment_cursor(const struct attachment *a, const struct topic *topic);

/* Begins: finds topics and starts; answers when all are known. The state moves on from STORING. */
void attachment_begin(struct attachment *a, const struct start_rule *start);
/* A topic that did not exist before matches. */
void attachment_topic_created(struct attachment *a, struct topic *topic);
/* Every start is known: Subscribed may go out. */
void attachment_answer(struct attachment *a);

bool attachment_has_credit(const struct attachment *a);
/* Puts it where its cursors and credit say: in or out of the session's ready list; ended when all is sent. May
 * free it. */
void attachment_schedule(struct attachment *a);
/* Sends one frame's worth. May free it. */
void attachment_serve(struct attachment *a);
void attachment_send_progress(struct attachment *a);

#endif
