"""Interpreters and compiled programs of many languages, each doing a little of everything."""

# ruff: noqa: E501 - a command line stays on one line

from __future__ import annotations

from tests.programs.command import run, script

COMMANDS = (
    script(
        "ruby",
        """
        ruby -e 'puts [3,1,2].sort.inspect; puts `echo sub`; t = Thread.new { 6 * 7 }; puts t.value
        r, w = IO.pipe; pid = fork { w.puts "child"; exit!(5) }; w.close; puts r.read; Process.wait(pid); puts $?.exitstatus
        trap("USR1") { puts "usr1" }; Process.kill("USR1", $$); sleep 0.1; puts File.read("words.txt").lines.uniq.size'
        """,
        "ruby",
    ),
    script(
        "lua",
        """
        lua5.4 -e 'local t = {} for w in io.lines("words.txt") do t[#t+1] = w end table.sort(t) print(#t, t[2], string.format("%5.2f", math.pi)) local p = io.popen("echo popen") print(p:read("a")) os.exit(3)'
        echo $?
        """,
        "lua5.4",
    ),
    script(
        "php",
        """php -r 'echo json_encode([1,"a"=>2]), "\\n"; echo shell_exec("echo sh"); $p = proc_open(["cat"], [["pipe","r"],["pipe","w"]], $f); fwrite($f[0], "piped\\n"); fclose($f[0]); echo stream_get_contents($f[1]); echo proc_close($p), "\\n"; echo count(file("words.txt")), "\\n"; exit(4);'; echo $?""",
        "php",
    ),
    script(
        "tcl",
        """echo 'puts [lsort {c a b}]; puts [exec echo sub]; set f [open words.txt]; puts [llength [split [read $f] \\n]]; after 50 {set done 1}; vwait done; puts $done; exit 2' | tclsh; echo $?""",
        "tclsh",
    ),
    script(
        "zsh",
        """zsh -fc 'a=(3 1 2); print ${(o)a}; print -l *.txt(N) | head -3; (exit 4); print $?; cat <(print sub); repeat 2 print x; zmodload zsh/datetime; print $(( EPOCHSECONDS > 0 )); sleep 0.1 & wait; print done'""",
        "zsh",
    ),
    script(
        "fish",
        """fish --no-config -c 'set a 3 1 2; for i in $a; echo $i; end | sort; echo (echo sub); count *.txt; false; echo $status; seq 3 | string join ,'""",
        "fish",
    ),
    script(
        "mksh",
        """mksh -c 'set -A a 3 1 2; print ${#a[*]}; for i in "${a[@]}"; do print $i; done | sort; coproc=; cat |& print -p hello; read -p x; print $x; trap "print trapped" USR1; kill -USR1 $$; print end'""",
        "mksh",
    ),
    run("ripgrep", "rg --no-config -j 2 --sort path -n apple ."),
    run("ripgrep-threads", "rg --no-config -j 4 -c --sort path e ."),
    script("fd", "fdfind -j 2 -e txt -x echo {/} | sort; fdfind -j 1 -t f poem", "fdfind"),
    run("bat", "batcat --no-config --style=plain --color=never poem.txt"),
    run("fzf", "fzf -f ap", stdin="pear\napple\ngrape\n"),
    script(
        "expect",
        """
        expect -c 'spawn -noecho sh -c "stty -echo; echo ready; read x; echo got \\$x; exit 3"; expect_after timeout {exit 9}; expect ready; send "word\\r"; expect "got word"; expect eof; puts "status [lindex [wait] 3]"'
        """,
        "expect",
    ),
    script(
        "script",
        """script -qec 'tty | cut -c1-9; stty size; echo in a terminal; exit 7' out > /dev/null < /dev/null; echo $?; tr -d '\\r' < out | sed -n '2,4p'""",
        "script",
    ),
    script(
        "vim",
        """vim -u NONE -es -c '%s/e/E/g' -c '2d' -c 'w! out' -c 'q!' poem.txt < /dev/null; echo $?; cat out""",
        "vim",
    ),
    script("less-pipe", "less words.txt | head -3; less -F -X words.txt | tail -2", "less"),
    script(
        "tmux",
        """
        TMUX_TMPDIR=. TERM=screen tmux -f /dev/null -L t new-session -d -x 80 -y 24 'sh -c "echo in tmux; stty size; sleep 20"'
        sleep 1; TMUX_TMPDIR=. tmux -L t capture-pane -p | head -2; TMUX_TMPDIR=. tmux -L t list-panes -F '#{pane_width}x#{pane_height}'
        TMUX_TMPDIR=. tmux -L t kill-server; echo $?
        """,
        "tmux",
    ),
    script(
        "parallel",
        "exec 2>/dev/null; seq 6 | parallel --will-cite -k -j 3 'echo {} squared is $(({} * {}))'; parallel --will-cite -k echo ::: a b ::: 1 2",
        "parallel",
    ),
)
