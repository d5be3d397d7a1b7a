# Container after container, each a scope of systemd's: what one cycle leaves in the kernel or in systemd, all would pile up.
cycles=100
change '.process.args = ["sleep", "1000"]'
# All but kernel threads, which come and go as they like.
traces() {
  {
    echo groups; find /sys/fs/cgroup -type d | sort
    echo mounts; cat /proc/self/mountinfo
    echo files; find /run $bundle | sort
    echo units; systemctl list-units --all --plain --no-legend | cut -d' ' -f1 | sort
    echo "systemd's descriptors"; ls /proc/1/fd | wc -l
    echo processes; ps --ppid 2 -p 2 --deselect -o comm= | sort
  } >$1
}
cycle() {
  $runtime --systemd-cgroup create one </dev/null >/dev/null 2>&1
  $runtime start one
  $runtime kill one KILL
  until $runtime state one | grep -q '"status": "stopped"'; do sleep 0.01; done
  $runtime delete one
}
echo 'the boot is over, but for what waits for this'
until test -z "$(systemctl list-jobs --plain --no-legend | grep -v -e rabbitc-guest.service -e '[.]target')"; do sleep 0.1; done
# The first one makes what stays.
cycle
traces /tmp/before
for number in $(seq $cycles); do cycle; done
traces /tmp/after
diff /tmp/before /tmp/after || fail 'something is left'
echo "$cycles cycles left nothing"
