"""The clock of the wall as one program sees it: shifted, or standing still (clock_shim.c)."""
import os
import struct
import time

SHIM = os.environ.get("CLOCK_SHIM_LIBRARY", "build/tests/lib/libclock_shim.so")
DAY = 24 * 3600


class Clock:
    def __init__(self, path, library=SHIM):
        self.library = library
        self.path = path
        self.set()

    def set(self, shift=0, frozen=None):
        """Seconds. The file keeps its place: it is mapped."""
        mode = "r+b" if os.path.exists(self.path) else "wb"
        with open(self.path, mode) as file:
            file.write(struct.pack("=qq", int(shift * 1e6), int(frozen * 1e6) if frozen is not None else 0))

    def freeze(self):
        self.set(frozen=time.time())

    def environment(self):
        """Of a program that sees this clock. Under AddressSanitizer the library comes before its own, too."""
        options = os.environ.get("ASAN_OPTIONS", "")
        return {**os.environ, "LD_PRELOAD": self.library, "CLOCK_SHIM": self.path,
                "ASAN_OPTIONS": f"{options}:verify_asan_link_order=0".lstrip(":")}
