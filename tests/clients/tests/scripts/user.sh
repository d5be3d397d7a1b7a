# An ordinary user with sub-ids, who has the directory. What follows runs as that user.
echo 'tess:x:47115:47115::/tmp/work:/bin/sh' >>/etc/passwd; echo 'tess:x:47115:' >>/etc/group
echo 'tess:1878982656:65536' >/etc/subuid; echo 'tess:1878982656:65536' >/etc/subgid
mkdir -p session; chmod 700 session; cp /run/tested/script whole
chmod 755 /run/tested "$RUNTIME"
sed '/^# An ordinary user with sub-ids/,$d' whole >prelude
cat >settings <<END
OPTIONS="--storage-driver vfs --root \$WORK/storage --runroot \$WORK/run"
LIMITS= PODS=1
END
chown -R 47115:47115 "$WORK"
as_user() {
    setpriv --reuid=47115 --regid=47115 --clear-groups -- env HOME="$WORK" XDG_RUNTIME_DIR="$WORK/session" USER=tess "$@"
}
