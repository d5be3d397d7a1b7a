# The Docker engine: two daemons' worth of work by one.
inside='while :; do sleep 0.1; done'

step 'default runtime' docker info --format '{{.DefaultRuntime}}'
step run docker run --rm --network none busybox echo hello
step 'exit status' docker run --rm --network none busybox sh -c 'exit 7'
step 'no such program' quiet_error docker run --rm --network none busybox /no/such
step 'not executable' quiet_error docker run --rm --network none busybox /etc/passwd
step 'standard input' sh -c 'echo typed | docker run --rm -i --network none busybox cat'
step terminal on_terminal docker run --rm -t --network none busybox tty
step user docker run --rm --network none --user 12:34 busybox id
step capabilities docker run --rm --network none --cap-drop all --cap-add chown busybox grep CapEff /proc/self/status
step 'read-only root' docker run --rm --network none --read-only busybox touch /file
step volume docker run --rm --network none -v "$WORK:/work:ro" busybox sh -c 'test -d /work/root && ! touch /work/x 2>/dev/null'
step init docker run --rm --network none --init busybox sh -c 'head -n1 /proc/1/status'

step detached docker run -d --name cc --network none --memory 64m --memory-swap 128m --pids-limit 50 --cpus 0.5 \
    busybox sh -c "trap 'echo bye; exit 3' TERM; echo up; $inside"
until_true sh -c 'docker logs cc | grep up'
step state docker inspect --format '{{.State.Status}} {{.HostConfig.Runtime}} {{.HostConfig.Memory}}' cc
scopes 'docker-*'
memory() { docker exec "$1" sh -c 'cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes'; }
step 'limit of memory' memory cc
step exec docker exec cc echo hello
step 'exec, exit status' docker exec cc sh -c 'exit 9'
step 'exec, no such program' quiet_error docker exec cc /no/such
step 'exec, user and environment' docker exec --user 5:6 --env A=b --workdir /tmp cc sh -c 'id -u; id -g; echo $A; pwd'
step 'exec, terminal' on_terminal docker exec -t cc tty
step pause docker pause cc
step paused docker inspect --format '{{.State.Status}}' cc
step unpause docker unpause cc
step update docker update --memory 100m --memory-swap 200m cc
step updated memory cc
step top sh -c "docker top cc -o pid,comm | grep -c sh"
step stats sh -c "docker stats --no-stream --format '{{.PIDs}}' cc | grep -c '[1-9]'"
step 'kill with a signal that it ignores' docker kill --signal WINCH cc
step stop docker stop -t 60 cc
step stopped docker inspect --format '{{.State.Status}} {{.State.ExitCode}}' cc
step logs docker logs cc
step 'start again' docker start cc
step kill docker kill cc
step wait docker wait cc
step remove docker rm cc
# Whom the kernel chooses, the shell or its child, is not the same each time: so the shell says nothing of it. containerd listens
# for it once the start is over. A scope of systemd's is gone with its last process, and what it counted is then not always known
# to containerd, with any runtime.
[ "$MANAGER" = systemd ] || {
    until_true docker exec oo touch /listened &
    step 'out of memory' docker run --name oo --network none --memory 16m --memory-swap 16m busybox sh -c 'exec 2>/dev/null
        until [ -e /listened ]; do sleep 0.1; done; head -c 100m /dev/zero | grep -c x'
    step 'seen as such' docker inspect --format '{{.State.OOMKilled}} {{.State.ExitCode}}' oo
    docker rm oo >/dev/null
}
step 'health check' docker run -d --name hh --network none --health-cmd 'test -e /tmp/well' --health-interval 0.2s busybox sh -c "$inside"
step 'make well' docker exec hh touch /tmp/well
until_true sh -c "docker inspect --format '{{.State.Health.Status}}' hh | grep -x healthy" && step well true
step restart docker restart -t 0 hh
step 'remove by force' docker rm --force hh
step nothing docker ps --all --quiet

kill $daemon; wait $daemon 2>/dev/null
