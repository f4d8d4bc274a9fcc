"""Programs that run in the cage and try to do what they must not. Each prints what came of it."""

from __future__ import annotations

# Ends and stops all that it can, all the time: also who comes for it.
HUNT = r"""
import os, signal, sys
print("hunting", flush=True)
os.fork(), os.fork()
while True:
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in [int(name) for name in os.listdir("/proc") if name.isdigit()]:
            if pid not in (os.getpid(), os.getppid()):
                try:
                    os.kill(pid, number)
                except OSError:
                    pass
"""

# What anybody may write to. Prints where it could.
LITTER = r"""
import os, sys
for place in ("/tmp", "/var/tmp", "/dev/shm"):
    try:
        os.makedirs(f"{place}/{sys.argv[1]}/deep")
        open(f"{place}/{sys.argv[1]}/deep/file", "w").close()
        print(place)
    except OSError:
        pass
"""

FILL_SHARED = r"""
import os, sys
os.mkdir(f"/dev/shm/{sys.argv[1]}")
block = b"x" * 1048576
for number in range(100000):
    with open(f"/dev/shm/{sys.argv[1]}/{number}", "wb") as file:
        for _ in range(8):
            file.write(block)
"""

# Prints a JSON object: attempt -> "done", or the name of the error. Arguments: our file, our process, our socket's
# path, the name of our abstract socket, our port.
REACH = r"""
import ctypes, errno, json, os, socket, stat, sys
secret, victim, path, abstract, port = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5])
descriptors = {name: os.readlink(f"/proc/self/fd/{name}") for name in "012"}
open_now = sorted(os.listdir("/proc/self/fd"))
libc = ctypes.CDLL(None, use_errno=True)
results = {}

def attempt(name, what):
    try:
        what()
        results[name] = "done"
    except OSError as error:
        results[name] = errno.errorcode.get(error.errno, str(error))

def call(*numbers):
    if libc.syscall(*[ctypes.c_long(number) for number in numbers]) < 0:
        raise OSError(ctypes.get_errno(), "")

def read(name):
    with open(name, "rb") as file:
        return file.read(100)

def connect(family, address, kind=socket.SOCK_STREAM):
    with socket.socket(family, kind) as it:
        it.settimeout(3)
        it.connect(address)

def udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as it:
        it.sendto(b"x", ("127.0.0.1", port))
        it.sendto(b"x", ("169.254.169.254", 53))

def make_set_user_id():
    with open("own", "w"): pass
    os.chmod("own", 0o4755)

def create_set_group_id():
    os.close(os.open("created", os.O_CREAT | os.O_WRONLY, 0o2755))

def environments():
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if b"canary" in read(f"/proc/{entry}/environ"):
                    return
            except OSError:
                pass
    raise OSError(errno.ENOENT, "")

def status(field):
    with open("/proc/self/status") as file:
        return next(line.split()[1] for line in file if line.startswith(field + ":"))

machine = os.uname().machine
unshare, mount, ptrace = (272, 165, 101) if machine == "x86_64" else (97, 40, 117)
attempt("file", lambda: read(secret))
attempt("link to file", lambda: (os.symlink(secret, "link"), read("link")))
attempt("environ", lambda: read(f"/proc/{victim}/environ"))
attempt("any environ", environments)
attempt("memory", lambda: os.close(os.open(f"/proc/{victim}/mem", os.O_RDONLY)))
attempt("descriptors", lambda: os.readlink(f"/proc/{victim}/fd/0"))
attempt("root of other", lambda: read(f"/proc/{victim}/root{secret}"))
attempt("signal", lambda: os.kill(victim, 0))
attempt("trace", lambda: call(ptrace, 16, victim, 0, 0))
attempt("unix socket", lambda: connect(socket.AF_UNIX, path))
attempt("abstract socket", lambda: connect(socket.AF_UNIX, "\0" + abstract))
attempt("loopback", lambda: connect(socket.AF_INET, ("127.0.0.1", port)))
attempt("loopback 6", lambda: connect(socket.AF_INET6, ("::ffff:127.0.0.1", port)))
attempt("metadata", lambda: connect(socket.AF_INET, ("169.254.169.254", 80)))
attempt("udp", udp)
attempt("packet", lambda: connect(socket.AF_PACKET, ("lo", 0), socket.SOCK_RAW))
attempt("host of the machine", lambda: connect(40, (2, 1024)))
attempt("kernel's ciphers", lambda: socket.socket(38, socket.SOCK_SEQPACKET))
attempt("io_uring", lambda: call(425, 8, 0))
attempt("namespace", lambda: call(unshare, 0x10000000))
attempt("mount", lambda: call(mount, 0, 0, 0, 0, 0))
attempt("become root", lambda: os.setuid(0))
attempt("set user id", make_set_user_id)
attempt("set group id", create_set_group_id)
attempt("device", lambda: os.mknod("device", 0o600 | stat.S_IFBLK, os.makedev(7, 0)))
attempt("write /usr", lambda: open("/usr/written", "w"))
attempt("write /etc", lambda: open("/etc/passwd", "a"))
attempt("write /", lambda: os.mkdir("/written"))
attempt("chroot", lambda: os.chroot("/usr"))
pair = socket.socketpair()
print(json.dumps({
    "results": results,
    "environment": dict(os.environ),
    "descriptors": descriptors,
    "open": open_now,
    "no new privileges": status("NoNewPrivs"),
    "capabilities": status("CapEff"),
}))
"""

# Forks as often as it can, and so does everything that it forks.
FORK_BOMB = r"""
import os, sys, time
while True:
    try:
        os.fork()
    except OSError:
        time.sleep(0.05)
"""

# One file after the other, each below the limit for one.
FILL_DISK = r"""
block = b"x" * 1048576
for number in range(10000):
    with open(f"filler-{number}", "wb") as file:
        for _ in range(8):
            file.write(block)
"""

# The same in a file that no folder shows any more.
FILL_DELETED = r"""
import os, time
block = b"x" * 1048576
held = []
for number in range(10000):
    file = open("filler", "wb")
    os.unlink("filler")
    held.append(file)
    for _ in range(8):
        file.write(block)
        file.flush()
"""

# The same by a process that closes itself to others of its user.
FILL_DELETED_UNSEEN = "import ctypes\nctypes.CDLL(None).prctl(4, 0)\n" + FILL_DELETED

# The same in folders that even their owner may not list.
FILL_CLOSED = r"""
import os
block = b"x" * 1048576
for number in range(10000):
    os.mkdir(f"closed-{number}")
    with open(f"closed-{number}/filler", "wb") as file:
        os.chmod(f"closed-{number}", 0o300)
        for _ in range(8):
            file.write(block)
"""

ALLOCATE = r"""
held = []
while True:
    held.append(b"x" * 4194304)
"""

# Each process stays below its own limit, together they do not.
ALLOCATE_TOGETHER = r"""
import os, time
for _ in range(6):
    if os.fork() == 0:
        held = b"x" * (80 * 1048576)
        time.sleep(60)
time.sleep(60)
"""

# Memory that is in no process's own: files in memory.
ALLOCATE_FILES = r"""
import os, time
held = []
block = b"x" * 1048576
while True:
    handle = os.memfd_create("m")
    held.append(handle)
    for _ in range(8):
        os.write(handle, block)
"""

PRINT = r"""
import os
block = bytes(range(256)).replace(b"\n", b"") * 257
left = 64 * 1048576
os.write(1, b"first")
while left > 0:
    left -= os.write(1 + left % 2, block)
os.write(2, b"last")
"""

# For a shell, which starts faster.
STUBBORN = "trap '' TERM INT HUP; echo ignoring; while :; do sleep 1; done"

STOPPED = "import os, signal; print('stopping', flush=True); os.kill(os.getpid(), signal.SIGSTOP)"

# Leaves children in every way there is, and is done. The argument is what they are known by.
OUTLIVE = r"""
import os, signal, subprocess, sys, time
token = sys.argv[1]

def remain(*, session, group, ignore, stop):
    if os.fork():
        return
    if session:
        os.setsid()
    elif group:
        os.setpgid(0, 0)
    if os.fork():
        os._exit(0)
    if ignore:
        for number in range(1, 32):
            try:
                signal.signal(number, signal.SIG_IGN)
            except OSError:
                pass
    for descriptor in range(3):
        os.close(descriptor)
    os.open("/dev/null", os.O_RDWR), os.dup(0), os.dup(0)
    if stop:
        os.kill(os.getpid(), signal.SIGSTOP)
    os.execvp("sleep", ["sleep", "600.0" + token])

remain(session=True, group=False, ignore=True, stop=False)
remain(session=False, group=True, ignore=True, stop=False)
remain(session=True, group=False, ignore=False, stop=True)
subprocess.Popen(["sh", "-c", f"nohup sleep 600.0{token} >/dev/null 2>&1 &"])
subprocess.Popen(["sleep", "600.0" + token], start_new_session=True, close_fds=True)
time.sleep(0.2)
print("gone", flush=True)
"""

MANY_FILES = r"""
for number in range(1000000):
    open(f"file-{number}", "w").close()
"""

DEEP = r"""
import os, time
for number in range(1500):
    os.mkdir("d")
    os.chdir("d")
print("deep", flush=True)
time.sleep(60)
"""

# What makes a tree hard to take away.
HOSTILE_TREE = r"""
import os
os.mkdir(b"not-\xff-utf8")
open(b"not-\xff-utf8/\xfe\n", "w").close()
os.symlink("/", "out")
os.symlink("../../..", "up")
os.symlink("loop", "loop")
os.mkdir("closed"); os.mkdir("closed/inner"); open("closed/inner/file", "w").close()
os.chmod("closed/inner", 0); os.chmod("closed", 0)
os.mkfifo("fifo")
for number in range(300):
    os.mkdir("d"); os.chdir("d")
"""

BURN = "while True: pass"
BURN_TOGETHER = "import os\nos.fork(); os.fork()\nwhile True: pass"
ONE_BIG_FILE = r"""
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
with open("big", "wb") as file:
    while True:
        file.write(b"x" * 1048576)
"""

# Each child is short, nobody waits for it, and its times are added to no one's.
BURN_UNSEEN = r"""
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    if os.fork() == 0:
        until = time.monotonic() + 0.25
        while time.monotonic() < until:
            pass
        os._exit(0)
    time.sleep(0.2)
"""

# Orphans: whoever adopts them has to wait for them, or they count as processes for ever.
ORPHANS = r"""
import os, sys
made = 0
while made < 32:
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            os._exit(0)
        os._exit(0)
    os.waitpid(child, 0)
    made += 1
    if made % 8 == 0:
        import time; time.sleep(0.12)
print(made)
"""

IPC = r"""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
for name, arguments in (
    ("shmget", (0, 4096, 0o1600)),
    ("shmget", (0, 1048576, 0o1600)),
    ("semget", (0, 1, 0o1600)),
    ("msgget", (0, 0o1600)),
):
    print("made" if getattr(libc, name)(*arguments) >= 0 else "refused")
"""
