# --systemd-cgroup: each container is a scope of systemd's, with its limits as properties, for root and for a user.
change '.process.args = ["sleep", "1000"]
  | .annotations = {"org.systemd.property.TimeoutStopSec": "7", "org.systemd.property.Documentation": "['"'man:tess'"']"}
  | .linux.cgroupsPath = "batch-night.slice:pod:web"
  | .linux.resources += {
    "cpu": {"quota": 20000, "period": 100000, "shares": 512}, "pids": {"limit": 17},
    "memory": {"limit": 33554432, "swap": 33554432}, "unified": {"memory.high": "30000000"}}'
scope=pod-web.scope
group=/sys/fs/cgroup/batch.slice/batch-night.slice/$scope
create() { $runtime --systemd-cgroup create "$1" </dev/null >/tmp/created 2>&1; }
start() { create "$1" && $runtime --systemd-cgroup start "$1"; }
property() { systemctl show --value --property "$1" $scope; }
is() { test "$(property "$1")" = "$2" || fail "$1 is $(property "$1") and not $2"; }
file() { test "$(cat $group/$1)" = "$2" || fail "$1 is $(cat $group/$1) and not $2"; }
limits() {
  is MemoryMax 33554432; is MemorySwapMax 0; is MemoryHigh 30000000; is TasksMax 17
  is CPUQuotaPerSecUSec 200ms; is CPUWeight 59; is Delegate yes; is Slice batch-night.slice
  file memory.max 33554432; file pids.max 17; file cpu.max '20000 100000'; file cpu.weight 59
}
start web
limits
is TimeoutStopUSec 7s
is Documentation man:tess
test "$(wc -l <$group/cgroup.procs)" = 1 || fail 'more than init is in the scope'
$runtime exec web sh -c 'cat /proc/self/cgroup' | grep -qx 0::/ || fail 'exec is not in the scope'
systemctl daemon-reload
systemd-run --quiet --wait true
limits

echo 'an update reaches systemd and the files'
$runtime update --memory 48m --memory-swap 64m --cpu-period 200000 --pids-limit 0 web
is MemoryMax 50331648; is MemorySwapMax 16777216; is TasksMax 1; is CPUQuotaPerSecUSec 100ms
file memory.max 50331648; file memory.swap.max 16777216; file pids.max 1; file cpu.max '20000 200000'
# One hundredth is systemd's smallest step, so what it keeps is what the kernel gets.
$runtime update --cpu-quota 12345 --cpu-period 100000 --memory-swap 60m web
is CPUQuotaPerSecUSec 130ms; file cpu.max '13000 100000'; file memory.swap.max 12582912
systemctl daemon-reload
systemd-run --quiet --wait true
file cpu.max '13000 100000'; file memory.max 50331648; file pids.max 1

echo 'a scope that is in use is refused and stays'
create other && fail 'two containers in one scope'
grep -q "container's cgroup is not empty" /tmp/created || fail "$(cat /tmp/created)"
$runtime state other 2>/dev/null && fail 'its state is left'
$runtime state web | grep -q '"status": "running"' || fail 'the first one ended'

echo 'paused, killed and deleted, the unit goes'
$runtime pause web
is FreezerState running # systemd's own freezer is another
$runtime state web | grep -q '"status": "paused"'
$runtime exec web true 2>/tmp/refused && fail 'exec in a paused container'
grep -q 'cannot exec in a paused container' /tmp/refused
$runtime resume web
$runtime delete --force web
test ! -e $group || fail 'the group is left'
is LoadState not-found
# The next of that name starts at once.
for round in 1 2 3; do start web; $runtime delete --force web; done

echo 'what systemd stops is stopped; what runs out of memory leaves no failed unit behind'
start web
systemctl stop $scope
until $runtime state web | grep -q '"status": "stopped"'; do sleep 0.1; done
test "$($runtime ps --format json web)" = '[]' || fail 'ps lists processes of what is stopped'
$runtime delete web
change '.process.args = ["dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"]
  | del(.linux.resources.unified)'
status=0
$runtime --systemd-cgroup run hungry </dev/null >/tmp/output 2>&1 || status=$?
test $status = 137 || fail "it ended with $status: $(cat /tmp/output)"
# The scope's own file has gone with it; the slice counts what was killed below it.
grep -qx 'oom_kill 1' ${group%/*}/memory.events || fail "it was not killed for memory: $(cat ${group%/*}/memory.events)"
is LoadState not-found

echo 'a unit that failed tells so until its container is deleted'
change '.process.args = ["sleep", "1000"] | .annotations["org.systemd.property.RuntimeMaxSec"] = "1"
  | .annotations["org.systemd.property.TimeoutStopSec"] = "1"'
start web
until $runtime state web | grep -q '"status": "stopped"'; do sleep 0.1; done
until test "$(property ActiveState)" = failed; do sleep 0.1; done
is Result timeout
$runtime delete web
is LoadState not-found
change 'del(.annotations["org.systemd.property.RuntimeMaxSec"])'

echo 'one task at most is room for init'
change '.linux.resources.pids.limit = 1 | .process.args = ["/bin/true"]'
$runtime --systemd-cgroup run single </dev/null

echo 'a property that systemd does not know, or takes otherwise, is an error before anything is made'
for annotation in 'org.systemd.property.NoSuchThing": "true' 'org.systemd.property.TimeoutStopSec": "soon'; do
  jq ".annotations = {\"$annotation\"}" config.json >/tmp/other.json
  mkdir -p /tmp/refused.d && cp /tmp/other.json /tmp/refused.d/config.json && ln -sfn $bundle/rootfs /tmp/refused.d/rootfs
  $runtime --systemd-cgroup run --bundle /tmp/refused.d refused </dev/null >/tmp/output 2>&1 && fail "$annotation"
  cat /tmp/output
  grep -q -e NoSuchThing -e TimeoutStopSec /tmp/output || fail 'it is not named'
done
test -z "$(ls /run/rabbitc-runtime 2>/dev/null)" || fail 'state is left'
is LoadState not-found

echo 'a runtime that dies while systemd works leaves no scope'
change '.process.args = ["sleep", "1000"] | .annotations = {}'
for number in 1 2 3 4 5 6; do
  $runtime --systemd-cgroup create dying </dev/null >/dev/null 2>&1 &
  pid=$!
  sleep 0.0$number
  kill -KILL $pid 2>/dev/null || :
  wait $pid 2>/dev/null || :
  $runtime delete --force dying || fail 'it can not be deleted'
  until test "$(property LoadState)" = not-found; do sleep 0.1; done
  test ! -e $group || fail 'a group is left'
done

echo 'a program follows init out of a group that it has divided, unless the caller says where'
change '.linux.resources.pids.limit = 20
  | .mounts |= map(if .type == "cgroup" then .options -= ["ro"] else . end)'
start divided
$runtime exec divided sh -c 'cd /sys/fs/cgroup && mkdir in && echo 1 >in/cgroup.procs && echo $$ >in/cgroup.procs \
  && echo +memory >cgroup.subtree_control'
test "$($runtime exec divided cat /proc/self/cgroup)" = 0::/in || fail 'it does not follow'
test "$($runtime exec --cgroup in divided cat /proc/self/cgroup)" = 0::/in || fail 'it is not where it was put'
$runtime exec --cgroup / divided true 2>/tmp/refused && fail 'a program in a divided group'
grep -q 'adding pid .* to cgroups.*device or resource busy' /tmp/refused || fail "$(cat /tmp/refused)"
$runtime delete --force divided
test ! -e $group || fail 'the group is left'

echo "without a cgroup namespace of its own a user namespace sees the host's groups, and owns none"
change '.linux.namespaces |= map(select(.type != "cgroup")) | .linux.namespaces += [{"type": "user"}]
  | .linux.uidMappings = [{"containerID": 0, "hostID": 100000, "size": 65536}]
  | .linux.gidMappings = .linux.uidMappings
  | .process.args = ["sh", "-c", "cat /sys/fs/cgroup/cgroup.controllers && ! mkdir /sys/fs/cgroup/x"]'
chown 100000 $bundle $bundle/rootfs
$runtime --systemd-cgroup run others </dev/null || fail 'it does not see them'
change 'del(.linux.uidMappings, .linux.gidMappings)
  | .linux.namespaces |= map(select(.type != "user")) | .process.args = ["sleep", "1000"]'
chown 0 $bundle $bundle/rootfs

echo 'a user has scopes of their own systemd'
uid=47114
echo "tess:x:$uid:$uid::/tmp:/bin/sh" >>/etc/passwd
echo "tess:x:$uid:" >>/etc/group
mkdir -p /run/systemd/system/user@.service.d /tmp/tess
printf '[Service]\nPAMName=\nEnvironment=XDG_RUNTIME_DIR=/run/user/%%i\n' >/run/systemd/system/user@.service.d/pam.conf
systemctl daemon-reload
systemctl start user-runtime-dir@$uid.service
install -m 755 $runtime /tmp/rabbitc-runtime
cp -r $bundle/rootfs /tmp/tess/rootfs
as_tess() {
  XDG_RUNTIME_DIR=/run/user/$uid setpriv --reuid $uid --regid $uid --clear-groups -- \
    sh -c 'cd /tmp/tess && exec "$@"' as-tess "$@"
}
chown -R $uid:$uid /tmp/tess
as_tess /tmp/rabbitc-runtime spec --rootless
jq '.process.terminal = false | .process.args = ["sleep", "1000"]
  | .linux.resources = {"memory": {"limit": 33554432}, "pids": {"limit": 9}}' /tmp/tess/config.json >new
mv new /tmp/tess/config.json
as_tess /tmp/rabbitc-runtime --systemd-cgroup create mine </dev/null >/tmp/output 2>&1 && fail 'without a manager'
grep -q 'enable-linger' /tmp/output || fail "$(cat /tmp/output)"
systemctl start user@$uid.service
as_tess /tmp/rabbitc-runtime --systemd-cgroup create mine </dev/null >/tmp/output 2>&1 || fail "$(cat /tmp/output)"
as_tess /tmp/rabbitc-runtime start mine
group=/sys/fs/cgroup/user.slice/user-$uid.slice/user@$uid.service/user.slice/rabbitc-mine.scope
file memory.max 33554432; file pids.max 9
test "$(wc -l <$group/cgroup.procs)" = 1 || fail 'init is not in the scope'
as_tess /tmp/rabbitc-runtime exec mine true
as_tess /tmp/rabbitc-runtime update --pids-limit 12 mine
file pids.max 12
as_tess /tmp/rabbitc-runtime delete --force mine
test ! -e $group || fail 'the group is left'
