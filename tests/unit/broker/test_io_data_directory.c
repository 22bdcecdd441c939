#include "data_directory.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[] = "/tmp/psbroker-test-XXXXXX";

static const char *inside(const char *name)
{
    static char path[128];

    snprintf(path, sizeof path, "%s/%s", root, name);
    return path;
}

static void make_root(void)
{
    cr_assert_not_null(mkdtemp(root));
}

static void remove_root(void)
{
    unlink(inside("data/LOCK"));
    rmdir(inside("data"));
    unlink(inside("file"));
    rmdir(root);
}

TestSuite(io_data_directory, .init = make_root, .fini = remove_root);

Test(io_data_directory, it_is_made_for_its_owner_alone)
{
    char error[512];
    struct stat info;
    int lock;

    cr_assert_eq(data_directory_lock(inside("data"), &lock, error, sizeof error), PS_OK, "%s", error);
    cr_assert_eq(stat(inside("data"), &info), 0);
    cr_assert_eq(info.st_mode & 0777, 0700u);
    data_directory_unlock(lock);
}

Test(io_data_directory, a_second_holder_is_refused_by_the_pid_of_the_first)
{
    char error[512], pid[32];
    int lock, second;

    cr_assert_eq(data_directory_lock(inside("data"), &lock, error, sizeof error), PS_OK, "%s", error);
    cr_assert_eq(data_directory_lock(inside("data"), &second, error, sizeof error), PS_IN_USE);
    snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    cr_assert_not_null(strstr(error, pid), "%s", error);
    data_directory_unlock(lock);
    cr_assert_eq(data_directory_lock(inside("data"), &lock, error, sizeof error), PS_OK, "%s", error);
    data_directory_unlock(lock);
}

Test(io_data_directory, a_lock_that_is_no_plain_file_is_refused_and_what_it_names_left_alone)
{
    char error[512], target[128];
    struct stat info;
    int lock;

    cr_assert_eq(mkdir(inside("data"), 0700), 0);
    cr_assert_eq(mkfifo(inside("data/LOCK"), 0600), 0);
    alarm(20); /* the open of a FIFO may wait for its other end */
    cr_assert_eq(data_directory_lock(inside("data"), &lock, error, sizeof error), PS_ACCESS_DENIED);
    alarm(0);
    cr_assert_not_null(strstr(error, "LOCK is not a plain file"), "%s", error);
    cr_assert_eq(unlink(inside("data/LOCK")), 0);

    strcpy(target, inside("file"));
    fclose(fopen(target, "w"));
    for (int hard = 0; hard < 2; hard++) {
        cr_assert_eq(hard ? link(target, inside("data/LOCK")) : symlink(target, inside("data/LOCK")), 0);
        cr_assert_eq(data_directory_lock(inside("data"), &lock, error, sizeof error), PS_ACCESS_DENIED);
        cr_assert_not_null(strstr(error, "LOCK is not a plain file"), "%s", error);
        cr_assert_eq(unlink(inside("data/LOCK")), 0);
    }
    cr_assert_eq(stat(target, &info), 0);
    cr_assert_eq(info.st_size, 0);
}

Test(io_data_directory, a_file_in_its_place_and_a_missing_parent_are_named)
{
    char error[512];
    int lock;
    FILE *file = fopen(inside("file"), "w");

    fclose(file);
    cr_assert_eq(data_directory_lock(inside("file"), &lock, error, sizeof error), PS_IO_ERROR);
    cr_assert_not_null(strstr(error, "/file"), "%s", error);
    cr_assert_eq(data_directory_lock(inside("no/data"), &lock, error, sizeof error), PS_IO_ERROR);
    cr_assert_not_null(strstr(error, "no/data"), "%s", error);
}
