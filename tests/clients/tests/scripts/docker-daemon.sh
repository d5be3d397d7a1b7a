# Docker's daemon, which gets the runtime as a registered one. EXPERIMENTAL is true or false, MANAGER who makes
# cgroups.
export DOCKER_HOST=unix://$WORK/docker.sock
mkdir -p data exec config
export DOCKER_CONFIG=$WORK/config
cat >daemon.json <<END
{"runtimes": {"tested": {"path": "$RUNTIME"}}, "default-runtime": "tested", "experimental": $EXPERIMENTAL,
 "exec-opts": ["native.cgroupdriver=$MANAGER"]}
END
dockerd --config-file "$WORK/daemon.json" --data-root "$WORK/data" --exec-root "$WORK/exec" --pidfile "$WORK/docker.pid" \
    --host "$DOCKER_HOST" --bridge none --iptables=false --ip6tables=false --storage-driver vfs >dockerd.log 2>&1 &
daemon=$!
until_true docker version || { tail -20 dockerd.log; exit 1; }
make_root root
tar -C root -c . | docker import - busybox >/dev/null || exit 1
