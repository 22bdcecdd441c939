"""A disk of a few megabytes: a tmpfs in a mount namespace of its own, which ends with the one that holds it."""
import errno
import os
import subprocess
import unittest

# As root; as root where / is no mount point (chroot); as anybody.
WAYS = (["-m"], ["-m", "--propagation", "unchanged"], ["-m", "-r"])
HOLD = 'mount -t tmpfs -o "size=$2,mode=700" none "$1" && echo ready && cat && umount -l "$1"'


class SmallDisk:
    """Mounted on `path` for those who `enter`; others find it as `seen`. Raises unittest.SkipTest where nobody may mount."""

    def __init__(self, path, size):
        os.mkdir(path)
        self.path = path
        reasons = []
        for way in WAYS:
            self.holder = subprocess.Popen(["unshare", *way, "sh", "-c", HOLD, "sh", path, str(size)],
                                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            if self.holder.stdout.readline() == b"ready\n":
                break
            reasons.append(self.holder.communicate()[1].decode(errors="replace").strip())
        else:
            raise unittest.SkipTest("no small disk can be mounted here: " + "; ".join(reasons))
        pid = str(self.holder.pid)
        user = ["-U", "--preserve-credentials"] if "-r" in way else []
        self.enter = ["nsenter", "-t", pid, *user, "-m", "-r", "--"]
        self.seen = f"/proc/{pid}/root{path}"

    def end(self):
        self.holder.communicate()

    def free(self):
        found = os.statvfs(self.seen)
        return found.f_bavail * found.f_frsize

    def fill(self, leave=0, name="filler"):
        """Takes what is free but `leave` bytes. With nothing to leave, there is really nothing afterwards."""
        with open(os.path.join(self.seen, name), "ab") as file:
            while self.free() > leave:
                try:
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, self.free() - leave)
                except OSError as error:  # others write meanwhile
                    if error.errno not in (errno.ENOSPC, errno.EINVAL):
                        raise

    def clear(self, name="filler"):
        os.unlink(os.path.join(self.seen, name))
