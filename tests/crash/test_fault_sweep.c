/* Every call of the store to its disk fails in turn. */
#include "fault_vfs.h"
#include "store_sweep.h"

#include <criterion/criterion.h>

static enum fault_flavour flavour;

static void arm(uint64_t n, bool once)
{
    fault_vfs_sweep(flavour, n, once);
}

static bool disarm(void)
{
    bool came = fault_vfs_has_swept();
    fault_vfs_sweep(flavour, 0, false);
    return came;
}

static void sweep(enum fault_flavour wanted, const char *name, bool once)
{
    struct sweep sweep = {
        .name = name, .body = &sqlite_small_body, .stride = 23, .arm = arm, .disarm = disarm};
    flavour = wanted;
    fault_vfs_install();
    sweep_run(&sweep, once);
}

Test(fault_sweep, an_error_once)
{
    sweep(FAULT_IO_ERROR, "operation", true);
}

Test(fault_sweep, errors_from_one_on)
{
    sweep(FAULT_IO_ERROR, "operation", false);
}

Test(fault_sweep, a_full_disk_once)
{
    sweep(FAULT_FULL, "full at write", true);
}

Test(fault_sweep, a_full_disk_from_one_write_on)
{
    sweep(FAULT_FULL, "full at write", false);
}

Test(fault_sweep, a_short_write_once)
{
    sweep(FAULT_SHORT_WRITE, "short write", true);
}
