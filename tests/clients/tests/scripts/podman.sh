# podman, as root or as an ordinary user: what people do with it, one call after the other.
call p "podman --runtime $RUNTIME --cgroup-manager $MANAGER --events-backend file $OPTIONS"
inside='while :; do sleep 0.1; done'
memory() { p exec "$1" sh -c 'cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes'; }
pids() { p exec "$1" sh -c 'cat /sys/fs/cgroup/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids/pids.max'; }

make_root root
tar -C root -c . | p import --quiet - busybox >/dev/null || exit 1

step run p run --rm --network none busybox echo hello
step 'exit status' p run --rm --network none busybox sh -c 'exit 7'
step 'no such program' p run --rm --network none busybox /no/such
step 'not executable' p run --rm --network none busybox /etc/passwd
step 'standard input' sh -c "echo typed | p run --rm -i --network none busybox cat"
step terminal on_terminal p run --rm -t --network none busybox tty
step user p run --rm --network none --user 12:34 busybox id
step capabilities p run --rm --network none --cap-drop all --cap-add chown busybox grep CapEff /proc/self/status
step 'read-only root' p run --rm --network none --read-only busybox touch /file
step volume p run --rm --network none -v "$WORK:/work:ro" busybox sh -c 'test -d /work/root && ! touch /work/x 2>/dev/null'
step sysctl p run --rm --network none --sysctl net.ipv4.ip_default_ttl=33 busybox cat /proc/sys/net/ipv4/ip_default_ttl
step privileged p run --rm --network none --privileged busybox sh -c 'test -e /dev/null && grep -c Seccomp:.0 /proc/self/status'

step detached p run -d --name c --network none $LIMITS busybox sh -c "trap 'echo bye; exit 3' TERM; echo up; $inside"
until_true sh -c "p logs c | grep up"
step state p inspect --format '{{.State.Status}} {{.HostConfig.Memory}} {{.HostConfig.PidsLimit}}' c
scopes 'libpod-*'
[ -z "$LIMITS" ] || { step 'limit of memory' memory c; step 'limit of tasks' pids c; }
step exec p exec c echo hello
step 'exec, exit status' p exec c sh -c 'exit 9'
step 'exec, no such program' p exec c /no/such
step 'exec, user and environment' p exec --user 5:6 --env A=b --workdir /tmp c sh -c 'id -u; id -g; echo $A; pwd'
step 'exec, terminal' on_terminal p exec -t c tty
step 'exec, detached' p exec -d c touch /tmp/made
until_true p exec c test -e /tmp/made
[ -z "$LIMITS" ] || {
    step pause p pause c
    step paused p inspect --format '{{.State.Status}}' c
    step 'exec, paused' p exec c true
    step unpause p unpause c
    step update p update --memory 100m --memory-swap 200m c
    step updated memory c
    step top sh -c "p top c pid comm | sed 1d | sort | grep -c sh"
    step stats sh -c "p stats --no-stream --format '{{.PIDs}}' c | grep -c '[1-9]'"
}
step copy p cp root/etc/group c:/tmp/copied
step copied p exec c cat /tmp/copied
step 'kill with a signal that it ignores' p kill --signal WINCH c
step stop p stop --time 60 c
step stopped p inspect --format '{{.State.Status}} {{.State.ExitCode}}' c
step logs p logs c
step 'start again' p start c
until_true sh -c "p logs c | grep -A9 bye | grep up"
step kill p kill c
step wait p wait c
step killed p inspect --format '{{.State.Status}} {{.State.ExitCode}}' c
step remove p rm c

step 'health check' p run -d --name h --network none --health-cmd 'test -e /tmp/well' --health-interval disable busybox sh -c "$inside"
step 'not well' p healthcheck run h
step 'make well' p exec h touch /tmp/well
step well p healthcheck run h
step restart p restart --time 0 h
step 'remove by force' p rm --force --time 0 h

[ -z "$PODS" ] || {
    step pod p pod create --name pod --network none --infra-command /bin/pause --infra-image busybox --share ipc,uts,net
    step 'in a pod' p run -d --pod pod --name one busybox sh -c "$inside"
    step 'beside it' p run --rm --pod pod busybox sh -c 'test -d /proc/self'
    step 'pod, pause' p pod pause pod
    step 'pod, unpause' p pod unpause pod
    step 'pod, kill' p pod kill pod
    step 'pod, remove' p pod rm --force --time 0 pod
}
step nothing p ps --all --quiet
p rmi --all --force >/dev/null 2>&1
