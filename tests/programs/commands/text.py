"""Text through coreutils, grep, sed and awk."""

# ruff: noqa: E501 - a command line stays on one line

from __future__ import annotations

from tests.programs.command import BIG, run, script

COMMANDS = (
    run("cat-number", "cat -A -n poem.txt left.txt"),
    run("cat-stdin", "cat left.txt - right.txt", stdin="from standard input\n"),
    run("cat-missing", "cat words.txt missing poem.txt"),
    run("tac", "tac words.txt"),
    run("rev", "rev poem.txt"),
    run("nl", "nl -ba -w3 -s: poem.txt"),
    run("sort-plain", "sort words.txt"),
    run("sort-numeric-reverse", "sort -rn numbers.txt"),
    run("sort-key", "sort -t, -k3,3n -k2,2r table.csv"),
    run("sort-unique-fold", "sort -uf words.txt"),
    run("sort-check", "sort -c words.txt"),
    script(
        "sort-version",
        "printf 'v1.10\\nv1.9\\nv1.2\\n' | sort -V; printf '3K\\n1M\\n200\\n' | sort -h",
    ),
    script(
        "sort-big",
        "sort big.txt | cksum; sort -t' ' -k2,2 -k1,1r big.txt | cksum",
        files=BIG,
        slow=True,
    ),
    script("sort-spill", "sort -S 64k -T . big.txt | md5sum", files=BIG, slow=True),
    script(
        "sort-merge", "sort left.txt > a; sort right.txt > b; sort -m a b; sort -o a a b; cat a"
    ),
    script(
        "uniq-counts",
        "sort words.txt | uniq -c; sort words.txt | uniq -d; sort -f words.txt | uniq -iu",
    ),
    script(
        "cut-forms",
        "cut -d, -f2,4 table.csv; cut -c3- poem.txt; cut -b1-2,5 words.txt; cut -d, -f1 --complement table.csv",
    ),
    script(
        "tr-forms",
        "tr a-z A-Z < poem.txt; tr -d aeiou < words.txt; tr -s ' \\t' < poem.txt; tr -cd 0-9 < table.csv",
    ),
    run("wc-all", "wc words.txt numbers.txt poem.txt"),
    run("wc-longest", "wc -L -c poem.txt"),
    run("wc-stdin", "wc", stdin="one two\nthree\n"),
    script(
        "head-forms",
        "head -n 3 words.txt; head -c 10 poem.txt; head -n -8 words.txt; head -q -n1 left.txt right.txt",
    ),
    script(
        "tail-forms",
        "tail -n 2 words.txt; tail -n +10 words.txt; tail -c 7 poem.txt; tail -n1 left.txt right.txt",
    ),
    run("join-inner", "join left.txt right.txt"),
    run("join-outer", "join -a1 -a2 -e- -o 0,1.2,2.2 left.txt right.txt"),
    script("comm-sets", "sort left.txt > a; sort words.txt left.txt > b; comm a b; comm -12 a b"),
    run("seq-forms", "seq -w -s' ' 2 3 29"),
    run("seq-float", "seq -f '%08.3f' 1 -0.25 0"),
    run("factor", "factor 2 97 1001 600851475143 18446744073709551557 4294967296"),
    run("md5sum", "md5sum words.txt poem.txt /dev/null"),
    run("sha1sum", "sha1sum words.txt"),
    run("sha256sum", "sha256sum words.txt numbers.txt"),
    run("sha512sum", "sha512sum poem.txt"),
    run("b2sum", "b2sum poem.txt"),
    script("sha256-big", "sha256sum big.txt; md5sum < big.txt", files=BIG),
    script(
        "sum-check", "sha256sum words.txt poem.txt > s; echo x >> poem.txt; sha256sum -c s; echo $?"
    ),
    script(
        "base64-forms",
        "base64 poem.txt; base64 -w0 words.txt | base64 -d | cmp - words.txt; base32 left.txt; echo '!' | base64 -d",
    ),
    run("od-hex", "od -A x -t x1z -v poem.txt"),
    run("od-mixed", "od -t d2 -t c -N 20 -j 3 words.txt"),
    run("date-epoch", "date -u -d @0 +%Y-%m-%dT%H:%M:%S%z"),
    run("date-arithmetic", "date -u -d '2024-02-28 12:00 UTC +2 days' +'%a %d %b %Y %j %V'"),
    run("env-clean", "env -i A=1 B=2 env"),
    script(
        "env-change",
        "env -u HOME X=1 sh -c 'echo ${HOME-none} $X'; printenv LC_ALL TZ; env -C / pwd",
    ),
    run(
        "printf-forms",
        r"printf '%5d|%-5s|%05.1f|%x|%o|%e|%b|%q\n' 42 ab 3.14159 255 8 12345.678 'a\tb' 'c d'",
    ),
    run("printf-cycle", r"printf '%s-%s\n' a b c"),
    run("printf-bad", "printf %d notanumber"),
    run("echo-escapes", r"echo -e 'a\tb\\c\x41\0101'"),
    script(
        "expr-forms",
        "expr 6 '*' 7; expr 7 / 2; expr abcdef : 'ab\\(.*\\)f'; expr length hello; expr 1 / 0; echo $?; expr 0; echo $?",
    ),
    script(
        "test-forms",
        "for e in '-f words.txt' '-d words.txt' '-s poem.txt' '3 -gt 2' 'a = b' '-x words.txt'; do test $e; echo \"$e $?\"; done",
    ),
    script(
        "numfmt-forms",
        "numfmt --to=iec 1048576 1500; numfmt --from=si 2K; echo 12345 | numfmt --grouping --to=si; numfmt x",
    ),
    script(
        "paste-forms", "paste -d: left.txt right.txt; paste -s -d+ left.txt; seq 6 | paste - - -"
    ),
    run("fold", "fold -s -w 12 poem.txt"),
    run("fmt", "fmt -w 40 poem.txt"),
    run("pr", "pr -t -3 -w 60 words.txt"),
    run("expand", "expand -t 4 poem.txt"),
    run("column", "column -t -s, table.csv"),
    run("tsort", "tsort", stdin="a b\nb c\na d\nd c\n"),
    run("ptx", "ptx -w 60 left.txt"),
    script(
        "shuf-source",
        "shuf --random-source=big.txt -n 5 words.txt; shuf -i 1-20 --random-source=big.txt | paste -sd,",
        files=BIG,
    ),
    script(
        "tee-forms",
        "echo one | tee a b; echo two | tee -a a > /dev/null; cat a b; echo x | tee /missing/f; echo $?",
    ),
    script("tr-yes-head", "yes | head -n 1000 | cksum; yes a b | head -n2"),
    script(
        "hexdump-xxd",
        "xxd -l 32 words.txt; xxd -p poem.txt | xxd -r -p | cmp - poem.txt && echo same",
        "xxd",
    ),
    run("basename-dirname", "basename -s .txt -a /a/b/c.txt d.txt"),
    run("dirname", "dirname /a/b/c d/e f /"),
    run("true-version", "true --version"),
    run("pathchk", "pathchk -p 'a b'"),
    run("nproc-all", "nproc --ignore=10000"),
    run("arch", "arch"),
    run("id", "id -u"),
    # grep
    run("grep-plain", "grep -n apple words.txt"),
    run("grep-none", "grep zebra words.txt poem.txt"),
    run("grep-extended", "grep -E -o -i '(p|f)[a-z]+' words.txt"),
    run("grep-context", "grep -B1 -A1 -n quince words.txt"),
    run("grep-count-invert", "grep -vc a words.txt poem.txt"),
    run("grep-perl", r"grep -P '^(\w)\w*\1$|^f(?=i)' words.txt"),
    run("grep-fixed-file", "grep -F -x -f left.txt right.txt left.txt"),
    run("grep-missing", "grep x missing"),
    script(
        "grep-recursive",
        "mkdir -p d/e; cp poem.txt d/e; cp words.txt d; grep -rl p d | sort; grep -rh fears d; printf 'a\\0b' > d/bin; grep b d/bin",
    ),
    script(
        "grep-big",
        "grep -c storm big.txt; grep -E 'weevil.*weevil.*(7|9)$' big.txt | cksum",
        files=BIG,
    ),
    # sed
    run("sed-substitute", r"sed -E 's/([a-z]+),([0-9.]+)/\2:\1/; 1d' table.csv"),
    run("sed-ranges", "sed -n '/heat/,$p; 2,3{s/ /_/g;p}' poem.txt"),
    run("sed-script", "sed -e '1!G;h;$!d' words.txt"),
    run(
        "sed-commands",
        r"sed -e '2i\inserted' -e '3a\appended' -e '4c\changed' -e y/abc/xyz/ -e '$=' words.txt",
    ),
    script(
        "sed-in-place",
        "sed -i.bak 's/apple/APPLE/g' words.txt; grep -c APPLE words.txt; ls words*; cmp words.txt words.txt.bak",
    ),
    script(
        "sed-write",
        "sed -n '/p/w out' words.txt; cat out; sed --debug -n 1p left.txt; sed p\\{ left.txt; echo $?",
    ),
    script(
        "sed-big", "sed -E 's/(ship|keel) ([a-z]+)/\\2-\\1/g' big.txt | cksum", files=BIG, slow=True
    ),
    # awk
    run(
        "gawk-fields",
        "gawk -F, 'NR>1 {t += $3*$4; n[$2]=$4} END {printf \"%.2f %d\\n\", t, length(n)}' table.csv",
    ),
    run(
        "gawk-arrays",
        'gawk \'{c[$0]++} END {PROCINFO["sorted_in"]="@ind_str_asc"; for (k in c) print k, c[k]}\' words.txt',
    ),
    run(
        "gawk-strings",
        'gawk \'{print toupper(substr($0,1,3)), length, index($0,"e"), gsub(/p/,"&&"), $0}\' words.txt',
    ),
    script(
        "gawk-pipes",
        'gawk \'{print | "sort -n"} END {close("sort -n"); "echo in" | getline x; print x; print strftime("%F", 86400, 1)}\' numbers.txt',
        "gawk",
    ),
    script(
        "gawk-coprocess",
        'gawk \'BEGIN {c="tr a-z A-Z"; print "hello" |& c; close(c,"to"); c |& getline x; print x; exit 3}\'; echo $?',
        "gawk",
    ),
    script(
        "gawk-big",
        'gawk \'{for(i=1;i<NF;i++) c[$i]++; s+=$NF} END {for(k in c) print k, c[k] | "sort"; close("sort"); print s}\' big.txt',
        "gawk",
        files=BIG,
    ),
    run("mawk-fields", "mawk -F, '{print NR\": \"$2, $3+0}' table.csv"),
    run(
        "mawk-program",
        'mawk \'function f(n){return n<2?n:f(n-1)+f(n-2)} BEGIN{for(i=0;i<15;i++)printf "%d ",f(i); print ""; exit 4}\'',
    ),
    script(
        "mawk-files",
        'mawk \'FNR==1{print FILENAME} {print > ("o" NR%2)} END{close("o0")}\' left.txt right.txt; cat o0 o1',
        "mawk",
    ),
    script(
        "diff-forms",
        "diff left.txt right.txt; diff -u --label a --label b left.txt right.txt; diff -y -W 40 left.txt right.txt; diff -q left.txt right.txt; diff left.txt left.txt; echo $?",
        "diff",
    ),
    script(
        "patch-apply",
        "diff -u --label left.txt --label left.txt left.txt right.txt > p; patch < p; cmp left.txt right.txt && echo same; patch -R < p; cat left.txt",
        "diff",
        "patch",
    ),
    script(
        "ed-script",
        "printf '1,2p\\n2s/two/TWO/\\n$a\\nend\\n.\\nw\\nq\\n' | ed left.txt; cat left.txt",
        "ed",
    ),
    script("bc-numbers", "echo 'scale=40; 4*a(1); 2^200; obase=16; 255; sqrt(2)' | bc -l", "bc"),
    run(
        "jq-query",
        "jq -c '.a[] | select(.x > 1) | {y: (.x * 2), n: (.n | ascii_upcase)}'",
        stdin='{"a":[{"x":1,"n":"p"},{"x":2,"n":"q"},{"x":3,"n":"r"}]}',
    ),
    run("file-kinds", "file -b words.txt table.csv /dev/null"),
)
