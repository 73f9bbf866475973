"""Processes, signals and time, by the small programs that are about them."""

# ruff: noqa: E501 - a command line stays on one line

from __future__ import annotations

from tests.programs.command import run, script

COMMANDS = (
    run("timeout-in-time", "timeout 20 echo done"),
    run("timeout-expires", "timeout 0.3 sleep 30"),
    run("timeout-preserve", "timeout --preserve-status -s INT 0.3 sleep 30"),
    run("timeout-kill", "timeout -s KILL 0.3 sleep 30"),
    run("timeout-missing", "timeout 5 /missing/program"),
    script(
        "timeout-stubborn",
        "timeout -k 0.3 0.3 sh -c 'trap \"\" TERM; while :; do sleep 0.1; done'; echo $?",
    ),
    run("nice", "nice -n 5 nice"),
    script("nohup", "nohup sh -c 'echo out; kill -HUP $$; echo survived' > o 2> e; echo $?; cat o"),
    script("setsid", "setsid -w sh -c 'exit 6'; echo $?; setsid true", "setsid"),
    script("stdbuf", "stdbuf -oL seq 3 | cat; stdbuf -o0 echo x"),
    script(
        "env-signals",
        "env --ignore-signal=TERM sh -c 'kill -TERM $$; echo alive'; env -S 'A=1 sh -c \"echo ok\"'",
    ),
    script(
        "flock",
        "flock lock echo held; (flock 9; echo inside) 9> lock2; flock -n lock sh -c 'flock -n lock echo no; echo $?'",
        "flock",
    ),
    script(
        "flock-waits",
        "(flock 9; sleep 0.3; echo first) 9> l & sleep 0.1; flock l echo second; wait",
        "flock",
    ),
    script("sleep-order", "(sleep 0.4; echo b) & (sleep 0.1; echo a) & (sleep 0.8; echo c) & wait"),
    script(
        "orphan",
        "sh -c '(sleep 0.3; echo orphan > f; test $PPID != 0 && echo p >> f) & exit 0'; sleep 1; cat f",
    ),
    script("zombies", "for i in 1 2 3 4 5 6 7 8 9; do true & done; wait; echo reaped"),
    script(
        "exit-codes",
        'for i in 0 1 127 128 255 256 -1; do sh -c "exit $i" 2>/dev/null; echo $?; done',
    ),
    script(
        "self-kill",
        'for s in 1 2 3 6 9 11 13 14 15; do sh -c "ulimit -c 0; kill -$s \\$\\$" 2>/dev/null; echo $s $?; done 2>/dev/null',
    ),
    run("killed-by-term", "/bin/sh -c 'kill -TERM $$'"),
    run("killed-by-kill", "/bin/sh -c 'kill -KILL $$'"),
    run("exit-status", "/bin/sh -c 'exit 42'"),
    script(
        "group-kill",
        "setsid sh -c 'sleep 30 & sleep 30 & sleep 0.2; kill -TERM 0; echo never'; echo $?",
        "setsid",
    ),
    script(
        "trap-wait",
        "trap 'echo got; exit 3' USR1; (sleep 0.2; kill -USR1 $$) & sleep 1 & wait; echo not-here",
    ),
    script(
        "read-interrupted",
        "trap 'echo alarm' ALRM; (sleep 0.2; kill -ALRM $$) & mkfifo p; exec 3<>p; (sleep 0.6; echo late > p) & read x <&3; echo $? $x; read y <&3; echo $y",
    ),
    script(
        "usleep-precision",
        "s=$(date +%s%N); sleep 0.25; e=$(date +%s%N); [ $(( (e-s)/1000000 )) -ge 250 ] && echo enough",
    ),
    script("tty-none", "tty; echo $?; test -t 0; echo $?; stty size; echo $?"),
    script(
        "who-am-i",
        "id -un; whoami; groups | cut -d' ' -f1; logname >/dev/null 2>&1; hostid | wc -c",
    ),
    script(
        "uname-kind",
        "uname -s -m -o; getconf LONG_BIT; getconf PAGESIZE; getconf ARG_MAX",
        "getconf",
    ),
    script(
        "getconf-limits",
        "for v in NAME_MAX PATH_MAX PIPE_BUF; do getconf $v .; done; [ $(getconf OPEN_MAX) -gt 0 ] && echo open",
        "getconf",
    ),
    script(
        "dynamic-libraries",
        "ldd /bin/ls | grep -v vdso | sed 's/ (.*//; s/^[[:space:]]*//' | sort; LD_DEBUG=libs /bin/true 2>&1 | grep -c 'calling init' | awk '{print ($1 > 0)}'",
        "ldd",
    ),
    script(
        "loader-direct",
        "/lib64/ld-linux-x86-64.so.2 /bin/echo by loader; /lib64/ld-linux-x86-64.so.2 --verify /bin/ls; echo $?",
    ),
    script(
        "strace-less-self",
        "cat /proc/self/comm; cat /proc/self/environ | tr '\\0' '\\n' | grep -c LC_ALL; head -n1 /proc/self/status; awk '/^Uid/{print NF}' /proc/self/status",
        "awk",
    ),
    script(
        "proc-maps",
        "grep -c stack /proc/self/maps; awk '$NF ~ /libc/ {n++} END {print (n>2)}' /proc/self/maps; ls -l /proc/self/exe | sed 's/.*-> //'",
        "awk",
    ),
    script(
        "proc-system",
        "test -s /proc/meminfo && grep -c '^MemTotal:' /proc/meminfo; grep -c ^processor /proc/cpuinfo | awk '{print ($1>0)}'; cut -d' ' -f1 /proc/version; awk '{print NF}' /proc/loadavg",
        "awk",
    ),
)
