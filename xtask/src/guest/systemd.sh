# Containers under systemd live on, and their limits with them, whatever becomes of who started them.
rabbitc=/host/target/release/rabbitc
subtree=/sys/fs/cgroup/machine.slice/rabbitc-containers.service
change '.process.args = ["sleep", "1000"] | .linux.resources += {
  "cpu": {"quota": 20000, "period": 100000}, "pids": {"limit": 17}, "memory": {"limit": 33554432}}'
start="cd $bundle && $runtime create \$0 </dev/null >/dev/null 2>&1 && $runtime start \$0"
holds() {
  for id in service session; do
    group=$subtree/containers/$id
    $runtime state $id | grep -q '"status": "running"' || fail "$1: $id is not running"
    test "$(cat $group/cgroup.procs | wc -l)" = 1 || fail "$1: $id is not in its group"
    test "$(cat $group/cpu.max)" = '20000 100000' || fail "$1: processors of $id: $(cat $group/cpu.max)"
    test "$(cat $group/memory.max $group/pids.max | tr '\n' ' ')" = '33554432 17 ' || fail "$1: limits of $id"
  done
  echo "they hold after: $1"
}
test ! -e $subtree
systemd-run --quiet --unit=caller -p RemainAfterExit=yes sh -c "$start" service
until $runtime state service 2>/dev/null | grep -q '"status": "running"'; do sleep 0.1; done
# What a log-in makes, and a log-out stops.
systemd-run --quiet --scope --slice=user.slice --unit=session-9 sh -c "$start; sleep 1000" session &
until $runtime state session 2>/dev/null | grep -q '"status": "running"'; do sleep 0.1; done
holds 'the start'
systemctl stop session-9.scope
holds 'the end of the session'
systemctl stop caller.service
holds 'the end of the service'
systemctl daemon-reload
# systemd works its queue of groups off before it answers for a new unit.
systemd-run --quiet --wait true
holds 'daemon-reload'
systemctl daemon-reexec
systemd-run --quiet --wait true
holds 'daemon-reexec'

echo 'later starts ask nobody'
mv /run/systemd/private /run/systemd/private-hidden
mv /run/dbus/system_bus_socket /run/dbus/hidden
touch /run/dbus/system_bus_socket
$rabbitc --rootfs=$bundle/rootfs --network=none --pids-limit=5 --cmd=/bin/true
rm /run/dbus/system_bus_socket
mv /run/dbus/hidden /run/dbus/system_bus_socket
echo 'without its own socket, systemd is asked on the bus; and its dead process is made good'
for id in service session; do
  $runtime kill $id KILL
  until $runtime state $id | grep -q '"status": "stopped"'; do sleep 0.1; done
  $runtime delete $id
done
kill $(cat $subtree/holder/cgroup.procs)
until test -z "$(cat $subtree/holder/cgroup.procs 2>/dev/null)"; do sleep 0.1; done
$rabbitc --rootfs=$bundle/rootfs --network=none --pids-limit=5 --cmd=/bin/true
mv /run/systemd/private-hidden /run/systemd/private
echo 'five at once, each of them the first'
for round in 1 2 3; do
  systemctl stop rabbitc-containers.service
  test ! -e $subtree
  pids=
  for number in 1 2 3 4 5; do
    $rabbitc --rootfs=$bundle/rootfs --network=none --memory=64m --pids-limit=5 --cmd=/bin/true &
    pids="$pids $!"
  done
  for pid in $pids; do wait $pid; done
  test -e $subtree
done

echo 'a slice of your own'
$rabbitc --rootfs=$bundle/rootfs --network=none --cgroup-parent=batch-night.slice --memory=64m --cmd=/bin/true
test -e /sys/fs/cgroup/batch.slice/batch-night.slice/rabbitc-containers-batch-night.service

echo 'an ordinary user, from a session and from inside of their own manager'
useradd -u 1000 -m tess
mkdir -p /run/systemd/system/user@.service.d
# What pam_systemd would set.
printf '[Service]\nEnvironment=XDG_RUNTIME_DIR=/run/user/%%i\n' >/run/systemd/system/user@.service.d/guest.conf
systemctl daemon-reload
systemctl start user@1000.service
cp -r $bundle/rootfs /home/tess/root
chown -R tess:tess /home/tess
cat >/tmp/user.sh <<END
export XDG_RUNTIME_DIR=/run/user/1000 HOME=/home/tess
run() { $rabbitc --rootfs=/home/tess/root --network=none "\$@"; }
run --memory=16m -- /bin/sh -c 'dd if=/dev/zero of=/dev/null bs=64M count=1; echo code=\$?'
run --cpus=0.3 --pids-limit=4 -- /bin/cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/pids.max
run --pids-limit=4 -- /bin/sh -c 'for i in 1 2 3 4 5 6; do sleep 1000 & done; cat /dev/null; echo not reached'
run --device-read-bps=/dev/ubda:1m --cmd=/bin/true
END
check() {
  cat $1
  grep -qx 'code=137' $1 || fail 'memory is not limited'
  grep -q 'out of memory.*16 MiB' $1 || fail 'no word of it'
  grep -qx '30000 100000' $1 || fail 'processors are not limited'
  grep -q fork $1 || fail 'no fork was refused'
  ! grep -q 'not reached' $1 || fail 'tasks are not limited'
  grep -q -e '--device-read-bps: .*`io` is not delegated' $1 || fail 'what is not delegated is not named'
}
systemd-run --quiet --scope --slice=user-1000.slice --unit=session-5 --uid=1000 --gid=1000 sh /tmp/user.sh \
  >/tmp/session.log 2>&1 || :
check /tmp/session.log
mkdir -p /run/user/1000/systemd/user
printf '[Service]\nType=oneshot\nExecStart=-/bin/sh -c "exec sh /tmp/user.sh >/tmp/manager.log 2>&1"\n' \
  >/run/user/1000/systemd/user/inner.service
chown -R tess /run/user/1000/systemd/user
su tess -c 'export XDG_RUNTIME_DIR=/run/user/1000; systemctl --user daemon-reload; systemctl --user start inner'
check /tmp/manager.log
test -z "$(find /sys/fs/cgroup -name 'rabbitc-????????????')" || fail 'a group is left'
