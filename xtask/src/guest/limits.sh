# Each limit on cgroup v2, as the kernel enforces and counts it. Nothing is judged by time.
set -eu
root=/tmp/root
mkdir -p $root/bin
cp /bin/busybox $root/bin/busybox
for applet in sh cat dd echo sleep true; do ln -s busybox $root/bin/$applet; done
rabbitc() { /host/target/release/rabbitc --rootfs=$root --network=none "$@"; }
fail() { echo "$*"; exit 1; }
# refuse FLAG WORD: the flag is refused with the word, before anything is made.
refuse() {
  status=0
  rabbitc "$1" --cmd=/bin/true 2>/tmp/error || status=$?
  cat /tmp/error
  test $status = 125 && grep -q -e "${1%%=*}.*$2" /tmp/error || fail "$1 is not refused with $2"
}
# background NAME FLAG… SCRIPT: sets group to that of the container, which runs on.
background() {
  name=$1
  shift
  rm -f $root/up-$name
  (rabbitc "$@" >/dev/null 2>&1 || :) &
  until test -s $root/up-$name; do sleep 0.1; done
  group=$(ls -d -t /sys/fs/cgroup/rabbitc-* | head -1)
}
stop() { echo 1 >"$1/cgroup.kill"; }
value() { sed -n "s/^$1 //p" "$2"; }

echo 'memory: kills beyond the limit, and tells'
status=0
rabbitc --memory=16m -- /bin/dd if=/dev/zero of=/dev/null bs=64M count=1 2>/tmp/error || status=$?
cat /tmp/error
test $status = 137
grep -q 'out of memory.*16 MiB' /tmp/error

echo 'memory: the numbers'
background a --memory=32m --memory-swap=48m --memory-reservation=16m -- /bin/sh -c 'echo >/up-a; sleep 1000'
test "$(cat $group/memory.max)" = 33554432
test "$(cat $group/memory.low)" = 16777216
test "$(cat $group/memory.swap.max)" = 16777216
stop $group
wait

echo 'swap: none beside the memory by default, as much as asked for otherwise'
dd if=/dev/zero of=/swap bs=1M count=128 2>/dev/null
chmod 600 /swap
mkswap -q /swap
swapon /swap
fill='dd if=/dev/zero of=/dev/shm/a bs=1M count=40 2>/dev/null; echo code=$?'
rabbitc --memory=24m -- /bin/sh -c "$fill" 2>&1 | tee /tmp/output
grep -q 'out of memory' /tmp/output
rabbitc --memory=24m --memory-swap=90m -- /bin/sh -c "$fill" | tee /tmp/output
grep -qx 'code=0' /tmp/output
rabbitc --memory=24m --memory-swap=-1 -- /bin/sh -c "$fill" | tee /tmp/output
grep -qx 'code=0' /tmp/output
swapoff /swap
rm /swap

echo 'cpu: the share of the periods in which it ran'
background b --cpus=0.2 -- /bin/sh -c 'echo >/up-b; while :; do :; done'
until test "$(value nr_throttled $group/cpu.stat)" -ge 15; do sleep 0.1; done
usage=$(value usage_usec $group/cpu.stat)
periods=$(value nr_periods $group/cpu.stat)
echo "$usage microseconds in $periods periods"
# A slice of 10 ms in each is taken back only later.
test $usage -le $(((periods + 5) * 30000))
stop $group
wait

echo 'cpu: by shares against a neighbour'
background c --cpu-shares=4096 -- /bin/sh -c 'echo >/up-c; while :; do :; done'
many=$group
background d --cpu-shares=128 -- /bin/sh -c 'echo >/up-d; while :; do :; done'
few=$group
many_before=$(value usage_usec $many/cpu.stat)
few_before=$(value usage_usec $few/cpu.stat)
until test $(($(value usage_usec $many/cpu.stat) - many_before)) -ge 1500000; do sleep 0.1; done
many_used=$(($(value usage_usec $many/cpu.stat) - many_before))
few_used=$(($(value usage_usec $few/cpu.stat) - few_before))
echo "$many_used and $few_used microseconds"
test $many_used -gt $((few_used * 4))
stop $many
stop $few
wait

echo 'pids: the fork is refused'
script='for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; cat /dev/null; echo not reached'
rabbitc --pids-limit=5 -- /bin/sh -c "$script" >/tmp/output 2>&1 || :
cat /tmp/output
grep -q fork /tmp/output
! grep -q 'not reached' /tmp/output || fail 'nine tasks instead of five'

echo 'io: two readers of one disk, as their limits are to each other'
dd if=/dev/zero of=$root/../data bs=1M count=4 2>/dev/null
cp /tmp/data /data
sync
mkdir -p /disk-root
cp -r $root/bin /disk-root/
cp /data /disk-root/data
sync
disk=$(ls /dev/ubda)
number=$(cat /sys/block/ubda/dev)
bytes() { sed -n "s/^$number .*rbytes=\([0-9]*\).*/\1/p" $1/io.stat; }
read='while dd if=/data of=/dev/null bs=4k iflag=direct 2>/dev/null; do :; done'
root=/disk-root
background e --device-read-bps=$disk:64k -- /bin/sh -c "echo >/up-e; $read"
slow=$group
background f --device-read-bps=$disk:1m -- /bin/sh -c "echo >/up-f; $read"
quick=$group
grep -q "^$number rbps=65536 " $slow/io.max
until test "$(bytes $quick)" -ge 3000000 2>/dev/null; do sleep 0.1; done
echo "$(bytes $slow) and $(bytes $quick) bytes"
test "$(bytes $quick)" -gt $(($(bytes $slow) * 4))
stop $slow
stop $quick
wait
root=/tmp/root

echo 'processes: their own limits, also above those of the caller'
(
  ulimit -n 512
  rabbitc --ulimit=nofile=64:1024 -- /bin/sh -c 'ulimit -n; ulimit -Hn' | tr '\n' ' ' >/tmp/output
)
test "$(cat /tmp/output)" = '64 1024 '
test "$(rabbitc --oom-score-adj=-500 -- /bin/cat /proc/self/oom_score_adj)" = -500

echo 'shared memory: its size'
rabbitc --shm-size=2m -- /bin/dd if=/dev/zero of=/dev/shm/a bs=1M count=2
! rabbitc --shm-size=2m -- /bin/dd if=/dev/zero of=/dev/shm/a bs=1M count=3 || fail 'three megabytes fit'

echo 'words of cgroup v2 itself'
background g --cgroup-conf=memory.high=50000000 --cgroup-conf=pids.max=77 -- /bin/sh -c 'echo >/up-g; sleep 1000'
test "$(cat $group/memory.high)" = 49999872
test "$(cat $group/pids.max)" = 77
stop $group
wait

echo 'weights of disks, or a word that there are none'
rabbitc --blkio-weight=300 -- /bin/cat /sys/fs/cgroup/io.weight /sys/fs/cgroup/io.bfq.weight >/tmp/output 2>&1 || :
cat /tmp/output
grep -q -e '^default 2930$' -e '^default 300$' -e '--blkio-weight.* left out' /tmp/output

echo 'what this kernel lacks, and what v2 lacks'
grep -qw cpuset /sys/fs/cgroup/cgroup.controllers || refuse --cpuset-cpus=0 cpuset
refuse --cpu-rt-runtime=1000 'real-time'
refuse --device-read-bps=/dev/null:1m 'no block device'
for flag in --memory-swappiness=10 --oom-kill-disable --kernel-memory=8m; do
  rabbitc --memory=64m $flag --cmd=/bin/true 2>/tmp/error
  cat /tmp/error
  grep -q -e "${flag%%=*}.* is left out" /tmp/error
done
test -z "$(ls -d /sys/fs/cgroup/rabbitc-* 2>/dev/null)" || fail 'a group is left'
