#!/usr/bin/env bash
# make fresh: from a bare Debian to a report, timed. One row of docs/installing.md's table for each suite.
#
#     tools/fresh.sh [SUITE ...]     trixie (Python 3.13) and sid (3.14) by default
#
# Needs root, debootstrap and 12 GB for each suite in FRESH (by default /var/tmp/al_rotate-fresh). What is committed is
# tested. The roots reach this machine's network and pip's settings: its configuration and PIP_* variables; folders in
# FRESH_BIND (separated by spaces) are mounted in them, to be read. FRESH_PACKAGES says what the roots hold besides
# Python and make; "" is a machine without a compiler.
set -euo pipefail
cd "$(dirname "$0")/.."
fresh=${FRESH:-/var/tmp/al_rotate-fresh}
packages=${FRESH_PACKAGES-g++,python3-dev}
[ "$(id -u)" = 0 ] && command -v debootstrap > /dev/null || { echo "make fresh needs root and debootstrap" >&2; exit 1; }
mkdir -p "$fresh"

mounts=()
unmount() { for ((i = ${#mounts[@]} - 1; i >= 0; i--)); do umount "${mounts[i]}"; done; mounts=(); }
trap unmount EXIT
enter() { mkdir -p "$2" && mount --bind $3 "$1" "$2" && mounts+=("$2"); }

for suite in "${@:-trixie}"; do
    root=$fresh/$suite${packages:+-compiler}
    if [ ! -e "$root/finished" ]; then
        rm -rf "$root"
        debootstrap --variant=minbase --include="python3,python3-venv,make,ca-certificates${packages:+,$packages}" \
            "$suite" "$root" > "$root.log" && touch "$root/finished"
    fi
    rm -rf "$root/root/al_rotate" && mkdir -p "$root/root/al_rotate"
    git archive HEAD | tar -x -C "$root/root/al_rotate"
    cp /etc/resolv.conf /etc/hosts "$root/etc/"
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
    for file in /etc/pip.conf /etc/xdg/pip "${XDG_CONFIG_HOME:-$HOME/.config}/pip"; do
        [ ! -e "$file" ] || { mkdir -p "$root$(dirname "$file")" && cp -rT "$file" "$root$file"; }
    done
    enter /proc "$root/proc" ""
    enter /dev "$root/dev" ""
    for folder in ${FRESH_BIND:-}; do enter "$folder" "$root$folder" "-o ro"; done
    env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 $(env | grep '^PIP_' || true) \
        AL_ROTATE_OPS="${AL_ROTATE_OPS-}" MAX_JOBS="${MAX_JOBS-}" chroot "$root" bash -eu -c '
            cd /root/al_rotate
            begun=$SECONDS; make setup; setup=$((SECONDS - begun))
            begun=$SECONDS; .venv/bin/al-rotate demo demo --rounds 1; demo=$((SECONDS - begun))
            ops=$(.venv/bin/al-rotate doctor 2> /dev/null | sed -n "s/^mmcv ops *//p" | cut -d" " -f1)
            tests=$(OMP_NUM_THREADS=1 .venv/bin/python -m pytest -q -m "not mm" --ignore=tests/bridge \
                --ignore=tests/cli/commands -p no:cacheprovider | tee tests.log | tail -1)
            python=$(.venv/bin/python -c "import platform; print(platform.python_version())")
            compiler=$(c++ -dumpversion 2> /dev/null || echo none)
            read -r load _ < /proc/loadavg
            echo "| $1 | $python | $compiler | $ops | $setup s | $demo s | $tests | $load |" > row.md
        ' bash "Debian $suite"
    unmount
    cat "$root/root/al_rotate/row.md" >> "$fresh/table.md"
done
echo "| machine | Python | g++ | mmcv's ops | set-up | one round of the demo | tests of the core | load |"
cat "$fresh/table.md"
