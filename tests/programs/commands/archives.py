"""Archivers and compressors."""

# ruff: noqa: E501 - a command line stays on one line

from __future__ import annotations

from tests.programs.command import BIG, script

TREE = "mkdir -p d/e; cp *.txt d; seq 2000 > d/e/seq; ln -s ../words.txt d/e/link; ln d/words.txt d/hard; chmod 600 d/left.txt; touch -d @1000000000 d/* d/e/*; "
STABLE = "--sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner"

COMMANDS = (
    script("tar-create-list", TREE + f"tar cf t {STABLE} d; tar tvf t; md5sum t"),
    script(
        "tar-extract",
        TREE
        + "tar cf t d; mkdir x; tar xf t -C x; diff -r d x/d && echo same; stat -c '%a %Y %h' x/d/left.txt x/d/hard; readlink x/d/e/link",
        "diff",
    ),
    script(
        "tar-pipe",
        TREE
        + "tar cf - d | (mkdir x; cd x; tar xf -); diff -r d x/d && echo same; tar cf - d | tar tf - | sort | head -n3",
        "diff",
    ),
    script(
        "tar-gzip",
        TREE
        + "tar czf t.gz d; tar tzf t.gz | sort; tar xzf t.gz -O d/poem.txt | head -n1; tar xzf missing.gz; echo $?",
        "gzip",
    ),
    script("tar-xz", TREE + "tar cJf t.xz d; rm -r d; tar xJf t.xz; ls d d/e", "xz"),
    script(
        "tar-append-update",
        TREE
        + "tar cf t d/left.txt; tar rf t d/right.txt; tar tf t; tar --delete -f t d/left.txt; tar tf t; tar df t && echo equal",
    ),
    script(
        "tar-filters",
        TREE
        + f"tar cf t {STABLE} --exclude='*.csv' --transform='s,^d,top,' d; tar tf t; tar xf t --strip-components=1 --wildcards '*.txt'; ls *.txt",
    ),
    script(
        "gzip-levels",
        "for l in 1 6 9; do gzip -n -$l -c words.txt | md5sum; done; gzip -n words.txt; gzip -l words.txt.gz | tail -n1 | awk '{print $1,$2}'; gunzip words.txt.gz; ls words*",
        "gzip",
        "awk",
    ),
    script(
        "gzip-broken",
        "gzip -c words.txt > w.gz; head -c 40 w.gz | gunzip; echo $?; echo junk > j.gz; gunzip j.gz; echo $?; printf x | dd of=w.gz bs=1 seek=30 conv=notrunc status=none; gzip -t w.gz; echo $?",
        "gzip",
    ),
    script(
        "gzip-big",
        "gzip -n -c big.txt | md5sum; gzip -c big.txt | gunzip | cmp - big.txt && echo same",
        "gzip",
        files=BIG,
        slow=True,
    ),
    script(
        "xz-round",
        "xz -k poem.txt; xz -l --robot poem.txt.xz | head -n2 | cut -f1-4; xz -dc poem.txt.xz | cmp - poem.txt && echo same; xz -t words.txt; echo $?",
        "xz",
    ),
    script(
        "xz-big",
        "xz -1 -T1 -c big.txt | md5sum; xz -1 -T2 -c big.txt | xz -dc | cmp - big.txt && echo same",
        "xz",
        files=BIG,
        slow=True,
    ),
    script(
        "bzip2-round",
        "bzip2 -k words.txt; md5sum words.txt.bz2; bzip2 -dc words.txt.bz2 | cmp - words.txt && echo same; bzip2 -t poem.txt; echo $?",
        "bzip2",
    ),
    script(
        "bzip2-big",
        "bzip2 -c big.txt | bunzip2 | cmp - big.txt && echo same",
        "bzip2",
        files=BIG,
        slow=True,
    ),
    script(
        "zstd-round",
        "zstd -q words.txt; zstd -qdc words.txt.zst | cmp - words.txt && echo same; zstd -q --no-progress -T2 -c poem.txt | zstd -dc",
        "zstd",
    ),
    script(
        "lz4-round", "lz4 -q words.txt w.lz4; lz4 -qdc w.lz4 | cmp - words.txt && echo same", "lz4"
    ),
    script(
        "zip-round",
        "TZ=UTC touch -d 2001-02-03 *; zip -qX z.zip words.txt poem.txt; unzip -l z.zip | tail -n1; mkdir d; unzip -q z.zip -d d; cmp d/words.txt words.txt && ls d; unzip -p z.zip poem.txt | wc; zip -T z.zip",
        "zip",
        "unzip",
    ),
    script(
        "ar-members",
        "ar rcD lib.a words.txt poem.txt; ar t lib.a; ar p lib.a poem.txt | head -n1; md5sum lib.a; ar dD lib.a words.txt; ar t lib.a",
        "ar",
    ),
    script(
        "openssl-digest",
        "openssl dgst -sha256 words.txt; echo secret | openssl enc -aes-128-cbc -K 00112233445566778899aabbccddeeff -iv 0102030405060708090a0b0c0d0e0f10 -a; openssl rand -hex 8 | wc -c",
        "openssl",
    ),
)
