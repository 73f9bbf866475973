"""Larger programs: git, sqlite3, perl, a C compiler, make, and other languages."""

# ruff: noqa: E501 - a command line stays on one line

from __future__ import annotations

from tests.programs.command import Command, bash, run, script

GIT = """
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example.com GIT_COMMITTER_NAME=C GIT_COMMITTER_EMAIL=c@example.com
export GIT_AUTHOR_DATE='1000000000 +0000' GIT_COMMITTER_DATE='1000000001 +0000' GIT_CONFIG_NOSYSTEM=1 GIT_PAGER=cat
git init -q -b main r; cd r; cp ../*.txt .; git add .; git commit -q -m first
"""

HELLO = """
cat > hello.c <<'C'
#include <stdio.h>
#include <math.h>
int main(int argc, char **argv) { printf("%s %d %.6f\\n", argv[1], argc, sqrt(2.0 * argc)); return argc; }
C
"""

MAKEFILE = """
cat > Makefile <<'M'
all: total
parts := 1 2 3 4
part.%: ; @seq $* > $@
total: $(parts:%=part.%) ; @cat $^ | wc -l > $@; cat $@
clean: ; rm -f part.* total
fail: ; @exit 3
.PHONY: all clean fail
M
"""


def perl(name: str, source: str, *, stdin: str = "") -> Command:
    """A Perl program on the command line."""
    return Command(f"perl-{name}", ("perl", "-we", source), ("perl",), stdin.encode())


COMMANDS = (
    # git
    script(
        "git-commit-log",
        GIT + "git log --format='%H %an %ad %s' --date=iso --stat; git status --short",
        "git",
    ),
    script(
        "git-branch-merge",
        GIT
        + "git checkout -q -b side; echo side >> poem.txt; git commit -qam side; git checkout -q main; echo main > new; git add new; git commit -qm main; git merge -q --no-edit side; git log --oneline --graph; git diff HEAD~1 --stat",
        "git",
        slow=True,
    ),
    script(
        "git-conflict",
        GIT
        + "git checkout -q -b x; echo a > left.txt; git commit -qam a; git checkout -q main; echo b > left.txt; git commit -qam b; git merge x; echo $?; cat left.txt; git status --short",
        "git",
        slow=True,
    ),
    script(
        "git-objects",
        GIT
        + "git ls-tree -r HEAD; git cat-file -p HEAD; git hash-object poem.txt; git fsck; git count-objects; git rev-parse HEAD^{tree}",
        "git",
    ),
    script(
        "git-clone-gc",
        GIT
        + "git gc -q; cd ..; git clone -q r c; cd c; git log --oneline; git show HEAD:left.txt | head -n2; git diff --exit-code; echo $?; git tag v1; git describe --tags",
        "git",
        slow=True,
    ),
    script(
        "git-stash-reset",
        GIT
        + "echo x >> poem.txt; rm words.txt; git status --short; git stash -q; git status --short; git stash pop -q; git checkout -q -- words.txt; git diff --numstat; git reset -q --hard; git status --short; git blame -s left.txt",
        "git",
        slow=True,
    ),
    # sqlite
    script(
        "sqlite-transaction",
        """
        sqlite3 x.db <<Q
        create table t(a integer primary key, b text unique, c real);
        begin; insert into t(b,c) values('one',1.5),('two',2.5),('three',3.5); commit;
        begin; delete from t; rollback;
        insert into t(b) values('one');
        select count(*), sum(c), group_concat(b) from t;
        .mode csv
        select * from t order by b desc;
        pragma integrity_check;
        Q
        echo $?; sqlite3 x.db 'select b from t where c > 2' '.schema'; ls""",
        "sqlite3",
    ),
    script(
        "sqlite-many",
        "sqlite3 x.db \"create table n(i, s); with recursive c(x) as (select 1 union all select x+1 from c where x<20000) insert into n select x, 'row ' || x from c; create index k on n(s); select count(*), sum(i) from n; select i from n where s='row 777'; vacuum; pragma page_count\"",
        "sqlite3",
        slow=True,
    ),
    script(
        "sqlite-wal",
        "sqlite3 x.db 'pragma journal_mode=wal; create table t(a); insert into t values(1);'; ls x.db*; sqlite3 x.db 'select * from t; insert into t values(2);' & wait; sqlite3 x.db 'select sum(a) from t'; sqlite3 x.db .dump",
        "sqlite3",
    ),
    script(
        "sqlite-import",
        "sqlite3 -csv -header :memory: '.import table.csv t' 'select name, price*count as total from t order by 1'",
        "sqlite3",
    ),
    # perl
    perl(
        "text",
        r'while (<STDIN>) { chomp; my %h; $h{$_}++ for split //; print join(",", map {"$_$h{$_}"} sort keys %h), "\n" }',
        stdin="biscuit\nhard tack\n",
    ),
    perl(
        "processes",
        r'$| = 1; my $p = fork; if (!$p) { exit 7 } waitpid $p, 0; print $? >> 8, "\n"; print `echo back`; open my $f, "-|", "seq", 3 or die; print <$f>; close $f; system "sh", "-c", "exit 3"; print $? >> 8, "\n"; $SIG{ALRM} = sub { print "alarm\n" }; alarm 1; select undef, undef, undef, 5; kill "TERM", $$',
    ),
    perl(
        "files",
        r'opendir my $d, "." or die; print join(" ", sort grep {!/^\./} readdir $d), "\n"; open my $f, "+<", "words.txt"; seek $f, 5, 0; read $f, my $b, 5; print "$b\n"; print -s $f, " ", (stat $f)[3], "\n"; rename "left.txt", "l" or die; print -e "left.txt" ? 1 : 0; open(my $m, "<", "missing") or print "$!\n"; printf "%o\n", (stat "l")[2] & 0777',
    ),
    perl(
        "modules",
        r'use strict; use POSIX qw(floor strftime dup2); use List::Util qw(sum shuffle); use Data::Dumper; $Data::Dumper::Sortkeys=1; $Data::Dumper::Indent=1; use Digest::MD5 "md5_hex"; use Time::HiRes "sleep"; print floor(-2.5), strftime(" %F ", gmtime 0), sum(1..10), " ", md5_hex("x"), "\n"; sleep 0.1; print Dumper({a=>[1,2],b=>undef}); die "died\n"',
    ),
    perl(
        "sockets",
        r'use Socket; socketpair(my $a, my $b, AF_UNIX, SOCK_STREAM, 0) or die; if (!fork) { close $a; my $l = <$b>; print $b uc $l; exit } close $b; select((select($a), $|=1)[0]); print $a "hello\n"; print scalar <$a>; wait; pipe(my $r, my $w); syswrite $w, "abc"; sysread $r, my $x, 2; print "$x\n"',
    ),
    perl(
        "threads-of-regex",
        r'my $s = join " ", map { "word$_" } 1..2000; my $n = () = $s =~ /\bword\d*7\b/g; print "$n\n"; (my $t = $s) =~ s/(\d+)/$1*2/ge; print length $t, "\n"; print "yes\n" if "aaaab" =~ /^(a+)+b$/',
    ),
    # C
    script(
        "cc-run",
        HELLO
        + "cc -O1 -o hello hello.c -lm && ./hello world; echo $?; cc -static -o s hello.c -lm && ./s static x; echo $?",
        "cc",
        slow=True,
    ),
    script(
        "cc-errors",
        "printf 'int main(void) { return x; }\\n' > e.c; cc e.c; echo $?; cc missing.c; echo $?",
        "cc",
        slow=True,
    ),
    script(
        "cc-stages",
        HELLO
        + "cc -E -P hello.c | grep -c printf; cc -S -O1 hello.c; grep -c call hello.s; cc -c hello.c; nm hello.o | grep -v ' U ' | cut -c18-; ar rcD l.a hello.o; ar t l.a; cc -shared -fPIC -o l.so hello.c -lm; readelf -h l.so | grep Type:",
        "cc",
        "nm",
        "readelf",
        "ar",
        slow=True,
    ),
    script(
        "binutils",
        "objdump -f /bin/busybox | sed -n 3,4p; readelf -lW /bin/true | grep -c LOAD; strings -n 8 /bin/true | head -n1; cp /bin/true t; strip t; ./t; echo $?; size words.txt; echo $?",
        "objdump",
        "readelf",
        "strip",
        "strings",
        "size",
    ),
    # make
    script(
        "make-parallel",
        MAKEFILE + "make -j2; make -j2; make -s clean; ls; make fail; echo $?; make none; echo $?",
        "make",
    ),
    script(
        "make-compile",
        "for i in 1 2 3; do echo \"int f$i(void) { return $i; }\" > f$i.c; done; printf 'int f1(void), f2(void), f3(void);\\nint main(void) { return f1() + f2() * f3(); }\\n' > main.c; printf 'p: main.o f1.o f2.o f3.o ; cc -o $@ $^\\n' > Makefile; make -s -j2 && ./p; echo $?; touch -d 2020-01-01 *; touch -d 2020-01-02 f2.c; make -n p | grep -c f2",
        "make",
        "cc",
        slow=True,
    ),
    # others
    script(
        "tcl-program",
        "tclsh",
        "tclsh",
        stdin="set x [list 3 1 2]\nputs [lsort $x]\nputs [exec echo from tcl]\nputs [expr {2**70}]\nset f [open words.txt]; puts [gets $f]; close $f\nexit 5\n",
    ),
    run("node-expression", "node --version"),
    script(
        "node-program",
        'node -e \'const fs=require("fs"),cp=require("child_process"); fs.writeFileSync("n","x".repeat(1000)); console.log(fs.statSync("n").size, cp.execSync("echo sub").toString().trim()); setTimeout(()=>console.log("timer"),50); Promise.resolve(1).then(console.log); process.on("exit",c=>console.log("exit",c))\'; echo $?',
        "node",
        slow=True,
    ),
    script(
        "openssl-key",
        "openssl ecparam -genkey -name prime256v1 -noout -out k.pem; openssl ec -in k.pem -pubout 2>/dev/null > p.pem; openssl dgst -sha256 -sign k.pem -out s words.txt; openssl dgst -sha256 -verify p.pem -signature s words.txt",
        "openssl",
        slow=True,
    ),
    script("redis-server-version", "redis-server --version | cut -c1-12", "redis-server"),
    run("nginx-configuration", "nginx -v"),
    script(
        "vim-batch",
        "vim -u NONE -es -c '%s/apple/APPLE/g' -c 'wq' words.txt < /dev/null; echo $?; grep -c APPLE words.txt",
        "vim",
    ),
    script(
        "script-terminal",
        "script -qec 'echo in a terminal; test -t 1 && echo tty' /dev/null < /dev/null | tr -d '\\r'",
        "script",
    ),
    bash(
        "awk-generators",
        'for a in gawk mawk \'/bin/busybox awk\'; do $a \'BEGIN{srand(1); for(i=1;i<=5;i++) s=s i*i " "; print s; printf "%c%5.2f\\n", 65, 3.14159; print substr("hello",2,3), match("foobar",/o+/), RSTART, RLENGTH}\'; done',
        "gawk",
        "mawk",
    ),
)
