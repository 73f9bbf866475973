#!/bin/sh
# The guest that `docker compose up` boots: a small shell script that never ends by itself and
# keeps the kernel busy enough for its metrics to move: forks, execs, pipes, files, sleeps.
# HEARTBEAT_S is the pause between beats, BEATS how many there are (0: no end).
beat=0
while [ "${BEATS:-0}" -eq 0 ] || [ "$beat" -lt "${BEATS:-0}" ]; do
    beat=$((beat + 1))
    files=$(ls /usr/bin | wc -l)
    echo "$beat" >/tmp/beat
    echo "beat $(cat /tmp/beat): $files programs in /usr/bin, $(uname -s) $(uname -r)"
    sleep "${HEARTBEAT_S:-5}"
done
