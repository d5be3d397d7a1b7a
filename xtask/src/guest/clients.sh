# CLIENT over rabbitc-runtime and over REFERENCE, the runtime that its users have, both with scopes of systemd: the same calls say
# the same and end the same. The scripts and what they must at least say are those of tests/clients.
set -eu
tests=/host/tests/clients/tests
uid=47115
script=${CLIENT%-user}
settings() {
    case $CLIENT in
    podman | podman-user) echo "OPTIONS='--storage-driver vfs --root $WORK/storage --runroot $WORK/run' LIMITS='--memory 64m --pids-limit 50' PODS=1" ;;
    buildah) echo "OPTIONS='--storage-driver vfs --root $WORK/storage --runroot $WORK/run'" ;;
    docker) echo EXPERIMENTAL=false; cat $tests/scripts/docker-daemon.sh ;;
    containerd) cat $tests/scripts/containerd-daemon.sh ;;
    cri)
        cat $tests/scripts/cri.proto >$WORK/cri.proto
        # What docs/kubernetes.md has a reader put into containerd's config.toml.
        sed -n '/^## containerd$/,/^## /s/^    //p' /host/docs/kubernetes.md >$WORK/handler.toml ;;
    esac
}
# An ordinary user with sub-ids and a bus of their own, whom no log-in has let in: there is no PAM here.
make_user() {
    echo "tess:x:$uid:$uid::/tmp/work:/bin/sh" >>/etc/passwd; echo "tess:x:$uid:" >>/etc/group
    echo tess:1878982656:65536 >>/etc/subuid; echo tess:1878982656:65536 >>/etc/subgid
    mkdir -p /run/systemd/system/user@.service.d /run/systemd/user/sockets.target.wants
    printf '[Service]\nPAMName=\nEnvironment=XDG_RUNTIME_DIR=/run/user/%%i\n' >/run/systemd/system/user@.service.d/pam.conf
    printf '[Socket]\nListenStream=%%t/bus\n' >/run/systemd/user/dbus.socket
    printf '[Service]\nType=notify\nExecStart=/usr/bin/dbus-daemon --session --address=systemd: --nofork --nopidfile --systemd-activation\n' \
        >/run/systemd/user/dbus.service
    ln -s ../dbus.socket /run/systemd/user/sockets.target.wants/dbus.socket
    systemctl daemon-reload
}
# As the user below the user's own manager, as a terminal of a desktop is: nothing moves a process there out of a service of root's.
as_user() {
    systemctl start user-runtime-dir@$uid.service user@$uid.service
    chown -R $uid:$uid $WORK
    setpriv --reuid $uid --regid $uid --clear-groups -- env XDG_RUNTIME_DIR=/run/user/$uid HOME=$WORK USER=tess \
        systemd-run --user --quiet --wait --pipe --collect --setenv=RUNTIME=$RUNTIME --setenv=WORK=$WORK \
        --setenv=HOME=$WORK --setenv=USER=tess --setenv=XDG_RUNTIME_DIR=/run/user/$uid --setenv=PATH="$PATH" "$@"
    # With it, what podman leaves running to keep its namespaces.
    systemctl stop user@$uid.service user-runtime-dir@$uid.service
}
# transcript RUNTIME FILE
transcript() {
    export RUNTIME=$1 WORK=/tmp/work
    mkdir -p $WORK
    settings >/tmp/settings
    { cat $tests/scripts/prelude.sh; echo MANAGER=systemd; cat /tmp/settings $tests/scripts/$script.sh; } >/tmp/session
    as=; [ $CLIENT = $script ] || as=as_user
    $as sh /tmp/session >"$2" || { cat "$2"; exit 1; }
    umount -R $WORK 2>/dev/null || :
    rm -rf --one-file-system $WORK
}
[ $CLIENT = $script ] || make_user
# The same name for both: some show it.
mkdir -p /run/ours /run/theirs
cp /host/target/release/rabbitc-runtime /run/ours/tested
cp "$(command -v $REFERENCE)" /run/theirs/tested
transcript /run/ours/tested /tmp/ours
# A scope says nothing of memory that ran out once it is gone, so that is asked for without systemd alone. On cgroup v2 a user has
# all that root has.
awk '/^## / { left_out = /^## (out of memory|seen as such)/ } !left_out' $tests/expected/$script.txt >/tmp/expected
awk 'BEGIN { i = 0 } NR == FNR { line[n++] = $0; next } $0 == line[i] { i++ }
  END { if (i < n) { print "missing, or not in its place: " line[i]; exit 1 } }' /tmp/expected /tmp/ours || { cat /tmp/ours; exit 1; }
transcript /run/theirs/tested /tmp/theirs
diff /tmp/theirs /tmp/ours
