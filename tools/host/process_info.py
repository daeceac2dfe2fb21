"""What the kernel says of a process."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Process:
    """A running process of this machine."""

    pid: int

    def _status(self, key: str) -> int:
        text = Path(f"/proc/{self.pid}/status").read_text()
        return int(text.split(f"\n{key}:")[1].split()[0])

    def memory_mib(self) -> float:
        """Resident set."""
        return self._status("VmRSS") / 1024

    def threads(self) -> int:
        """Number of threads."""
        return self._status("Threads")

    def descriptors(self) -> int:
        """Number of open files and sockets."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def cpu_s(self) -> float:
        """Processor time used until now."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND

    def most_descriptors(self, seconds: float = 1.0) -> int:
        """Most descriptors over a while: a page that is being served holds one for a moment."""
        deadline, most = time.monotonic() + seconds, 0
        while time.monotonic() < deadline:
            most = max(most, self.descriptors())
            time.sleep(0.02)
        return most
