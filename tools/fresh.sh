#!/usr/bin/env bash
# make fresh: from a bare Debian or Ubuntu to a report, timed. One row of docs/installing.md's table for each suite.
#
#     tools/fresh.sh [SUITE ...]     by default trixie
#     FRESH_OPTIONS=--components=main,universe tools/fresh.sh jammy noble resolute       for Ubuntu
#
# Needs root, debootstrap and 12 GB for each suite in FRESH (by default /var/tmp/al_rotate-fresh). What is committed is
# tested. The roots reach this machine's network and pip's settings: its configuration and PIP_* variables; folders in
# FRESH_BIND (separated by spaces) are mounted in them, to be read. FRESH_PACKAGES says what the roots hold besides
# Python and make; "" is a machine without a compiler. FRESH_OPTIONS go to debootstrap, FRESH_ROUNDS (3) to the demo.
set -euo pipefail
cd "$(dirname "$0")/.."
fresh=${FRESH:-/var/tmp/al_rotate-fresh}
packages=${FRESH_PACKAGES-g++,python3-dev}
known=${DEBOOTSTRAP_DIR:-/usr/share/debootstrap}/scripts
[ "$(id -u)" = 0 ] && command -v debootstrap > /dev/null || { echo "make fresh needs root and debootstrap" >&2; exit 1; }
mkdir -p "$fresh"

mounts=()
unmount() {
    local last
    while ((${#mounts[@]})); do
        last=${mounts[-1]}
        unset 'mounts[-1]'
        umount "$last" || umount --lazy "$last" # while a process that was killed still ends
    done
}
trap unmount EXIT
enter() { mkdir -p "$2" && mount --bind $3 "$1" "$2" && mounts+=("$2"); }

for suite in "${@:-trixie}"; do
    root=$fresh/$suite${packages:+-compiler}
    if [ ! -e "$root/finished" ]; then
        rm -rf --one-file-system "$root"
        # An older debootstrap does not know the newest suites of Ubuntu, whose script is that of all before.
        debootstrap --variant=minbase ${FRESH_OPTIONS-} \
            --include="python3,python3-venv,make,ca-certificates${packages:+,$packages}" \
            "$suite" "$root" "" $([ -e "$known/$suite" ] || echo "$known/gutsy") > "$root.log" && touch "$root/finished"
    fi
    rm -rf --one-file-system "$root/root/al_rotate" && mkdir -p "$root/root/al_rotate"
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
        AL_ROTATE_OPS="${AL_ROTATE_OPS-}" MAX_JOBS="${MAX_JOBS-}" ROUNDS="${FRESH_ROUNDS:-3}" \
        chroot "$root" bash -eu -c '
            cd /root/al_rotate
            begun=$SECONDS; make setup; setup=$((SECONDS - begun))
            begun=$SECONDS; .venv/bin/al-rotate demo demo --rounds "$ROUNDS"; demo=$((SECONDS - begun))
            ops=$(.venv/bin/al-rotate doctor 2> /dev/null | sed -n "s/^mmcv ops *//p" | cut -d" " -f1)
            # A test that fails is told in the row, and does not end the others.
            export OMP_NUM_THREADS=1
            others="--ignore=tests/bridge --ignore=tests/cli/commands --ignore=tests/experiments"
            tests=$(.venv/bin/python -m pytest -m "not mm" $others -p no:cacheprovider 2>&1 | tee tests.log | tail -1)
            ops_tests=$(.venv/bin/python -m pytest tests/detection/openmmlab -p no:cacheprovider 2>&1 | tee ops.log |
                tail -1)
            python=$(.venv/bin/python -c "import platform; print(platform.python_version())")
            compiler=$(c++ -dumpversion 2> /dev/null || echo none)
            machine=$(. /etc/os-release; echo "$PRETTY_NAME")
            read -r load _ < /proc/loadavg
            row="$machine | $python | $compiler | $ops | $setup s | $ROUNDS rounds in $demo s"
            echo "| $row | $tests | $ops_tests | $load |" > row.md
        '
    unmount
    cat "$root/root/al_rotate/row.md" >> "$fresh/table.md"
done
echo "| machine | Python | g++ | mmcv's ops | set-up | the demo | tests of the core | tests of the ops | load |"
cat "$fresh/table.md"
