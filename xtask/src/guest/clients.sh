# CLIENT over rabbitc-runtime and over REFERENCE, the runtime that its users have, both with scopes of systemd: the same calls say
# the same and end the same. The scripts and what they must at least say are those of tests/clients.
set -eu
tests=/host/tests/clients/tests
settings() {
    case $CLIENT in
    podman) echo "OPTIONS='--storage-driver vfs --root $WORK/storage --runroot $WORK/run' LIMITS='--memory 64m --pids-limit 50' PODS=1" ;;
    docker) echo EXPERIMENTAL=false; cat $tests/scripts/docker-daemon.sh ;;
    containerd) cat $tests/scripts/containerd-daemon.sh ;;
    cri)
        cat $tests/scripts/cri.proto >$WORK/cri.proto
        # What docs/kubernetes.md has a reader put into containerd's config.toml.
        sed -n '/^## containerd$/,/^## /s/^    //p' /host/docs/kubernetes.md >$WORK/handler.toml ;;
    esac
}
# transcript RUNTIME FILE
transcript() {
    export RUNTIME=$1 WORK=/tmp/work
    mkdir -p $WORK
    settings >/tmp/settings
    { cat $tests/scripts/prelude.sh; echo MANAGER=systemd; cat /tmp/settings $tests/scripts/$CLIENT.sh; } >/tmp/session
    sh /tmp/session >"$2" || { cat "$2"; exit 1; }
    umount -R $WORK 2>/dev/null || :
    rm -rf --one-file-system $WORK
}
# The same name for both: some show it.
mkdir -p /run/ours /run/theirs
cp /host/target/release/rabbitc-runtime /run/ours/tested
cp "$(command -v $REFERENCE)" /run/theirs/tested
transcript /run/ours/tested /tmp/ours
# A scope says nothing of memory that ran out once it is gone, so that is asked for without systemd alone.
awk '/^## / { left_out = /^## (out of memory|seen as such)/ } !left_out' $tests/expected/$CLIENT.txt >/tmp/expected
awk 'BEGIN { i = 0 } NR == FNR { line[n++] = $0; next } $0 == line[i] { i++ }
  END { if (i < n) { print "missing, or not in its place: " line[i]; exit 1 } }' /tmp/expected /tmp/ours || { cat /tmp/ours; exit 1; }
transcript /run/theirs/tested /tmp/theirs
diff /tmp/theirs /tmp/ours
