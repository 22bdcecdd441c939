/* Publishes one message and prints its offset: example [PORT]. */
#include <psclient.h>
#include <stdio.h>
#include <stdlib.h>

static void published(const struct psc_error *error, uint64_t offset, void *client)
{
    error == NULL ? printf("%llu\n", (unsigned long long)offset) : fprintf(stderr, "%s\n", error->text);
    psc_close(client, NULL, NULL);
}

int main(int argc, char **argv)
{
    struct psc_options options = {.port = argc > 1 ? atoi(argv[1]) : 0};
    struct psc_message message = {.payload = {"hello", 5}};
    struct psc_client *client;

    if (psc_new(uv_default_loop(), &options, &client) != PS_OK)
        return 1;
    psc_start(client);
    psc_publish(client, (struct psc_bytes){"A", 1}, &message, published, client);
    return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
