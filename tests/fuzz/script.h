/* The input of fuzz_session: four bytes of configuration, then steps. A step is a byte that says what, a byte that
 * says which client, then what that step reads; bytes are taken modulo what there is to choose from, and behind the
 * end there are zeros. So any bytes are a script, and one that was changed a little does something else of use.
 *
 * Configuration: budget of the tail, bytes handed to a socket, publish window, time that passes at each look. */
#ifndef PSBROKER_FUZZ_SCRIPT_H
#define PSBROKER_FUZZ_SCRIPT_H

enum step {
    STEP_CONNECT,     /* how: % 8: 0 … 4 with Hello, any role; 5, 6 the other roles; 7 without Hello */
    STEP_DISCONNECT,  /* */
    STEP_HELLO,       /* least version, most, id */
    STEP_PUBLISH,     /* groups, then for each: topic, messages, then for each: what, size */
    STEP_SUBSCRIBE,   /* filter, id, start, value, options, credit */
    STEP_CREDIT,      /* subscription, messages, bytes */
    STEP_ACK,         /* subscription, topic, how far back from what was delivered (255: one too far) */
    STEP_DETACH,      /* subscription */
    STEP_UNSUBSCRIBE, /* by number or by name, subscription, filter, id */
    STEP_SEEK,        /* filter, id, start, value */
    STEP_LIST,        /* which list, filter or id, limit */
    STEP_DELETE,      /* topic */
    STEP_PING,        /* Ping, Pong, GetInfo, or an unknown request */
    STEP_RAW,         /* size, then the body of a frame as it is */
    STEP_REFUSE,      /* which status a frame was refused with */
    STEP_COMMIT,      /* how many writes, and of what they die */
    STEP_READ,        /* which read, run or completed */
    STEP_TAKE,        /* the client's kernel takes what is queued; odd: it is slow from now on */
    STEP_PASS,        /* milliseconds: byte squared */
    STEP_SETTLE,      /* */
    STEP_RESTART,     /* */
    STEP_DRAIN,       /* */
    STEP_DAMAGE,      /* offset at which records are damaged from now on; 255: none */
    STEPS
};

/* Numbers are one byte, or from 250 on one of those that lie at the edges. */
enum { NUMBER_EDGE = 250 };

#endif
