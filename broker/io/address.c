#include "address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

static enum ps_status complain(enum ps_status status, char *error, size_t size, const char *text,
                               const char *why)
{
    snprintf(error, size, "cannot listen on '%s': %s", text, why);
    return status;
}

static const char *const forms = "use HOST:PORT, PORT, [::1]:PORT or unix:PATH, "
                                 "then optionally ,role=publish or ,role=subscribe";

static bool parse_port(const char *text, in_port_t *port)
{
    unsigned long value = 0;

    if (*text == '\0')
        return false;
    for (const char *c = text; *c != '\0'; c++) {
        if (!isdigit((unsigned char)*c))
            return false;
        value = value * 10 + (unsigned long)(*c - '0');
        if (value > 65535)
            return false;
    }
    *port = htons((uint16_t)value);
    return true;
}

/* An empty host and "localhost" are 127.0.0.1. */
static bool parse_host(const char *host, in_port_t port, struct sockaddr_storage *socket)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = port};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = port};

    if (*host == '\0' || strcasecmp(host, "localhost") == 0)
        host = "127.0.0.1";
    *socket = (struct sockaddr_storage){0};
    if (inet_pton(AF_INET, host, &v4.sin_addr) == 1)
        memcpy(socket, &v4, sizeof v4);
    else if (inet_pton(AF_INET6, host, &v6.sin6_addr) == 1)
        memcpy(socket, &v6, sizeof v6);
    else
        return false;
    return true;
}

bool address_is_loopback(const struct sockaddr_storage *socket)
{
    if (socket->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)socket;
        return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    }
    return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)socket)->sin6_addr);
}

/* Cuts ",role=…" off `text`. False: a role that does not exist. */
static bool take_role(char *text, enum session_role *role)
{
    char *comma = strrchr(text, ',');

    *role = SESSION_ANY;
    if (comma == NULL)
        return true;
    if (strcmp(comma, ",role=publish") == 0)
        *role = SESSION_PUBLISH;
    else if (strcmp(comma, ",role=subscribe") == 0)
        *role = SESSION_SUBSCRIBE;
    else
        return false;
    *comma = '\0';
    return true;
}

/* Splits "host:port", "[host]:port", ":port" or "port" in place. */
static bool split(char *text, const char **host, const char **port)
{
    char *colon = strrchr(text, ':');

    *host = "";
    *port = text;
    if (colon == NULL)
        return true;
    *colon = '\0';
    *port = colon + 1;
    *host = text;
    if (*text == '[') {
        if (colon == text || colon[-1] != ']')
            return false;
        colon[-1] = '\0';
        *host = text + 1;
        return **host != '\0';
    }
    return strchr(text, ':') == NULL; /* a bare IPv6 address needs its brackets */
}

static enum ps_status parse_tcp(char *copy, const char *text, struct address *address, char *error,
                                size_t size)
{
    const char *host, *port_text;
    in_port_t port;

    if (!split(copy, &host, &port_text) || !parse_port(port_text, &port))
        return complain(PS_INVALID_ARGUMENT, error, size, text, forms);
    if (!parse_host(host, port, &address->socket))
        return complain(PS_INVALID_ARGUMENT, error, size, text,
                        "the host is not an IP address; use 127.0.0.1");
    if (!address_is_loopback(&address->socket))
        return complain(
            PS_NOT_ALLOWED, error, size, text,
            "only loopback addresses are accepted, because there is no authentication yet; listen "
            "on 127.0.0.1 and reach it from elsewhere through a tunnel such as ssh -L");
    address->kind = ADDRESS_TCP;
    return PS_OK;
}

static enum ps_status parse_unix(const char *path, const char *text, struct address *address, char *error,
                                 size_t size)
{
    if (*path == '\0')
        return complain(PS_INVALID_ARGUMENT, error, size, text, "the path is empty");
    if (strlen(path) >= sizeof address->path)
        return complain(PS_INVALID_ARGUMENT, error, size, text,
                        "a path of a Unix socket has at most 107 bytes; use a shorter one");
    strcpy(address->path, path);
    address->kind = ADDRESS_UNIX;
    return PS_OK;
}

enum ps_status address_parse(const char *text, struct address *address, char *error, size_t error_size)
{
    struct address parsed = {0};
    enum ps_status status;
    char *copy = strdup(text);

    if (copy == NULL)
        return complain(PS_NO_MEMORY, error, error_size, text, "out of memory");
    if (!take_role(copy, &parsed.role))
        status = complain(PS_INVALID_ARGUMENT, error, error_size, text,
                          "behind the comma goes role=publish or role=subscribe");
    else if (strncmp(copy, "unix:", 5) == 0)
        status = parse_unix(copy + 5, text, &parsed, error, error_size);
    else
        status = parse_tcp(copy, text, &parsed, error, error_size);
    free(copy);
    if (status == PS_OK)
        *address = parsed;
    return status;
}

const char *address_format_socket(const struct sockaddr_storage *socket, char *place, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "?";

    if (socket->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)socket;
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        snprintf(place, size, "%s:%u", host, (unsigned)ntohs(v4->sin_port));
    } else {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)socket;
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        snprintf(place, size, "[%s]:%u", host, (unsigned)ntohs(v6->sin6_port));
    }
    return place;
}

const char *address_format(const struct address *address, char *place, size_t size)
{
    char socket[ADDRESS_TEXT_BYTES];

    if (address->kind == ADDRESS_UNIX)
        snprintf(place, size, "unix %s", address->path);
    else
        snprintf(place, size, "tcp %s", address_format_socket(&address->socket, socket, sizeof socket));
    return place;
}
