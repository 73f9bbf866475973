#!/bin/sh
# A base image from Debian's packages alone, where no registry can be reached: needs root, debootstrap
# and a container engine.
#
#   deploy/base.sh [IMAGE [MIRROR]]             hardtack-base, and the first mirror that apt uses here
#   HARDTACK_BASE=hardtack-base docker compose up
#
# What pip needs to build Hardtack is fetched here, by the host's pip, and lies in the image.
set -eu
cd "$(dirname "$0")"
image=${1:-hardtack-base}
mirror=${2:-$(awk '/^URIs:/ {print $2; exit} /^deb / {print $2; exit}' \
    /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null || true)}
[ -n "$mirror" ] || { echo "$0: which mirror? $0 IMAGE MIRROR" >&2; exit 2; }
command -v debootstrap >/dev/null || { echo "$0: no debootstrap (apt-get install debootstrap)" >&2; exit 2; }

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
trap 'exit 130' INT TERM
packages=python3,python3-venv,nginx-light,redis-server,redis-tools,ca-certificates
debootstrap --variant=minbase --include="$packages" bookworm "$root" "$mirror" >"$root.log" 2>&1 ||
    { tail -n 3 "$root.log" >&2; exit 1; }
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root.log"
mkdir -p "$root/opt/wheels"
"${PYTHON:-python3}" -m pip download --quiet --dest "$root/opt/wheels" --only-binary=:all: \
    --python-version 3.11 -r requirements.txt setuptools wheel
ln -sf python3 "$root/usr/bin/python"
tar -C "$root" -c . | docker import --change 'ENV PIP_FIND_LINKS=/opt/wheels PIP_NO_INDEX=1' - "$image"
