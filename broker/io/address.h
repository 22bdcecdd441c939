/* Where a listener listens: parsed from `ADDR[,role=publish|subscribe]`.
 *
 * ADDR is HOST:PORT, :PORT, PORT, [IPV6]:PORT or unix:PATH. Only loopback addresses are accepted, because
 * there is no authentication yet. Pure functions, any thread. */
#ifndef PSBROKER_ADDRESS_H
#define PSBROKER_ADDRESS_H

#include "session.h"

#include <sys/socket.h>
#include <sys/un.h>

enum { ADDRESS_TEXT_BYTES = 160 };

enum address_kind { ADDRESS_TCP, ADDRESS_UNIX };

struct address {
    enum address_kind kind;
    struct sockaddr_storage socket;                         /* ADDRESS_TCP */
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* ADDRESS_UNIX */
    enum session_role role;
};

/* PS_OK, or PS_INVALID_ARGUMENT (not an address) or PS_NOT_ALLOWED (not loopback); then `error` says what is
 * wrong and what to do. */
enum ps_status address_parse(const char *text, struct address *address, char *error, size_t error_size);

/* "tcp 127.0.0.1:7420", "tcp [::1]:7420" or "unix PATH"; cut when it does not fit. Returns `place`. */
const char *address_format(const struct address *address, char *place, size_t size);

/* Of an AF_INET or AF_INET6 socket address. */
bool address_is_loopback(const struct sockaddr_storage *socket);

/* "127.0.0.1:7420" or "[::1]:7420" of an AF_INET or AF_INET6 socket address. Returns `place`. */
const char *address_format_socket(const struct sockaddr_storage *socket, char *place, size_t size);

#endif
