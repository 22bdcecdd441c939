/* The defaults of psbroker's options, each once: what a zero member of a config stands for, and what the help says.
 * In the units that the help shows, as plain numbers that DEFAULT_TEXT() can spell. */
#ifndef PSBROKER_DEFAULTS_H
#define PSBROKER_DEFAULTS_H

#include "store.h"

#define DEFAULT_TAIL_MIB 32
#define DEFAULT_CURSOR_MIB 128
#define DEFAULT_PUBLISH_WINDOW_MIB 16
#define DEFAULT_PUBLISH_MIB 64
#define DEFAULT_RECEIVE_MIB 256
#define DEFAULT_SEND_MIB 256
#define DEFAULT_MAX_TOPICS STORE_MAX_TOPICS
#define DEFAULT_TOPIC_RATE 100
#define DEFAULT_MAX_SUBSCRIPTIONS 1024
#define DEFAULT_MAX_DURABLE STORE_MAX_DURABLE
#define DEFAULT_MAX_CONNECTIONS 10000
#define DEFAULT_MAX_PER_ADDRESS 256
#define DEFAULT_MAX_GREETING 512
#define DEFAULT_HELLO_TIMEOUT_S 5
#define DEFAULT_FRAME_TIMEOUT_S 10
#define DEFAULT_PING_INTERVAL_S 30

#define DEFAULT_TEXT(number) DEFAULT_TEXT_OF(number)
#define DEFAULT_TEXT_OF(number) #number

#endif
