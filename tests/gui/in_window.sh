#!/bin/bash
# usage: [BIND="PATH PATH ..."] in_window.sh ROOT WORK COMMAND...        (root)
#
# Runs COMMAND inside ROOT, made by make_window.sh. The folder WORK is seen as /w, and each path of BIND under its own name: that
# is how a Python environment of this machine (its folder, and its interpreter's) serves as the engine in there.
# Mounts, processes and network are its own: nothing is left behind, whatever ends it, and there is no way out to the internet.
set -euo pipefail
ROOT=$1 WORK=$2
shift 2
exec unshare --mount --net --pid --fork --kill-child --propagation private bash -euc '
    ROOT=$1 WORK=$2
    shift 2
    mount -t proc proc "$ROOT/proc"
    mount --rbind /dev "$ROOT/dev"
    mkdir -p "$ROOT/w"
    mount --bind "$WORK" "$ROOT/w"
    for path in ${BIND:-}; do
        if [ -d "$path" ]; then mkdir -p "$ROOT$path"; else mkdir -p "$ROOT$(dirname "$path")" && touch "$ROOT$path"; fi
        mount --bind "$path" "$ROOT$path"
    done
    mkdir -p "$WORK/home" "$WORK/run" "$WORK/tmp"
    # "|| exit" keeps this shell as process 1: Xvfb and timeout take a parent with that number for a parent that died.
    chroot "$ROOT" env -i PATH=/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 HOME=/w/home TMPDIR=/w/tmp XDG_RUNTIME_DIR=/w/run \
        BLENDER_USER_RESOURCES=/w/resources LIBGL_ALWAYS_SOFTWARE=1 "$@" || exit
' _ "$ROOT" "$WORK" "$@"
