"""Programs that ask about, limit or change who runs what: util-linux, procps, su, sudo; and builds."""

# ruff: noqa: E501 - a command line stays on one line

from __future__ import annotations

from tests.programs.command import script

STRESSORS = (
    "affinity alarm clone dup epoll eventfd exec fork futex itimer kcmp kill membarrier pidfd "
    "prctl pthread pty resources schedpolicy sigfd sigfpe signest sigq sigrt sigsuspend timer vfork"
)
"""Kernel stressors that end by themselves and check what they do."""

COMMANDS = (
    script("chrt", "for p in -o -b -i; do chrt $p 0 sh -c 'chrt -p $$ | sed s/pid.*s//'; done; chrt -f 10 sh -c 'chrt -p $$ | sed s/pid.*s//'; chrt -r 5 chrt -m | head -3", "chrt"),
    script("taskset", "taskset 1 sh -c 'taskset -p $$ | sed s/pid.*s//'; taskset -c 0 echo pinned", "taskset"),
    script("ionice", "ionice -c 3 ionice; ionice -c 2 -n 6 ionice; ionice -c 2 -n 1 sh -c ionice; ionice -c 9 true; echo $?", "ionice"),
    script("prlimit", "prlimit --nofile=100:200 sh -c 'ulimit -n; ulimit -Hn'; prlimit --core=0 prlimit --core -o SOFT,HARD --noheadings; sh -c 'prlimit -p $$ --stack=5000000 && ulimit -s'", "prlimit"),
    script("setarch", "setarch -R echo fixed; setarch linux32 uname -m; setarch --uname-2.6 uname -r | cut -d. -f1-2; setarch -R sh -c 'cat /proc/self/personality'", "setarch"),
    script("setpriv", "setpriv --reuid=1234 --regid=1234 --clear-groups id -u; setpriv --no-new-privs grep NoNewPrivs /proc/self/status; setpriv --bounding-set=-all grep CapBnd /proc/self/status; setpriv --reuid=1234 --inh-caps=-all grep -E 'CapEff|CapPrm' /proc/self/status", "setpriv"),
    script("capsh", "capsh --drop=cap_chown -- -c 'capsh --has-b=cap_chown; echo $?; capsh --has-b=cap_kill; echo $?'; capsh --keep=1 --user=nobody -- -c 'id -un; grep CapEff /proc/self/status'", "capsh"),
    script("su", "su nobody -s /bin/sh -c 'id -u; id -g; kill -0 $PPID; echo $?'; su -s /bin/sh nobody -c 'su root -c id < /dev/null' 2>/dev/null; echo $?", "su"),
    script("sudo", "sudo -n -u nobody id -u; sudo -n true; echo $?; sudo -n -u nobody sh -c 'exit 5'; echo $?", "sudo"),
    script("set-user-id", "cp /usr/bin/id idp; chmod 4755 idp; chown 1234 idp; ./idp -u; ./idp -ru; setpriv --no-new-privs ./idp -u; chmod 2755 idp; chgrp 4321 idp; ./idp -g; ./idp -rg; chmod 2745 idp; ./idp -g", "setpriv"),
    script("unshare-files", "python3 -c 'import ctypes, os; f = os.open(\"words.txt\", 0); print(ctypes.CDLL(None).unshare(0x400), ctypes.CDLL(None).unshare(0x200), len(os.read(f, 5)))'", "python3"),
    script("renice", "sh -c 'renice -n 7 -p $$ > /dev/null; nice'; renice -n 3 -p 4000000; echo $?", "renice"),
    script("ps", "sh -c 'sleep 5 & ps -o ni,comm,args -p $!; ps -o stat= -p $! | cut -c1; kill $!; wait'; ps -p 1 -o pid= | tr -d ' '"),
    script("pgrep", "exec 2>/dev/null; sleep 7.25 & sleep 0.2; pgrep -fx 'sleep 7.25' | wc -l; pkill -fx 'sleep 7.25'; wait $!; echo $?", "pgrep"),
    script("vmstat", "vmstat | awk 'NR==2 {print $1, $2, $4}'; vmstat | wc -l", "vmstat"),
    script("top", "top -b -n1 -p $$ | awk 'NR==2 {print $1, $2} NR==7 {print $1, $NF} NR==8 {print $NF}'", "top"),
    script("gdb-batch", "printf 'int f(int n) { return n * 2 + 2; }\\nint main(void) { return f(20); }\\n' > a.c; cc -g -O0 -o a a.c; gdb -nx -batch -ex 'info line f' -ex 'print 6*7' -ex 'whatis f' ./a 2>&1 | sed 's/0x[0-9a-f]*/ADDRESS/g'", "gdb", "cc", slow=True),
    script("rsync", "mkdir -p a/b; cp *.txt a; echo x > a/b/y; ln -s y a/b/z; rsync -a a/ c; diff -r a c && echo same; echo more >> a/poem.txt; rm a/words.txt; rsync -a --delete --itemize-changes a/ c | cut -c1-2,12- | grep -v ^.d", "rsync"),
    script("cmake", "printf 'cmake_minimum_required(VERSION 3.10)\\nproject(t C)\\nadd_executable(t t.c)\\n' > CMakeLists.txt; printf '#include <stdio.h>\\nint main(void) { puts(\"built\"); return 3; }\\n' > t.c; cmake -S . -B out > /dev/null && cmake --build out -j 4 > /dev/null; out/t; echo $?", "cmake", "cc", slow=True),
    script("stressors", f"for s in {STRESSORS}; do stress-ng --$s 1 --$s-ops 8 -t 3 --temp-path . --quiet > out 2>&1; echo $s $?; done", "stress-ng", slow=True),
)  # fmt: skip
