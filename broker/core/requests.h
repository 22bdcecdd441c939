/* The verbs of a session beyond publishing: one function per frame kind. The session is open (acknowledgements:
 * or draining) and its role allows the kind. */
#ifndef PSBROKER_REQUESTS_H
#define PSBROKER_REQUESTS_H

#include "session_state.h"

void request_subscribe(struct session *session, const struct client_frame *frame);
void request_credit(struct session *session, const struct client_frame *frame);
void request_ack(struct session *session, const struct client_frame *frame);
void request_detach(struct session *session, const struct client_frame *frame);
void request_unsubscribe(struct session *session, const struct client_frame *frame);
void request_seek(struct session *session, const struct client_frame *frame);
void request_list_topics(struct session *session, const struct client_frame *frame);
void request_delete_topic(struct session *session, const struct client_frame *frame);
void request_list_subscriptions(struct session *session, const struct client_frame *frame);
void request_info(struct session *session, const struct client_frame *frame);

void request_verify(struct session *session, const struct client_frame *frame);
void request_backup(struct session *session, const struct client_frame *frame);
void request_read_backup(struct session *session, const struct client_frame *frame);

/* The session is gone, and with it the copy that was made for it. */
void backup_session_gone(struct session *session);
/* The store's state may tell how far a copy is. */
void backup_look(struct broker *broker);

#endif
