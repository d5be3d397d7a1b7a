# A memory limit of a container without root: refused while nobody keeps it, kept below the user's own systemd.
set -eu
uid=47113
echo "tess:x:$uid:$uid::/tmp:/bin/sh" >>/etc/passwd
echo "tess:x:$uid:" >>/etc/group
root=/tmp/tess/root
mkdir -p $root/bin
cp /bin/busybox $root/bin/busybox
for applet in sh cat dd; do ln -s busybox $root/bin/$applet; done
chown -R $uid:$uid /tmp/tess
install -m 755 /host/target/release/rabbitc /tmp/rabbitc
as_tess() { XDG_RUNTIME_DIR=/run/user/$uid setpriv --reuid $uid --regid $uid --clear-groups -- "$@"; }
run() { as_tess /tmp/rabbitc --rootfs=$root --network=none "$@"; }
# Without PAM, of which this small system has no configuration for user managers.
mkdir -p /run/systemd/system/user@.service.d /tmp/tess/session
printf '[Service]\nPAMName=\nEnvironment=XDG_RUNTIME_DIR=/run/user/%%i\n' >/run/systemd/system/user@.service.d/pam.conf
systemctl daemon-reload
systemctl start user-runtime-dir@$uid.service
status=0
run --memory=32m --cmd=/bin/sh >/tmp/output 2>&1 </dev/null || status=$?
cat /tmp/output
test $status = 125
grep -q -e '--memory: no group of this user' /tmp/output
test "$(run -- /bin/sh -c 'echo $$')" = 1
systemctl start user@$uid.service
test "$(run --memory=32m -- /bin/cat /sys/fs/cgroup/memory.max)" = 33554432
status=0
run --memory=32m -- /bin/dd if=/dev/zero of=/dev/null bs=200M count=1 2>/tmp/output || status=$?
cat /tmp/output
test $status = 137
grep -q 'out of memory.*32 MiB' /tmp/output
test -z "$(find /sys/fs/cgroup -name 'rabbitc-[0-9a-f]*' -not -name '*.service' -type d)"
