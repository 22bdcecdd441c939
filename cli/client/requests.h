/* Requests that wait for their answer: what was asked, under which id, and how it is answered.
 *
 * A request owns its encoded frame until it is sent, so it can be made before there is a connection. Every
 * request is answered exactly once: by the broker's frame or by requests_lost(). */
#ifndef PSCLIENT_REQUESTS_H
#define PSCLIENT_REQUESTS_H

#include "codec.h"
#include "convert.h"

struct request;

enum request_verdict {
    REQUEST_ANSWERED, /* the request is over and is freed */
    REQUEST_MORE,     /* it waits for another frame, or for being sent again */
    REQUEST_WRONG     /* not an answer to this request: the connection cannot go on */
};

struct request_type {
    /* Runs the caller's callback. SERVER_ERROR never comes here. */
    enum request_verdict (*answer)(struct request *request, const struct server_frame *frame);
    void (*fail)(struct request *request, const struct psc_error *error);
    void (*deinit)(struct request *request); /* of what the type added; NULL: nothing */
    bool changes;                            /* it may have taken effect although no answer came */
};

/* Embedded as the first member of what a type adds. */
struct request {
    struct request *next;
    const struct request_type *type;
    uint64_t id;
    bool sent;
    uint64_t sent_at_ns;
    struct bytes frame; /* until sent */
    psc_done_fn *done;  /* of the types that have nothing else to say */
    void *data;
    enum ps_status ended_with; /* of one that ends without the broker */
};

/* In the order they were made. */
struct requests {
    struct request *first, **end;
    struct request *unsent; /* the first that was not sent */
    size_t count;
};

enum { REQUESTS_MOST = 65536 };

void requests_init(struct requests *requests);

/* A request of `size` bytes of its own, zeroed, outside of the table. PS_OK or PS_NO_MEMORY. */
enum ps_status request_new(const struct request_type *type, size_t size, uint64_t id,
                           struct request **request);

/* Frees one that is not in the table. Takes NULL. */
void request_free(struct request *request);

/* Encodes its frame, again if it was encoded before. PS_OK, PS_NO_MEMORY, PS_FRAME_TOO_LARGE. */
enum ps_status request_encode(struct request *request, struct client_frame *frame);

/* Takes the request. */
void requests_add(struct requests *requests, struct request *request);

/* Appends the frames that were not sent. PS_OK or PS_NO_MEMORY. */
enum ps_status requests_send(struct requests *requests, struct bytes *out, uint64_t now_ns);

/* Whether the frame's id belongs to a sent request; then it was given to it and *verdict tells the rest. */
bool requests_answer(struct requests *requests, uint64_t id, const struct server_frame *frame,
                     enum request_verdict *verdict);

/* Fails all that were made so far: sent ones that change something with PS_UNKNOWN, others with `status`. */
void requests_lost(struct requests *requests, enum ps_status status, const char *text);

/* One whose frame is a Done and whose callback is a psc_done_fn. */
extern const struct request_type request_done_type;
/* The same for what changes nothing. */
extern const struct request_type request_detach_type;

#endif
