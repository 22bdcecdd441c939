/* Publications from receipt to answer: validation, charging, one append per topic, encoding into the tail. */
#ifndef PSBROKER_PUBLISHING_H
#define PSBROKER_PUBLISHING_H

#include "session_state.h"

/* A Publish frame of an open session. Takes the arena (setting *arena to NULL) and a reference of the buffer when
 * anything is under way afterwards. */
void publish_receive(struct session *session, struct client_frame *frame, struct buffer *owner,
                     struct arena **arena);

/* Encodes what was committed in this burst for topics that somebody follows, and wakes their cursors. */
void publish_encode_burst(struct broker *broker);
/* Answers publications whose last group completed, gives their charges back. */
void publish_answer_finished(struct broker *broker);

/* The session is gone. */
void publish_session_gone(struct session *session);

#endif
