# podman's checkpoints: what counts goes on where it was, whatever becomes of the container in between.
call p "podman --runtime $RUNTIME --cgroup-manager $MANAGER --events-backend file $OPTIONS"
make_root root
tar -C root -c . | p import --quiet - busybox >/dev/null || exit 1
# start NAME WORDS: a counter under that name.
start() {
    started=$1; shift
    p run -d --name "$started" "$@" busybox sh -c "$counter" >/dev/null && until_true sh -c "p logs $started | grep up"
}
# count NAME NUMBER: one up is that number.
count() { p kill --signal USR1 "$1" >/dev/null && until_true sh -c "p logs $1 | tail -n 1 | tr -d '\r' | grep -x $2"; }

step detached start c --network none --memory 64m --pids-limit 50 --tmpfs /kept
step count count c 1
step 'file in memory' p exec c sh -c 'echo content >/kept/file'
step checkpoint p container checkpoint c
step checkpointed p inspect --format '{{.State.Status}} {{.State.Checkpointed}}' c
step restore p container restore c
step restored p inspect --format '{{.State.Status}} {{.State.Restored}}' c
step 'count on' count c 2
step 'file of before' p exec c cat /kept/file
step logs p logs c
step 'keep the files' p container checkpoint --keep --tcp-established --file-locks c
step kept sh -c "p inspect --format '{{.State.CheckpointPath}}/inventory.img {{.State.CheckpointLog}}' c | xargs ls >/dev/null"
step 'restore, keep' p container restore --keep --tcp-established --file-locks c
step 'count on, again' count c 3

step 'change the root' p exec c sh -c 'echo changed >/etc/changed; rm /etc/group'
step 'export, leave running' p container checkpoint --leave-running --export "$WORK/c.tar" --compress none c
step 'left running' count c 4
step remove p rm --force --time 0 c
step import p container restore --import "$WORK/c.tar"
step 'count as of the export' count c 4
step 'root as of the export' p exec c sh -c 'cat /etc/changed; test ! -e /etc/group'
step 'import under another name' p container restore --import "$WORK/c.tar" --name d
step 'the other counts' count d 4
step 'checkpoint of all' sh -c 'p container checkpoint --all | sort'
step 'restore of all' sh -c 'p container restore --all | sort'
step 'one counts on' count c 5
step 'the other, too' count d 5
step image p container checkpoint --create-image snapshot d
step 'restore from the image' p container restore --name e snapshot
step 'count as of the image' count e 6
step exec p exec e echo hello
step stop p stop --time 0 e
step wait p wait e
step 'remove all' sh -c 'p rm --force --time 0 c d e | sort'

step 'terminal, volume, read-only root' start t -t --network none --read-only --volume kept:/volume
step 'write to the volume' p exec t sh -c 'echo content >/volume/file'
step 'export, without the root' p container checkpoint --ignore-rootfs --export "$WORK/t.tar" t
step 'remove with the volume' sh -c 'p rm t && p volume rm kept'
step 'import with the volume' p container restore --ignore-rootfs --import "$WORK/t.tar"
step 'volume of before' p exec t cat /volume/file
step 'terminal of before' p exec t sh -c 'tty </proc/1/fd/0'
step 'count at a terminal' count t 1
step 'remove that' p rm --force --time 0 t

pod() { p pod create --name "$1" --network none --infra-command /bin/pause --infra-image busybox --share ipc,uts,net; }
step pod pod one
step 'in a pod' start m --pod one
step 'checkpoint in a pod' p container checkpoint m
step 'restore in a pod' p container restore m
step 'count in a pod' count m 1
step 'export out of the pod' p container checkpoint --export "$WORK/m.tar" m
step 'remove the pod' p pod rm --force --time 0 one
step 'another pod' pod other
step 'import into another pod' sh -c "p container restore --import $WORK/m.tar --pod \$(p pod inspect --format '{{.ID}}' other)"
step 'count in another pod' count m 2
step 'remove the other pod' p pod rm --force --time 0 other

step create quiet_error p create --name n --network none busybox true
step 'created, refused' quiet_error p container checkpoint n
step 'remove the created' p rm n
step nothing p ps --all --quiet
p rmi --all --force >/dev/null 2>&1
