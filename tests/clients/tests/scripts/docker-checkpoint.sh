# Docker's checkpoints, of which its daemon has to be told: what counts goes on where it was, in the network where it was.
# start NAME WORDS: a counter under that name.
start() {
    started=$1; shift
    docker run -d --name "$started" "$@" busybox sh -c "$counter" >/dev/null && until_true sh -c "docker logs $started | grep up"
}
# count NAME NUMBER: one up is that number.
count() { docker kill --signal USR1 "$1" >/dev/null && until_true sh -c "docker logs $1 | tail -n 1 | tr -d '\r' | grep -x $2"; }
exited() { until_true sh -c "docker inspect --format '{{.State.Status}}' $1 | grep -x exited"; }
# restore NAME CHECKPOINT: Docker gives a checkpoint to containerd, which refuses what it still has from the making of it.
restore() {
    for try in 1 2 3 4 5 6 7 8; do
        said=$(docker start --checkpoint "$2" "$1" 2>&1) && return
        case $said in *'already exists'*) sleep 1 ;; *) break ;; esac
    done
    echo "$said"; return 1
}
network() { docker exec "$1" sh -c "grep -c eth0: /proc/net/dev; grep -o '10[.]7[.]7[.]7$' /proc/net/fib_trie | head -n 1"; }

step experimental docker info --format '{{.ExperimentalBuild}}'
step network docker network create --subnet 10.7.7.0/24 nn
step detached start cc --network nn --ip 10.7.7.7 --memory 64m --pids-limit 50 --tmpfs /kept --volume "$WORK/root/etc:/volume:ro"
step count count cc 1
step 'file in memory' docker exec cc sh -c 'echo content >/kept/file'
step 'checkpoint, leave running' docker checkpoint create --leave-running cc first
step 'left running' count cc 2
step 'with its network' network cc
step checkpoint docker checkpoint create cc second
step ended exited cc
step list docker checkpoint ls cc
step restore restore cc second
step restored docker inspect --format '{{.State.Status}}' cc
step 'count on' count cc 3
step 'file of before' docker exec cc cat /kept/file
step 'volume of before' docker exec cc cat /volume/group
step 'network of before' network cc
step exec docker exec cc echo hello
step 'pause and unpause' sh -c 'docker pause cc && docker unpause cc'
step kill docker kill cc
step 'no such checkpoint' quiet_error docker start --checkpoint third cc
step 'restore from the first' restore cc first
step 'count as of the first' count cc 2
step logs docker logs cc
step 'remove a checkpoint' docker checkpoint rm cc second
step 'list the other' docker checkpoint ls cc
step stop docker stop -t 0 cc
step 'start as new' docker start cc
step 'count as new' count cc 1
step remove docker rm --force cc

step 'terminal, read-only root' start tt -i -t --network none --read-only
step 'checkpoint at a terminal' docker checkpoint create tt one
step 'ended at a terminal' exited tt
step 'restore at a terminal' restore tt one
step 'count at a terminal' count tt 1
step 'terminal of before' docker exec tt sh -c 'tty </proc/1/fd/0'
step 'remove that' docker rm --force tt
step nothing docker ps --all --quiet
step 'remove the network' docker network rm nn

kill $daemon; wait $daemon 2>/dev/null
