#include "data_directory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static enum ps_status complain(const char *what, const char *path, int code, char *error, size_t size)
{
    snprintf(error, size, "cannot %s %s: %s", what, path, strerror(code));
    return code == EACCES || code == EPERM || code == EROFS ? PS_ACCESS_DENIED : PS_IO_ERROR;
}

static enum ps_status name_holder(const char *path, int file, char *error, size_t size)
{
    char pid[24];
    ssize_t got = pread(file, pid, sizeof pid - 1, 0);

    pid[got > 0 ? got : 0] = '\0';
    pid[strcspn(pid, "\n")] = '\0';
    snprintf(error, size,
             "%s is in use by process %s; stop that one, or choose another directory with --data", path,
             pid[0] != '\0' ? pid : "(unknown)");
    return PS_IN_USE;
}

static enum ps_status write_pid(const char *path, int file, char *error, size_t size)
{
    char pid[24];
    int length = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());

    errno = 0;
    if (pwrite(file, pid, (size_t)length, 0) == length && ftruncate(file, length) == 0)
        return PS_OK;
    /* It only helps to name the holder: a full disk shall not keep the log from being read. */
    if (errno == 0 || errno == ENOSPC || errno == EDQUOT)
        return PS_OK;
    return complain("write into", path, errno, error, size);
}

enum ps_status data_directory_lock(const char *path, int *lock, char *error, size_t error_size)
{
    enum ps_status status;
    int directory, file;
    struct stat found;

    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return complain("make the directory", path, errno, error, error_size);
    directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        return complain("open the directory", path, errno, error, error_size);
    file = openat(directory, "LOCK", O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    int code = errno;
    close(directory);
    if (file < 0 && code != ELOOP)
        return complain("write into", path, code, error, error_size);
    if (file < 0 || fstat(file, &found) != 0 || !S_ISREG(found.st_mode) || found.st_nlink > 1) {
        if (file >= 0)
            close(file);
        snprintf(error, error_size, "%s/LOCK is not a plain file with one name; remove it", path);
        return PS_ACCESS_DENIED;
    }
    if (flock(file, LOCK_EX | LOCK_NB) != 0)
        status = errno == EWOULDBLOCK ? name_holder(path, file, error, error_size)
                                      : complain("lock", path, errno, error, error_size);
    else
        status = write_pid(path, file, error, error_size);
    if (status != PS_OK) {
        close(file);
        return status;
    }
    *lock = file;
    return PS_OK;
}

void data_directory_unlock(int lock)
{
    if (lock >= 0)
        close(lock);
}
