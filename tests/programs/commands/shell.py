"""The shell language: bash, and what of it dash shares."""

# ruff: noqa: E501 - a command line stays on one line

from __future__ import annotations

from tests.programs.command import bash, run, script

COMMANDS = (
    run("dash-arguments", "/bin/sh -c 'echo $0 $# $2; shift; echo $*; exit 7' name a 'b c' d"),
    script(
        "dash-stdin-script",
        "/bin/sh -s x y",
        stdin="echo $1 $2\nread line\nthis is read\necho got $line\nexit 4\n",
    ),
    script(
        "dash-options",
        "set -e; false || echo kept; set -u; (echo $none) 2>&1 | cut -d: -f2-; set +e; false; echo $?; set -x; : traced",
    ),
    script(
        "dash-getopts",
        'set -- -a -b val -c rest; while getopts ab:d o; do echo "$o ${OPTARG-}"; done; shift $((OPTIND-1)); echo $*',
    ),
    script(
        "dash-parameters",
        "x=/a/b.tar.gz; echo ${x##*/} ${x%%.*} ${x%.*} ${#x} ${y:-def} ${y:=set} $y ${z+no}; echo ${q?unset}; echo never",
    ),
    script(
        "dash-ifs",
        "IFS=:; set -- $(echo a:b::c); echo $# \"$*\"; IFS=' '; read a b <<X\none two three\nX\necho $b",
    ),
    script(
        "dash-case-globs",
        "touch a1 b2 c3; echo [a-b]?; for f in *; do case $f in a*|b*) echo yes $f;; *.txt) ;; *) echo no $f;; esac; done; echo none*",
    ),
    bash(
        "pipeline-status",
        "false | true | (exit 3) | cat; echo ${PIPESTATUS[*]}; set -o pipefail; false | true; echo $?",
    ),
    bash(
        "redirections",
        "exec 3> out; echo three >&3; exec 3>&-; echo err >&2 2> e; { echo o; echo e >&2; } > both 2>&1; cat out both; exec 4<> out; read -u 4 x; echo $x; echo more >&4; cat out",
    ),
    bash(
        "redirect-errors",
        "cat < missing; echo $?; echo x > /missing/f; echo $?; set -C; echo y > words.txt; echo $?; echo z >&9; echo $?",
    ),
    bash(
        "here-documents",
        "x=1; cat <<E; cat <<-'F'; cat <<< \"here $x\"\n$x `echo two` $((x+2))\nE\n\ttabs $x\n\tF",
    ),
    bash(
        "here-document-big",
        "head -c 200000 /dev/zero | tr '\\0' a > f; cat <<E | wc -c\n$(cat f)\nE",
    ),
    bash(
        "process-substitution",
        "diff <(sort words.txt) <(sort -u words.txt); tee >(wc -l > n) < words.txt > /dev/null; sleep 0.2; cat n; read a < <(echo sub); echo $a",
    ),
    bash(
        "traps",
        "trap 'echo exit $?' EXIT; trap 'echo int' INT; trap 'echo usr1' USR1; kill -INT $$; kill -USR1 $$; trap - INT; trap '' TERM; kill -TERM $$; echo alive; exit 5",
    ),
    bash(
        "trap-err-debug",
        "set -E; trap 'echo err $LINENO' ERR; f() { false; true; }; f; trap - ERR; trap 'echo dbg' DEBUG; :; trap - DEBUG; trap 'echo ret' RETURN; g() { :; }; g",
    ),
    bash(
        "trap-child",
        "(trap 'echo sub' EXIT; exit 2); echo $?; trap 'echo chld' CHLD; true & wait $!; sleep 0.1; trap - CHLD; echo end",
    ),
    bash(
        "background-jobs",
        "for i in 3 1 2; do (sleep 0.$i; echo $i) & done; wait; (exit 9) & wait $!; echo $?; wait 999999; echo $?",
    ),
    bash(
        "wait-any",
        "(sleep 0.1; exit 3) & sleep 5 & k=$!; wait -n; echo $?; kill $k; wait $k; echo $?",
    ),
    bash("jobs-control", "set -m; sleep 5 & kill %1; wait %1; echo $?; jobs; set +m"),
    bash(
        "job-stop-continue",
        "sh -c 'kill -STOP $$; echo resumed' & p=$!; until grep -q '^State:.T' /proc/$p/status; do sleep 0.05; done; kill -CONT $p; wait $p; echo $?",
    ),
    bash(
        "kill-statuses",
        "for s in HUP KILL TERM USR1 PIPE ALRM SEGV ABRT; do (ulimit -c 0; kill -$s $BASHPID; sleep 5) & wait $! 2>/dev/null; echo $s $?; done 2>/dev/null",
    ),
    bash(
        "exec-statuses",
        "/missing; echo $?; touch f; ./f; echo $?; chmod +x f; ./f; echo $?; mkdir d; ./d; echo $?; echo '#!/missing' > g; chmod +x g; ./g 2>/dev/null; echo $?",
    ),
    bash(
        "shebang",
        "printf '#!/bin/sh -e\\necho \"$0 $1 $-\"\\nfalse\\necho never\\n' > s; chmod +x s; ./s arg; echo $?; printf '#!./s\\n' > t; chmod +x t; ./t; echo $?; printf '#!/usr/bin/env -S awk -f\\nBEGIN{print \"awk\"}\\n' > a; chmod +x a; ./a",
    ),
    bash(
        "subshells",
        "x=1; (x=2; cd /; echo $x $PWD); echo $x ${PWD##*/} | cut -c1; echo $(echo $(echo $(echo deep))); echo $BASH_SUBSHELL $(echo $BASH_SUBSHELL)",
    ),
    bash(
        "arrays",
        "a=(x y 'z w'); a+=(v); a[9]=nine; echo ${#a[@]} ${!a[@]} \"${a[@]:1:2}\"; unset 'a[0]'; printf '<%s>' \"${a[@]}\"; echo; declare -A m=([k]=v [l]=w); for k in k l; do echo $k=${m[$k]}; done",
    ),
    bash(
        "arithmetic",
        "echo $(( 7/2 )) $(( -7%3 )) $(( 2**62 )) $(( 0x1f ^ 017 )) $(( 1<<40 )) $(( 5>3 ? 10 : 20 )); (( i=5, i++ )); echo $i $((9223372036854775807+1)); let 'j=i*2'; echo $j; echo $((1/0)); echo never",
    ),
    bash(
        "loops",
        "for ((i=0;i<5;i++)); do ((i==3)) && continue; echo $i; done; n=0; until ((n>=2)); do ((n++)); done; echo $n; for w in {a..e}{1..2}; do printf '%s ' $w; done; echo; while :; do while :; do break 2; done; done; echo out",
    ),
    bash(
        "functions",
        "fib() { (( $1 < 2 )) && { echo $1; return; }; echo $(( $(fib $(($1-1))) + $(fib $(($1-2))) )); }; fib 7; f() { return 42; }; f; echo $?; declare -f f",
    ),
    bash(
        "strings",
        "s='Hello World'; echo ${s,,} ${s^^} ${s/o/0} ${s//o/0} ${s:6} ${s: -3} ${s#* } ${s%o*}; [[ $s =~ ^(H.l+)o ]] && echo ${BASH_REMATCH[1]}; printf -v v %03d 7; echo $v ${v@Q}",
    ),
    bash(
        "read-forms",
        "read a b < left.txt; echo $b; while IFS=, read -r i n p c; do echo $n:$c; done < table.csv; read -n3 x < words.txt; echo $x; read -d, y < table.csv; echo $y; mapfile -t m < right.txt; echo ${#m[@]} ${m[2]}; read -t 0.1 z < <(sleep 1); echo $((${?}>128))",
    ),
    bash(
        "coprocess",
        'coproc C { while read l; do echo "<$l>"; done; }; echo one >&${C[1]}; read r <&${C[0]}; echo $r; echo two >&${C[1]}; read r <&${C[0]}; echo $r; eval "exec ${C[1]}>&-"; wait $C_PID; echo $?',
        "bash",
    ),
    bash("select-stdin", "select x in red green; do echo picked $x; break; done", stdin="2\n"),
    bash(
        "globbing",
        "shopt -s extglob nullglob globstar\nmkdir -p d/e; touch d/e/f.txt d/g.TXT; echo **/*.txt; echo !(*.txt); echo none*; shopt -s nocaseglob; echo d/*.txt; echo @(left|right).txt",
    ),
    bash("big-loop", "s=0; for ((i=0;i<20000;i++)); do ((s+=i%7)); done; echo $s", slow=True),
    bash(
        "many-processes",
        "for i in {1..60}; do /bin/true || echo bad; done; for i in {1..40}; do x=$(echo $i); done; echo $x",
        slow=True,
    ),
    bash("wide-pipeline", "seq 2000 | cat | cat | cat | cat | cat | tac | sort -n | tail -n1"),
    bash(
        "deep-subshells",
        "f() { if (( $1 > 0 )); then ( f $(($1-1)) ); else echo bottom; fi; }; f 25",
    ),
    bash(
        "broken-pipe",
        "seq 100000 | head -n1; echo ${PIPESTATUS[0]}; yes | head -n1 >/dev/null; echo ${PIPESTATUS[0]}; (trap '' PIPE; seq 100000 2>&1 >&3 | head -n1) 3>&1 | head -n1",
    ),
    bash(
        "fifo-two-ways",
        'mkfifo a b; (while read l <&3; do echo "re $l" >&4; done) 3<a 4>b & exec 5>a 6<b; echo x >&5; read r <&6; echo $r; echo y >&5; read r <&6; echo $r; exec 5>&-; wait; echo $?',
    ),
    bash(
        "environment",
        "export A=1; B=2 sh -c 'echo $A$B'; sh -c 'echo ${B-unset}'; env | grep -c ^A=; unset A; sh -c 'echo ${A-gone}'; declare -x | grep -c LC_ALL; X=$(head -c 100000 /dev/zero | tr '\\0' x) sh -c 'echo ${#X}'",
    ),
    bash(
        "argument-limits",
        "a=$(seq 20000); set -- $a; /bin/echo $# \"$a\" | tail -c 20; x=$(head -c 140000 /dev/zero | tr '\\0' x); /bin/true $x 2>/dev/null; echo $?",
    ),
    bash(
        "printf-builtins",
        "printf '%q %s\\n' 'a b' c; echo -n x; echo -e '\\x41'; type cd true | head -n2; command -v sed; hash -r; umask -S; ulimit -n 100; ulimit -n; ulimit -Sc",
    ),
    bash(
        "ulimit-files",
        "ulimit -f 8; { head -c 100000 /dev/zero > f; echo $?; } 2>/dev/null; stat -c %s f",
    ),
    bash(
        "ulimit-descriptors",
        "ulimit -n 6; exec 3<words.txt 4<words.txt 5<words.txt; cat 6<words.txt; echo $?; exec 3<&-; read x 3<words.txt <&3; echo $x",
    ),
    bash(
        "signals-list",
        "kill -l | head -n2; kill -l 9 137 USR1; kill -0 $$; echo $?; kill -0 1 && echo one; kill -77 $$; echo $?",
    ),
    bash(
        "pid-variables",
        "[ $$ = $BASHPID ] && echo same; ([ $$ != $BASHPID ] && echo other); [ $(sh -c 'echo $PPID') = $BASHPID ] || echo sub; sleep 0 & [ $! -gt $$ ] && echo later; wait",
    ),
    bash(
        "sourcing",
        "printf 'v=sourced\\nreturn 3\\nv=no\\n' > s; . ./s; echo $? $v; eval 'echo $v'; bash -c '. ./missing; echo $?'; echo 'echo from rc' > rc; BASH_ENV=rc bash -c 'echo main'",
    ),
    bash(
        "time-seconds",
        "TIMEFORMAT=%0R; time sleep 0.01; SECONDS=100; echo $SECONDS; printf '%(%Y)T\\n' 0; [ $EPOCHSECONDS -gt 1000000000 ] && echo clock",
    ),
    bash(
        "descriptor-swap",
        "f() { echo out; echo err >&2; }; f 3>&1 1>&2 2>&3 3>&- 2>/dev/null | tr a-z A-Z; { f 2>&1 >&3 | sed s/^/E:/; } 3>&1 | sort; exec {fd}>dyn; echo x >&$fd; cat dyn; ls -l /proc/self/fd/$fd | sed 's,.*/,,'",
    ),
    bash(
        "stdin-shared",
        "(head -n1 >/dev/null; cat) < words.txt | tail -n1; { read a; read b; } < words.txt; echo $a $b; exec < right.txt; read x; sed -n 1p; cat | wc -l",
    ),
    bash(
        "nested-quotes",
        'x=\'a"b\'; echo "$x" "${x//\\"/\\\'}" $\'tab\\there\' "$(echo "in $(echo "ner")")" \'it\'\\\'\'s\'',
    ),
    bash(
        "login-shell",
        "shopt -q login_shell; echo $?; echo $- | tr -d hBc; bash -lc 'echo ok' 2>/dev/null; bash --norc -ic 'echo $PS1' 2>/dev/null </dev/null | wc -l",
    ),
)
