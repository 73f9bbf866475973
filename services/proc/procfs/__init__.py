"""/proc: the kernel's state as files, made when they are read (proc(5)).

- `tree.py` declares the tree; `entry.py` says what it is made of.
- `system.py`, `sysctl.py`, `cpuinfo.py`, `process.py`, `maps.py`, `mounts.py`, `links.py` make
  the contents; `state.py` says what threads are doing.
- `walk.py`, `access.py`: paths and permissions. `files.py`, `reopen.py`: what is open.
- `service.py`: what the path calls use.
"""

from services.proc.procfs.files import ProcDir, ProcFile
from services.proc.procfs.service import ProcFs
from services.proc.procfs.walk import Redirect

__all__ = ["ProcDir", "ProcFile", "ProcFs", "Redirect"]
