# containerd's checkpoints by its own client: into directories, and into images with the container's root, which alone can be
# restored from. What counts is in a file that the container holds open.
case $(uname -m) in x86_64) machine=amd64 ;; aarch64) machine=arm64 ;; *) machine=$(uname -m) ;; esac
tar -C root -cf layer.tar .
cat >image.json <<END
{"architecture": "$machine", "os": "linux", "config": {"Env": ["PATH=/bin"]},
 "rootfs": {"type": "layers", "diff_ids": ["sha256:$(sha256sum layer.tar | cut -d' ' -f1)"]}}
END
echo '[{"Config": "image.json", "RepoTags": ["localhost/busybox:1"], "Layers": ["layer.tar"]}]' >manifest.json
tar -cf image.tar manifest.json image.json layer.tar
c images import --snapshotter native image.tar >/dev/null || exit 1

shown() { c tasks exec --exec-id x one cat /count; }
# count NUMBER: one up is that number.
count() {
    c tasks kill --signal USR1 one
    until_true sh -c "c tasks exec --exec-id x one cat /count | grep -x $1"
}
state() { c tasks ls | sed 1d | tr -s ' ' | cut -d' ' -f1,3; }
stopped() { until_true sh -c 'c tasks ls | grep STOPPED'; }
run() { c run -d --snapshotter native --runc-binary "$RUNTIME" --log-uri "file://$WORK/log" "$@"; }

step detached run localhost/busybox:1 one sh -c "exec >/count; $counter"
step up until_true sh -c 'c tasks exec --exec-id x one cat /count | grep up'
step count count 1
step checkpoint c tasks checkpoint --image-path "$WORK/images" --work-path "$WORK/logs" one
step files ls images/inventory.img images/descriptors.json logs/dump.log
step 'left running' state
step 'count on' count 2
step 'checkpoint, exit' c tasks checkpoint --exit --image-path "$WORK/others" --work-path "$WORK/logs" one
step ended stopped
step 'files, too' ls others/inventory.img
step delete c tasks delete one
step 'delete the container' c containers delete one

step 'detached, again' run localhost/busybox:1 one sh -c "exec >/count; $counter"
step 'up, again' until_true sh -c 'c tasks exec --exec-id x one cat /count | grep up'
step 'count, again' count 1
step 'checkpoint into an image' c containers checkpoint --task --rw --image one localhost/snapshot:1
step 'left running, again' state
step 'count after it' count 2
step kill c tasks kill --signal KILL one
step stopped stopped
step 'delete, again' c tasks delete one
step 'delete the container, again' c containers delete one
step restore c containers restore --rw --live one localhost/snapshot:1
step running state
# By the runtime that made it, and not by the one that containerd calls else.
step 'known to the runtime' sh -c "$RUNTIME --root /run/containerd/runc/default state one | grep '\"status\"'"
step 'count as of the image' count 2
step 'all of it' shown
step 'pause and resume' sh -c 'c tasks pause one && c tasks resume one'
step 'kill the restored' c tasks kill --signal KILL one
step 'stopped, too' stopped
step 'delete the restored' c tasks delete one
step 'its container' c containers delete one
step 'restore without the task' sh -c "c containers restore --rw one localhost/snapshot:1; c tasks ls | sed 1d | grep -c one"
step 'kill that' c tasks kill --signal KILL one
step 'and stopped' stopped
step 'delete that' sh -c 'c tasks delete one; c containers delete one'
step nothing c containers ls --quiet

kill $daemon; wait $daemon 2>/dev/null
