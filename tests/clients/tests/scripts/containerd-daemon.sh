# containerd alone, and its own client.
mkdir -p data state
cat >config.toml <<END
version = 2
root = "$WORK/data"
state = "$WORK/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "$WORK/c.sock"
END
containerd --config config.toml >containerd.log 2>&1 &
daemon=$!
call c "ctr --address $WORK/c.sock"
until_true c version || { tail -20 containerd.log; exit 1; }
make_root root
