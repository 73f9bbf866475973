# Appends, counts, forks, pipes and removes; a line "shell N" for each round that was right.
# "shell ! WHAT" is a failed call, "shell lost BYTES WHAT" is data that is not what was written.
i=0
fail() { echo "shell ! round $i: $*"; }
while :; do
    i=$((i + 1))
    [ $((i % 200)) -ne 1 ] || { rm -f shell.log; here=0; }
    here=$((here + 1))
    echo "line $i" >> shell.log || fail append
    [ "$(wc -l < shell.log)" = "$here" ] || echo "shell lost 10 round $i: $(wc -l < shell.log) lines"
    [ "$(tail -n 1 shell.log)" = "line $i" ] || echo "shell lost 10 round $i: $(tail -n 1 shell.log)"
    ls -l /etc/hostname > shell.ls || fail ls
    mv shell.ls shell.old || fail mv
    [ "$(sort -r shell.old | wc -l)" = 1 ] || fail pipe
    echo "shell $i"
done 2> shell.errors
