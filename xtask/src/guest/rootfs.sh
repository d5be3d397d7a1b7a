# A shell on a busybox root, without network: the guest kernel has no nat chain for nftables.
set -eu
root=/tmp/root
mkdir -p $root/bin
cp /bin/busybox $root/bin/busybox
for applet in sh ps cat echo; do ln -s busybox $root/bin/$applet; done
/host/target/release/rabbitc --rootfs=$root --network none --memory 64m --cmd=/bin/sh -- \
  -c 'echo pid $$; cat /proc/self/cgroup' >/tmp/output
cat /tmp/output
grep -qx 'pid 1' /tmp/output
grep -qx '0::/' /tmp/output
