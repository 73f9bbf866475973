"""BusyBox: one static program, many applets."""

# ruff: noqa: E501 - a command line stays on one line

from __future__ import annotations

from tests.programs.command import BIG, Command, run, script

BUSYBOX = "/bin/busybox"


def applet(name: str, line: str, *, stdin: str = "") -> Command:
    """An applet called through the one binary."""
    return run(f"busybox-{name}", f"{BUSYBOX} {line}", stdin=stdin)


def ash(name: str, text: str, *, slow: bool = False, big: bool = False) -> Command:
    """A script for BusyBox's shell, in which the applets are commands."""
    text = "PATH=; export PATH\n" + text  # so that nothing but applets is found
    files = BIG if big else {}
    return Command(
        f"busybox-{name}", (BUSYBOX, "sh", "-c", text.strip()), (BUSYBOX,), b"", files, slow
    )


COMMANDS = (
    applet("echo", "echo hello from a static program"),
    applet("true", "true"),
    applet("false", "false"),
    applet("unknown", "nosuchapplet"),
    applet("cat", "cat poem.txt - words.txt", stdin="in between\n"),
    applet("ls", "ls -1 -p"),
    applet("wc", "wc poem.txt numbers.txt"),
    applet("sort", "sort -n numbers.txt"),
    applet("grep", "grep -in -A1 APPLE words.txt"),
    applet("sed", "sed -n -e s/a/[&]/gp words.txt"),
    applet("awk", "awk -F, '{s+=$4; print $2} END {print s}' table.csv"),
    applet("cut", "cut -d, -f1,3 table.csv"),
    applet("head", "head -n 3 words.txt"),
    applet("tail", "tail -n +9 words.txt"),
    applet("md5sum", "md5sum words.txt"),
    applet("sha256sum", "sha256sum poem.txt"),
    applet("sha3sum", "sha3sum poem.txt"),
    applet("crc32", "crc32 poem.txt"),
    applet("od", "od -b poem.txt"),
    applet("hexdump", "hexdump -C left.txt"),
    applet("xxd", "xxd left.txt"),
    applet("strings", "strings -n 5 words.txt"),
    applet("dc", "dc -e '2 10 ^ p 3 / p'"),
    applet("bc", "bc", stdin="2^64\nscale=10\n1/7\n"),
    applet("cal", "cal 2 2024"),
    applet("date", "date -u -d @86400 +%F"),
    applet("factor", "factor 360360"),
    applet("seq", "seq 5 -2 -5"),
    applet("tac", "tac words.txt"),
    applet("expand", "expand poem.txt"),
    applet("fold", "fold -w 8 poem.txt"),
    applet("uuencode", "uuencode -m name", stdin="some bytes\n"),
    applet("diff", "diff -u -L a -L b left.txt right.txt"),
    applet("cmp", "cmp left.txt right.txt"),
    applet("stat", "stat -c '%n %s %a' words.txt"),
    applet("find", "find words.txt poem.txt -size -1"),
    applet("env", "env -i X=1 /bin/busybox env"),
    applet("printf", r"printf '%04x %s\n' 255 end"),
    applet("timeout", "timeout 10 /bin/busybox echo in time"),
    applet("timeout-kills", "timeout -s TERM 1 /bin/busybox sleep 60"),
    applet("ipcalc", "ipcalc -bnm 10.1.2.3/20"),
    applet("ascii", "ascii"),
    ash(
        "ash-pipeline",
        "cat words.txt | sort | uniq -c | sort -rn | head -n 3 | while read n w; do echo $w:$n; done",
    ),
    ash(
        "ash-functions",
        "f() { local x=$1; [ $x -le 1 ] && echo 1 && return; echo $(( x * $(f $((x-1))) )); }; f 8",
    ),
    ash(
        "ash-files",
        "mkdir -p a/b; cp words.txt a/b/w; mv a/b/w a/x; ln -s x a/l; cat a/l | wc -l; rm -r a; ls a; echo $?",
    ),
    ash(
        "ash-jobs",
        'for i in 1 2 3; do (exit $i) & p="$p $!"; done; for j in $p; do wait $j; echo $?; done',
    ),
    ash("ash-trap", "trap 'echo bye' EXIT; trap 'echo got' USR1; kill -USR1 $$; echo on; exit 3"),
    ash("ash-heredoc", "x=5; cat <<A; cat <<'B'\n$x $((x*x))\nA\n$x raw\nB"),
    ash(
        "tar",
        "mkdir d; cp *.txt d; tar cf - d | tar tf - | sort; tar cf - d | gzip > t.gz; rm -r d; tar xzf t.gz; ls d",
    ),
    ash(
        "gzip",
        "gzip -k words.txt; zcat words.txt.gz | cmp - words.txt && echo same; gunzip -t words.txt.gz; echo $?",
    ),
    ash("bzip2", "bzip2 -k poem.txt; bunzip2 -c poem.txt.bz2"),
    ash("xz", "xzcat < /dev/null; echo $?; echo not-xz | unxz; echo $?"),
    ash(
        "cpio",
        "echo words.txt | cpio -o -H newc > c; mkdir d; cd d; cpio -i < ../c; cmp words.txt ../words.txt; ls",
    ),
    ash(
        "dd",
        "dd if=/dev/zero bs=4k count=16 2>/dev/null | md5sum; dd if=words.txt bs=1 skip=5 count=5 2>/dev/null",
    ),
    ash(
        "vi",
        "printf 'x' | vi -c ':%s/apple/APPLE/g' -c ':wq' words.txt > /dev/null 2>&1; grep -c APPLE words.txt",
    ),
    ash("ed", "printf '1d\\n1p\\nw\\nq\\n' | ed left.txt"),
    ash(
        "patch",
        "diff -u left.txt right.txt > p; patch left.txt < p; cmp left.txt right.txt && echo same",
    ),
    ash("xargs", "seq 6 | xargs -n2 echo; printf '%s\\n' a b | xargs -I@ echo [@]"),
    ash(
        "big",
        "sort big.txt | md5sum; grep -c anchor big.txt; awk '{s+=NF} END{print s}' big.txt",
        slow=True,
        big=True,
    ),
    script(
        "busybox-as-shell",
        "/bin/busybox ash -c 'echo $0 $1 $#' name a b; ln -s /bin/busybox tac; ./tac words.txt | /bin/busybox head -n1",
        BUSYBOX,
    ),
)
