/* Preloaded into a program, it takes the flags of renameat2() away, as a file system may that has none. */
#include <errno.h>
#include <stdio.h>

int renameat2(int from_directory, const char *from, int to_directory, const char *to, unsigned flags)
{
    if (flags == 0)
        return renameat(from_directory, from, to_directory, to);
    errno = EINVAL;
    return -1;
}
