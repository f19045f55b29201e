"""Walls around a process that is about to touch foreign bytes. Linux, x86-64 and aarch64.

What holds afterwards, whatever code the process is made to run:

- no new privileges, and death with its parent (prctl);
- ceilings on address space, files and processes; no core dump (setrlimit). CPU time and file size are set from
  outside, job by job (`limit_cpu`, `limit_file_size`);
- no file by path, neither read nor written: only the descriptors that it was given (seccomp, and Landlock where the
  kernel has it);
- no socket but those it has, no program started, no process or thread made, no other process touched (seccomp).

A call that only an attack makes kills the process; one that a library may try by habit fails with EPERM.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import time
from pathlib import Path
from typing import Final

from appliance.errors import SandboxError

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF = 444, 446  # the same on both machines
_LANDLOCK_VERSION_FLAG = 1
_OPEN_FILES: Final = 64

_KILL: Final = 0x80000000  # SCMP_ACT_KILL_PROCESS
_ALLOW: Final = 0x7FFF0000
_EQUAL: Final = 4  # SCMP_CMP_EQ
_DENY: Final = 0x00050000 | 1  # SCMP_ACT_ERRNO(EPERM)

# Memory, time, waiting, and reading and writing what is already open.
_ALLOWED: Final = """
    read readv pread64 preadv preadv2 write writev pwrite64 pwritev pwritev2 lseek ftruncate fsync fdatasync close
    fstat newfstatat statx fcntl dup dup3 poll ppoll select pselect6 recvmsg sendmsg recvfrom sendto sendfile
    copy_file_range mmap munmap mremap mprotect madvise brk futex rt_sigaction rt_sigprocmask rt_sigreturn
    sigaltstack clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time getrandom getpid gettid getppid
    getuid geteuid getgid getegid sched_yield sched_getaffinity getcpu getrusage getrlimit membarrier rseq
    set_robust_list restart_syscall exit exit_group uname
""".split()
_FATAL: Final = """
    socket socketpair connect bind listen accept accept4 execve execveat fork vfork clone ptrace process_vm_readv
    process_vm_writev pidfd_open pidfd_getfd kill tkill mount umount2 pivot_root chroot unshare setns bpf
    perf_event_open userfaultfd io_uring_setup keyctl init_module finit_module kexec_load reboot
""".split()
# What glibc's abort() does to its own process; to any other it is denied.
_OWN_PROCESS_ONLY: Final = "tgkill"

# Every right of Landlock's version 1 to 5 on files: none is granted for any path.
_FILE_RIGHTS: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}


def enter(memory_bytes: int, parent: int) -> int:
    """Puts the walls up around this child of `parent`; there is no way back.

    Returns the version of Landlock, 0 without. Every module that will be needed must be imported before. Raises
    SandboxError.
    """
    die_with_parent(parent)
    _prctl(_PR_SET_DUMPABLE, 0)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _limit(resource.RLIMIT_AS, memory_bytes)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NPROC, 0)
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    if len(list(Path("/proc/self/task").iterdir())) != 1:
        raise SandboxError("A library has started a thread, which the walls would leave outside")
    library = _library()  # a file, so before there are none
    landlock = _landlock()
    _seccomp(library)
    return landlock


def die_with_parent(parent: int) -> None:
    """The kernel kills this process when the thread of `parent` that made it ends; at once when it has already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def limit_cpu(pid: int, seconds: float) -> None:
    """From outside: the process `pid` is killed when it has used `seconds` more of CPU time than now."""
    used = time.clock_gettime(~pid << 3 | 2)  # the CPU clock of another process (clock_getcpuclockid)
    soft = int(used + seconds) + 1
    resource.prlimit(pid, resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def limit_file_size(pid: int, count: int) -> None:
    """From outside: the process `pid` can't make a file longer than `count` bytes."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (count, resource.RLIM_INFINITY))


def _limit(kind: int, value: int) -> None:
    resource.setrlimit(kind, (value, value))


def _prctl(option: int, value: int) -> None:
    if _LIBC.prctl(option, value, 0, 0, 0) != 0:
        raise SandboxError(f"prctl({option}) failed: {os.strerror(ctypes.get_errno())}")


def _landlock() -> int:
    """Takes away every right on every path, where the kernel can (5.13 and later)."""
    version = _LIBC.syscall(_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_VERSION_FLAG)
    if version < 1:
        return 0
    rights = ctypes.c_uint64(_FILE_RIGHTS[min(version, max(_FILE_RIGHTS))])
    ruleset = _LIBC.syscall(_LANDLOCK_CREATE_RULESET, ctypes.byref(rights), 8, 0)
    if ruleset < 0 or _LIBC.syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0) != 0:
        raise SandboxError(f"Landlock refused: {os.strerror(ctypes.get_errno())}")
    os.close(ruleset)
    return int(version)


class _Comparison(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


def _seccomp(library: ctypes.CDLL) -> None:
    context = library.seccomp_init(_DENY)
    if not context:
        raise SandboxError("libseccomp could not start")
    for action, names in ((_ALLOW, _ALLOWED), (_KILL, _FATAL)):
        for name in names:
            _rule(library, context, action, name)
    own = _Comparison(0, _EQUAL, os.getpid(), 0)
    _rule(library, context, _ALLOW, _OWN_PROCESS_ONLY, own)
    failed = library.seccomp_load(context)
    if failed:
        raise SandboxError(f"The kernel refused the filter: {os.strerror(-failed)}")
    library.seccomp_release(context)


def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    except OSError as error:
        raise SandboxError("libseccomp.so.2 is not installed") from error
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Comparison)
    ]  # fmt: skip
    library.seccomp_load.argtypes = [ctypes.c_void_p]
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    return library


def _rule(library: ctypes.CDLL, context: int, action: int, name: str, *comparisons: _Comparison) -> None:
    """A rule for one call; a name that this machine or library does not have needs none."""
    number = library.seccomp_syscall_resolve_name(name.encode("ascii"))
    if number < 0:
        return
    array = (_Comparison * max(1, len(comparisons)))(*comparisons)
    failed = library.seccomp_rule_add_array(context, action, number, len(comparisons), array)
    if failed:
        raise SandboxError(f"The filter takes no rule for {name}: {os.strerror(-failed)}")
