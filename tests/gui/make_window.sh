#!/bin/bash
# usage: make_window.sh ROOT [SUITE]        (Linux, root, debootstrap; about two minutes and 1.9 GB)
#
# Makes in the folder ROOT a small Debian with Blender and an X server without a screen, for tests/gui: SUITE trixie (Blender 4.3)
# or sid (the newest). Nothing outside ROOT changes. Run again it finds its work done; interrupted, it starts over.
# Packages come from where this machine's own apt gets them, or from TOPO4D_DEBIAN_MIRROR.
set -euo pipefail
ROOT=${1:?usage: make_window.sh ROOT [SUITE]}
SUITE=${2:-trixie}

fail() {
    echo "make_window.sh: $*" >&2
    exit 1
}

# The first Debian archive in apt's sources, in either of apt's two formats; security and other vendors' archives do not count.
mirror_of_this_machine() {
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list 2>/dev/null |
        grep -v '^ *#' | grep -oE '(https?|file):[^] ]*/debian/?( |$)' | head -1 | tr -d ' '
}

if [ -x "$ROOT/usr/bin/blender" ]; then
    echo "$ROOT: $(chroot "$ROOT" blender --version | head -1)"
    exit 0
fi
[ "$(id -u)" = 0 ] || fail "needs root, to make a chroot"
command -v debootstrap >/dev/null || fail "needs debootstrap (apt-get install debootstrap)"
MIRROR=${TOPO4D_DEBIAN_MIRROR:-$(mirror_of_this_machine || true)}
[ -n "$MIRROR" ] || fail "apt here knows no Debian archive; name one in TOPO4D_DEBIAN_MIRROR"

[ ! -e "$ROOT" ] || rmdir "$ROOT" 2>/dev/null || fail "$ROOT holds something else; name another folder"
mkdir -p "$(dirname "$ROOT")"
BUILD=$ROOT.unfinished
LOG=$ROOT.log
rm -rf "$BUILD"
trap 'echo "make_window.sh: failed; the end of $LOG:" >&2; tail -5 "$LOG" >&2' ERR

PACKAGES="blender python3-numpy xvfb xauth xdotool imagemagick libgl1-mesa-dri libegl-mesa0 libegl1"
[ "$SUITE" = sid ] && PACKAGES="$PACKAGES python3-cattr python3-requests" # imported by its Blender, not named by its package
export DEBIAN_FRONTEND=noninteractive LC_ALL=C HOME=/root
{
    debootstrap --variant=minbase "$SUITE" "$BUILD" "$MIRROR"
    # sid's index says for how long it is valid; a machine whose clock or mirror is off by a week may use it all the same.
    chroot "$BUILD" apt-get -o Acquire::Check-Valid-Until=false update -q
    # shellcheck disable=SC2086
    chroot "$BUILD" apt-get install -y -q --no-install-recommends $PACKAGES
    chroot "$BUILD" apt-get clean
    chroot "$BUILD" blender --version
} >"$LOG" 2>&1 </dev/null
mv "$BUILD" "$ROOT"
echo "$ROOT: $(chroot "$ROOT" blender --version | head -1)"
