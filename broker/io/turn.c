#include "turn.h"

static void idle_cb(uv_idle_t *idle)
{
    (void)idle; /* its being active keeps the loop from waiting */
}

static void run(struct turn *turn)
{
    if (!turn->wanted)
        return;
    turn->wanted = false;
    if (turn->end(turn->ctx)) {
        turn->wanted = true;
        uv_idle_start(&turn->idle, idle_cb);
    } else {
        uv_idle_stop(&turn->idle);
    }
}

static void prepare_cb(uv_prepare_t *prepare)
{
    run(prepare->data);
}

static void check_cb(uv_check_t *check)
{
    run(check->data);
}

void turn_start(struct turn *turn, uv_loop_t *loop, bool (*end)(void *ctx), void *ctx)
{
    *turn = (struct turn){.open = 3, .end = end, .ctx = ctx};
    uv_prepare_init(loop, &turn->prepare);
    uv_check_init(loop, &turn->check);
    uv_idle_init(loop, &turn->idle);
    turn->prepare.data = turn->check.data = turn->idle.data = turn;
    uv_prepare_start(&turn->prepare, prepare_cb);
    uv_check_start(&turn->check, check_cb);
}

static void close_cb(uv_handle_t *handle)
{
    struct turn *turn = handle->data;

    if (--turn->open == 0)
        turn->stopped(turn->ctx);
}

void turn_stop(struct turn *turn, void (*stopped)(void *ctx))
{
    turn->stopped = stopped;
    uv_close((uv_handle_t *)&turn->prepare, close_cb);
    uv_close((uv_handle_t *)&turn->check, close_cb);
    uv_close((uv_handle_t *)&turn->idle, close_cb);
}
