# What every script begins with: the transcript, one step after the other, and the image.
# RUNTIME is the runtime's path, WORK a directory of its own.
set -u
mkdir -p "$WORK/bin"
cd "$WORK" || exit 1
PATH=$WORK/bin:$PATH
export PODMAN_IGNORE_CGROUPSV1_WARNING=1

# Writes a step's name, its exit status, and what it said. An id of 64 digits is no news. Of warnings of the runtime one is
# left out: buildah asks for ambient capabilities that can't be raised, as they are not inheritable, and crun is silent.
step() {
    name=$1; shift
    said=$("$@" 2>&1 </dev/null); status=$?
    printf '## %s: %s\n' "$name" "$status"
    [ -z "$said" ] || printf '%s\n' "$said" | tr -d '\r\000\004' | sed 's/\^@//g; /^$/d; /^time=/d; /^warning: process.capabilities.ambient: can.t raise ambient /d; /has been deprecated/d; /resize pty/d; s/[0-9a-f]\{64\}/ID/g; s/^Error: .*: \(OCI .*\)/Error: \1/'
}

# call NAME WORDS: a short name for the words that calls begin with; a file, so that `sh -c` and `script` know it as well.
call() {
    printf '#!/bin/sh\nexec %s "$@"\n' "$2" >"bin/$1"
    chmod 755 "bin/$1"
}

# Waits until a command succeeds.
until_true() {
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1)); [ $tries -lt 300 ] || { echo "never: $*"; return 1; }
        sleep 0.1
    done
}

# A terminal around a command.
on_terminal() { TERM=dumb script --quiet --return --command "$*" /dev/null </dev/null; }

# A root of one static program.
make_root() {
    mkdir -p "$1/bin" "$1/etc" "$1/proc" "$1/sys" "$1/dev" "$1/tmp"
    cp /bin/busybox "$1/bin/busybox"
    for name in sh true false sleep cat id tty stty kill touch echo grep test head ls env printf seq wc; do
        ln -sf busybox "$1/bin/$name"
    done
    printf '#!/bin/sh\nwhile :; do sleep 1; done\n' >"$1/bin/pause"; chmod 755 "$1/bin/pause"
    echo 'root:x:0:0:root:/:/bin/sh' >"$1/etc/passwd"; echo 'root:x:0:' >"$1/etc/group"
}

# For messages that each runtime has in words of its own: only the status counts.
quiet_error() { "$@" >/dev/null 2>&1; }

# Where systemd makes the groups: the scopes of this name that run, of a user's with their own manager.
scopes() {
    whose=--system; [ "$(id -u)" = 0 ] || whose=--user
    [ "$MANAGER" != systemd ] || step 'as a scope' sh -c "systemctl $whose list-units --plain --no-legend --type scope '$1' | grep -c running"
}

# For checkpoints: a program that counts in memory and shows its count, one up at each SIGUSR1.
counter='i=0; trap "i=\$((i+1)); echo \$i" USR1; echo up; while :; do sleep 0.1; done'
