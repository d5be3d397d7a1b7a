# The session of an ordinary user with sub-ids, who has the directory.
echo 'tess:x:47115:47115::/tmp/work:/bin/sh' >>/etc/passwd; echo 'tess:x:47115:' >>/etc/group
echo 'tess:1878982656:65536' >/etc/subuid; echo 'tess:1878982656:65536' >/etc/subgid
mkdir "$WORK/session"; chmod 700 "$WORK/session"
chown -R 47115:47115 "$WORK"
setpriv --reuid=47115 --regid=47115 --clear-groups -- \
    env HOME="$WORK" XDG_RUNTIME_DIR="$WORK/session" USER=tess sh /run/tested/session
