# A busybox bundle made by `spec`: runs, prints, has its memory limit in a group of its own, and leaves nothing.
# Under systemd the first container brings a unit for all of them, which stays.
groups() { find /sys/fs/cgroup -type d | grep -v -x -e '.*/machine.slice' -e '.*/rabbitc-containers.service' -e '.*/holder' -e '.*/containers' | sort; }
change '.process.args = ["sh", "-c", "echo pid $$; cat /proc/self/cgroup; exit 7"]'
groups >/tmp/before
status=0
$runtime run first >/tmp/output || status=$?
cat /tmp/output
test $status = 7
grep -qx 'pid 1' /tmp/output
grep -qx '0::/' /tmp/output
groups | diff /tmp/before -
