# containerd by its own client: the runtime is the one that its shim calls.
by_systemd=; [ "$MANAGER" != systemd ] || by_systemd='--runc-systemd-cgroup --cgroup machine.slice:ctr:tested'
call run "c run --runc-binary $RUNTIME --env PATH=/bin $by_systemd"
inside='while :; do sleep 0.1; done'

step run run --rm --rootfs "$WORK/root" one echo hello
step 'exit status' run --rm --rootfs "$WORK/root" one sh -c 'exit 7'
step 'no such program' quiet_error run --rm --rootfs "$WORK/root" one /no/such
step 'after that' c containers delete one
step terminal on_terminal run --rm -t --rootfs "$WORK/root" one tty
step privileged run --rm --privileged --rootfs "$WORK/root" one true
step limits run --rm --memory-limit 67108864 --rootfs "$WORK/root" one true

step detached run -d --log-uri "file://$WORK/log" --rootfs "$WORK/root" two sh -c "trap 'echo bye; exit 3' TERM; echo up; $inside"
until_true grep up log
step 'log' cat log
step tasks sh -c "c tasks ls | sed 1d | tr -s ' ' | cut -d' ' -f1,3"
scopes ctr-tested.scope
step exec c tasks exec --exec-id x two echo hello
step 'exec, exit status' c tasks exec --exec-id x two sh -c 'exit 9'
step 'exec, no such program' quiet_error c tasks exec --exec-id x two /no/such
step 'exec, terminal' on_terminal c tasks exec -t --exec-id x two tty
# The shell is alone for a moment, between one sleep and the next.
until_true sh -c 'test "$(c tasks ps two | sed 1d | grep -c .)" = 2' && step processes true
step metrics sh -c "c tasks metrics two | grep -q memory.usage"
step pause c tasks pause two
step paused sh -c "c tasks ls | sed 1d | tr -s ' ' | cut -d' ' -f3"
step resume c tasks resume two
step kill c tasks kill --signal TERM two
until_true sh -c "c tasks ls | grep STOPPED"
step delete c tasks delete two
step 'delete the container' c containers delete two
step nothing c tasks ls --quiet

kill $daemon; wait $daemon 2>/dev/null
