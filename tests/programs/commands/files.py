"""Files, directories, links, times and modes, by coreutils and find."""

# ruff: noqa: E501 - a command line stays on one line

from __future__ import annotations

from tests.programs.command import BIG, run, script

COMMANDS = (
    run("ls-one-column", "ls -1"),
    run("ls-long", "ls -ln --time-style=full-iso words.txt poem.txt table.csv"),
    run("ls-missing", "ls -l missing"),
    run("ls-by-time", "ls -t1 words.txt"),
    run("ls-recursive-dev", "ls -d /dev/null /dev/zero /tmp"),
    script(
        "ls-kinds",
        """
        mkdir d; ln -s words.txt link; ln -s nowhere broken; mkfifo pipe; touch run.sh
        chmod 755 run.sh; touch .hidden
        ls -AF1; stat -c '%A %N' link broken
        """,
    ),
    script("ls-sort-size", "seq 10000 > a; seq 10 > b; seq 1000 > c; ls -S1 a b c; ls -rS1 a b c"),
    script("cp-file", "cp words.txt copy && cmp words.txt copy && stat -c '%s %a %F' copy"),
    script(
        "cp-preserve",
        "chmod 640 words.txt; touch -d '2011-12-13 14:15:16' words.txt; cp -p words.txt c;"
        " stat -c '%a %Y %s' c",
    ),
    script(
        "cp-tree",
        """
        mkdir -p d/e/f; cp *.txt d/e; ln -s ../../left.txt d/e/link; echo deep > d/e/f/g
        cp -a d copy; find copy | sort; readlink copy/e/link; diff -r d copy && echo same
        """,
        "find",
        "diff",
    ),
    script("cp-onto-directory", "mkdir d; cp words.txt missing d; echo $?; ls d"),
    script("cp-sparse", "truncate -s 1M hole; cp hole copy; cmp hole copy; stat -c %s copy"),
    script("mv-file", "mv -v words.txt w; ls w words.txt; echo $?"),
    script("mv-onto", "mv left.txt right.txt; cat right.txt; ls left.txt"),
    script("mv-directory", "mkdir -p a/b; mv a c; mv words.txt c/b; find c | sort", "find"),
    script("mv-into-itself", "mkdir a; mv a a/b; echo $?"),
    script(
        "ln-hard",
        "ln words.txt again; stat -c '%h %s' again; echo more >> again; tail -n1 words.txt;"
        " rm words.txt; stat -c %h again",
    ),
    script(
        "ln-symbolic",
        "ln -s words.txt l; readlink l; cat l | head -n2; ln -s words.txt l; echo $?;"
        " ln -sf poem.txt l; readlink -f l | xargs basename",
    ),
    script("ln-loop", "ln -s b a; ln -s a b; cat a; echo $?"),
    script("ln-dangling", "ln -s nowhere l; cat l; test -e l; echo $?; test -L l; echo $?"),
    script(
        "chmod-forms",
        "for m in 000 644 u+x,g-r a=rwx o= 4755 +t; do chmod $m words.txt; stat -c %A words.txt;"
        " done",
    ),
    script(
        "chmod-recursive", "mkdir -p d/e; touch d/e/f; chmod -R go-rwx d; stat -c '%a %n' d d/e/f"
    ),
    script("umask-modes", "umask 027; touch f; mkdir d; stat -c '%a %n' f d; umask"),
    script("chown-numeric", "chown 12:34 words.txt && stat -c '%u:%g' words.txt"),
    run("stat-format", "stat -c '%n %s %a %F %h %Y %X' words.txt"),
    run("stat-device", "stat -c '%F %t:%T' /dev/null /dev/zero"),
    script(
        "du-apparent",
        "mkdir d; seq 5000 > d/a; seq 500 > d/b; du -b d/a d/b; du -cb d/* | tail -n1",
    ),
    script(
        "touch-times", "touch -d '1999-12-31 23:59:59' f; stat -c %y f; touch -r f g; stat -c %Y g"
    ),
    script(
        "touch-nocreate", "touch -c f; ls f; touch -m -d @5 words.txt; stat -c '%X %Y' words.txt"
    ),
    script("mkdir-parents", "mkdir -p a/b/c; mkdir a; echo $?; mkdir x/y; echo $?; mkdir -v a/b/d"),
    script("rmdir-parents", "mkdir -p a/b/c; rmdir a; echo $?; rmdir -p a/b/c; ls -d a; echo $?"),
    script(
        "rm-forms",
        "mkdir -p d/e; touch d/e/f; rm d; echo $?; rm -r d; ls -d d; rm -f none; echo $?",
    ),
    script("rm-many", "seq 300 | xargs touch; ls | wc -l; rm [0-9]*; ls | wc -l", "xargs"),
    script(
        "mktemp-forms",
        "f=$(mktemp -p . x.XXXXXX); stat -c '%a %s' $f; d=$(mktemp -d -p .); stat -c '%a %F' $d",
    ),
    script(
        "realpath-forms",
        "mkdir -p a/b; ln -s a/b l; cd l; realpath --relative-to=.. . ../b; pwd -P | xargs basename",
    ),
    script(
        "readlink-chain",
        "ln -s words.txt c; ln -s c b; ln -s b a; readlink a; basename $(readlink -f a)",
    ),
    script(
        "truncate-sizes",
        "for s in 10 +5 -3 %8 1K; do truncate -s $s f; stat -c %s f; done; od -c f | tail -n2",
    ),
    script(
        "dd-blocks",
        "seq 1000 > f; dd if=f of=g bs=100 skip=3 count=5 seek=2 2>/dev/null; stat -c %s g; cksum g",
    ),
    script(
        "dd-convert",
        "dd if=words.txt conv=ucase,swab status=none; dd if=/dev/zero bs=1k count=64 status=none | cksum",
    ),
    script(
        "dd-inplace",
        "seq 100 > f; printf XXXX | dd of=f bs=1 seek=10 conv=notrunc status=none; head -c 30 f",
    ),
    script(
        "install-mode", "install -m 711 words.txt w; install -d -m 700 d/e; stat -c '%a %n' w d/e"
    ),
    script("mkfifo-talk", "mkfifo -m 600 p; cat words.txt > p & sort p; wait; stat -c '%a %F' p"),
    script(
        "link-unlink",
        "link words.txt w; unlink words.txt; cat w | head -n1; unlink words.txt; echo $?",
    ),
    script("shred-remove", "seq 100 > f; shred -n1 -u f; ls f"),
    script("sync-file", "seq 100 > f; sync f; sync -d f; cksum f"),
    script(
        "split-lines",
        "split -l 4 words.txt part.; wc -l part.*; cat part.* | cmp - words.txt && echo same",
    ),
    script("split-bytes", "seq 3000 | split -b 4k -d - p; ls p*; cat p* | cksum"),
    script("csplit-pattern", "csplit -s poem.txt /no/ '{1}'; head xx0*"),
    script(
        "find-tests",
        """
        mkdir -p a/b/c; seq 100 > a/big; touch a/b/empty; ln -s big a/link; chmod 600 a/big
        find a -type d | sort; find a -size +100c -type f; find a -empty -type f; find a -type l
        find a -perm 600; find a -name '*i*' -printf '%P %y %m %s\\n' | grep -v ' d ' | sort
        """,
        "find",
    ),
    script(
        "find-exec",
        "find . -name '*t.txt' -exec wc -c {} + | sort; find . -name 'poem*' -exec cat {} \\;",
        "find",
    ),
    script(
        "find-prune", "mkdir -p a/b/c d/b; find . -name b -prune -o -type d -print | sort", "find"
    ),
    script(
        "find-delete",
        "mkdir d; touch d/a.o d/b.c; find d -name '*.o' -delete; ls d; find missing",
        "find",
    ),
    script("find-newer", "touch -d 2030-01-01 new; find . -newer words.txt -type f", "find"),
    script("find-depth", "mkdir -p 1/2/3/4; find 1 -depth; find 1 -mindepth 2 -maxdepth 3", "find"),
    script(
        "xargs-forms",
        "seq 10 | xargs -n3 echo; seq 3 | xargs -I{} echo a{}b; printf 'a b\\0c' | xargs -0 -n1 echo",
        "xargs",
    ),
    script(
        "xargs-parallel", "seq 8 | xargs -P2 -n1 sh -c 'echo $(( $0 * $0 ))' | sort -n", "xargs"
    ),
    script(
        "cmp-differ",
        "cmp left.txt right.txt; echo $?; cmp -l left.txt right.txt | head -n3; cmp left.txt none",
    ),
    script("cwd-removed", "mkdir d; cd d; rmdir ../d; ls -A; touch f; echo $?"),
    script(
        "deep-path",
        "i=0; while [ $i -lt 60 ]; do mkdir d; cd d; i=$((i+1)); done; echo x > f; cat f; cd ../..; ls",
    ),
    script("long-name", "n=$(printf %0255d 0); touch $n && ls | wc -l; touch 0$n; echo $?"),
    script(
        "odd-names", "touch -- '-a' 'b c' \"$(printf 'x\\ty')\" '*'; ls -1b; rm -- -a '*'; ls -1Q"
    ),
    script(
        "dir-cycle",
        "for i in 1 2 3 4 5 6; do mkdir d; touch d/$i; mv d/$i .; rmdir d; done; echo [1-6]",
    ),
    script("append-shared", "(echo a; echo b) >> f; (echo c; echo d) >> f; cat f; wc -c < f"),
    script("copy-big", "cp big.txt c; cat big.txt c | cksum; tail -c 100 c", files=BIG),
    script("read-directory", "cat .; echo $?; head -c1 < .; echo > /; echo $?"),
    script(
        "write-devices",
        "echo x > /dev/null; head -c 5 /dev/zero | od -c; echo y > /dev/full; echo $?",
    ),
    script(
        "proc-self",
        "readlink /proc/self/cwd | xargs basename | cut -c1-8; cat /proc/self/cmdline | tr '\\0' ' '; ls -1 /proc/self/fd | wc -l",
        "xargs",
    ),
)
