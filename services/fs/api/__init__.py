"""What other services may ask of the file system.

A file is a node: an integer that names a dentry (a place in the tree) with its inode, and counts
references. fs keeps no descriptors: offsets, O_APPEND and O_NONBLOCK belong to proc's open file
descriptions, so `Read` and `Write` carry the offset, as NFS does. Every node in a reply comes
with one reference that the receiver must `Release`.

Paths are bytes, taken from `At`: absolute ones start at `root`, others at `base`. A path that
leads into a file system served elsewhere (/proc, by proc) is answered with `Foreign`: the mount's
name and what is left of the path, and the caller goes on from there.

Data moves between page cache and user memory without passing through a message: `extents` are
(paddr, length_bytes) runs of RAM. Frames of the page cache are allocated from vm and shared with
mappings (`Pages`).

Device nodes and FIFOs are only kept here: `Opened.mode` and `.rdev` tell proc what they are.

Other services import this module; the requests lie in rooms by subject: `nodes` (finding and
holding), `names` (changing the tree), `content`, `attributes`, `locks`, `mounts`, `watches`.
"""

from __future__ import annotations

from services.fs.api.attributes import GetXattr as GetXattr
from services.fs.api.attributes import ListXattr as ListXattr
from services.fs.api.attributes import SetAttr as SetAttr
from services.fs.api.attributes import SetXattr as SetXattr
from services.fs.api.common import APPEND as APPEND
from services.fs.api.common import At as At
from services.fs.api.common import Attr as Attr
from services.fs.api.common import Cred as Cred
from services.fs.api.common import Foreign as Foreign
from services.fs.api.common import Opened as Opened
from services.fs.api.content import NOT_CACHED as NOT_CACHED
from services.fs.api.content import Allocate as Allocate
from services.fs.api.content import Fetch as Fetch
from services.fs.api.content import MemFile as MemFile
from services.fs.api.content import Pages as Pages
from services.fs.api.content import Read as Read
from services.fs.api.content import ReadBytes as ReadBytes
from services.fs.api.content import Seals as Seals
from services.fs.api.content import SeekData as SeekData
from services.fs.api.content import Sync as Sync
from services.fs.api.content import Truncate as Truncate
from services.fs.api.content import Write as Write
from services.fs.api.content import WriteBytes as WriteBytes
from services.fs.api.content import Written as Written
from services.fs.api.locks import DropLocks as DropLocks
from services.fs.api.locks import LockFile as LockFile
from services.fs.api.locks import LockRange as LockRange
from services.fs.api.locks import RangeLock as RangeLock
from services.fs.api.locks import TestLock as TestLock
from services.fs.api.mounts import CacheCounts as CacheCounts
from services.fs.api.mounts import Caches as Caches
from services.fs.api.mounts import EvictNames as EvictNames
from services.fs.api.mounts import EvictPages as EvictPages
from services.fs.api.mounts import Mount as Mount
from services.fs.api.mounts import MountInfo as MountInfo
from services.fs.api.mounts import Mounts as Mounts
from services.fs.api.mounts import StatFs as StatFs
from services.fs.api.mounts import StatFsReply as StatFsReply
from services.fs.api.mounts import Unmount as Unmount
from services.fs.api.names import Link as Link
from services.fs.api.names import MakeDir as MakeDir
from services.fs.api.names import MakeNode as MakeNode
from services.fs.api.names import Rename as Rename
from services.fs.api.names import Symlink as Symlink
from services.fs.api.names import Unlink as Unlink
from services.fs.api.nodes import Access as Access
from services.fs.api.nodes import Close as Close
from services.fs.api.nodes import DenyWrite as DenyWrite
from services.fs.api.nodes import DirEntry as DirEntry
from services.fs.api.nodes import Open as Open
from services.fs.api.nodes import OpenNode as OpenNode
from services.fs.api.nodes import PathOf as PathOf
from services.fs.api.nodes import ReadDir as ReadDir
from services.fs.api.nodes import ReadLink as ReadLink
from services.fs.api.nodes import Release as Release
from services.fs.api.nodes import Resolve as Resolve
from services.fs.api.nodes import Retain as Retain
from services.fs.api.nodes import RootNode as RootNode
from services.fs.api.nodes import Stat as Stat
from services.fs.api.nodes import StatNode as StatNode
from services.fs.api.watches import DropQueue as DropQueue
from services.fs.api.watches import TakeEvents as TakeEvents
from services.fs.api.watches import Unwatch as Unwatch
from services.fs.api.watches import Watch as Watch
from services.fs.api.watches import Watched as Watched
from services.fs.api.watches import WatchQueue as WatchQueue
