# containerd's CRI plugin, called as the kubelet calls it: pods and their containers, by handlers that a RuntimeClass names.
# `cri.proto` has the messages, `handler.toml` what docs/kubernetes.md puts into containerd's config.toml.
mkdir -p data state logs net.d image volume
cat >config.toml - handler.toml <<END
version = 2
root = "$WORK/data"
state = "$WORK/state"
[grpc]
address = "$WORK/c.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "localhost/pause:1"
# AppArmor's profiles are the host's. Not every root may lower oom_score_adj, as pods want it.
disable_apparmor = true
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "$WORK/net.d"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
END
sed -i "s|/usr/local/bin/rabbitc-runtime|$RUNTIME|" config.toml
case $MANAGER in
systemd) echo '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = true' >>config.toml ;;
*) sed -i 's/SystemdCgroup = true/SystemdCgroup = false/' config.toml ;;
esac
cat >net.d/bridge.conflist <<END
{"cniVersion": "0.4.0", "name": "pods", "plugins": [{"type": "bridge", "bridge": "pods0", "isGateway": true,
 "ipam": {"type": "host-local", "dataDir": "$WORK/net", "subnet": "10.88.7.0/24"}}]}
END

# cri METHOD REQUEST [FIELD…]: one call of gRPC, with the request and the answer in protobuf's text format, of which the
# fields are shown. What is 0 or empty is in no answer. Exits with gRPC's status.
cat >bin/cri <<'END'
#!/bin/sh
method=$1 request=$2; shift 2
service=RuntimeService; case $method in Image*) service=ImageService ;; esac
at=$(mktemp -d); trap 'rm -r "$at"' EXIT; cd "$at" || exit 99
echo "$request" | protoc --proto_path="$WORK" --encode="runtime.v1.${method}Request" cri.proto >request || exit 99
# Before a message: that it is not compressed, and its length in four bytes, the highest first.
length=$(wc -c <request)
printf "$(printf '\\000\\%03o\\%03o\\%03o\\%03o' $((length >> 24)) $((length >> 16 & 255)) $((length >> 8 & 255)) $((length & 255)))" >frame
cat frame request | curl --silent --show-error --http2-prior-knowledge --unix-socket "$WORK/c.sock" --max-time 120 \
    --header 'content-type: application/grpc' --header 'te: trailers' --data-binary @- --dump-header headers \
    --output answer "http://localhost/runtime.v1.$service/$method" || exit 98
trailer() { tr -d '\r' <headers | sed -n "s/^grpc-$1: //p"; }
[ "$(trailer status)" = 0 ] || { trailer message; exit "$(trailer status)"; }
tail -c +6 answer | protoc --proto_path="$WORK" --decode="runtime.v1.${method}Response" cri.proto >text || exit 97
for field; do pattern="${pattern:+$pattern|}$field"; done
[ -z "${pattern:-}" ] || sed -nE "s/^ *(($pattern): .*)/\1/p" text
END
chmod 755 bin/cri

containerd --config config.toml >containerd.log 2>&1 &
daemon=$!
until_true cri Version '' || { tail -20 containerd.log; exit 1; }

# One layer under two names. The pause sleeps until it is killed.
make_root root
for name in cut hostname ip mknod readlink tr unshare; do ln -s busybox root/bin/$name; done
printf '#!/bin/sh\nexec sleep 1000000000\n' >root/bin/pause
tar -C root --owner=0 --group=0 -cf image/layer.tar .
cat >image/config.json <<END
{"architecture": "$(uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')", "os": "linux", "config": {"Entrypoint": ["/bin/pause"], "Env": ["PATH=/bin"]},
 "rootfs": {"type": "layers", "diff_ids": ["sha256:$(sha256sum image/layer.tar | cut -d' ' -f1)"]}}
END
echo '[{"Config": "config.json", "Layers": ["layer.tar"], "RepoTags": ["localhost/pause:1", "localhost/box:1"]}]' >image/manifest.json
tar -C image -cf image.tar .
ctr --address "$WORK/c.sock" --namespace k8s.io images import image.tar >import.log 2>&1 || { cat import.log; exit 1; }
for name in pause box; do
    until_true sh -c "cri ImageStatus \"image { image: 'localhost/$name:1' }\" repo_tags | grep ." || exit 1
done

# The group of a pod is the kubelet's: made before the pod's containers, removed after them.
# As a slice, where systemd makes the groups.
parent_of() { case $MANAGER in systemd) echo "/kubepods.slice/kubepods-$1.slice" ;; *) echo "/kubepods/$1" ;; esac; }
groups() { while read -r _ at type _; do case $type in cgroup | cgroup2) echo "$at" ;; esac; done </proc/mounts; }
make_group() {
    [ "$MANAGER" != systemd ] || { systemctl start "kubepods-$1.slice"; return; }
    for at in $(groups); do
        for group in "$at/kubepods" "$at/kubepods/$1"; do
            mkdir -p "$group"
            for one in $(cat "$group/cgroup.controllers" 2>/dev/null); do echo "+$one" >"$group/cgroup.subtree_control"; done
        done
    done
}
remove_group() {
    [ "$MANAGER" != systemd ] || { systemctl stop "kubepods-$1.slice" && ! [ -e "/sys/fs/cgroup$(parent_of "$1")" ]; return; }
    for at in $(groups); do rmdir "$at/kubepods/$1" || return; done
}

# config NAME NAMESPACES [SECURITY [LINUX]]: a pod's configuration, with more of its security context and of what Linux has.
config() {
    # The host's network comes with the host's name.
    case $2 in *'network: NODE'*) ;; *) echo "hostname: '$1'" ;; esac
    echo "metadata { name: '$1' uid: 'uid-$1' namespace: 'tests' } log_directory: '$WORK/logs/$1'
        labels { key: 'app' value: '$1' } dns_config { servers: '127.0.0.1' } linux { cgroup_parent: '$(parent_of "$1")'
        security_context { namespace_options { $2 } seccomp { profile_type: RuntimeDefault } ${3:-} } ${4:-} }"
}
# The id that the last step said.
id() { expr "$said" : '.*"\(.*\)"'; }
# run_pod STEP HANDLER NAME MORE-OF-CONFIG: a pod, whose id is then $pod.
run_pod() {
    step=$1 handler=$2; shift 2
    make_group "$1"
    config=$(config "$@")
    step "$step" cri RunPodSandbox "config { $config } runtime_handler: '$handler'" pod_sandbox_id
    pod=$(id) || exit 1
}
# Whether the last pod's shim was told to call the runtime. What else lies there blocks who reads it.
calls_it() { grep -qsF "$RUNTIME" state/*/k8s.io/$pod/runtime state/*/k8s.io/$pod/options.json; }
# remove_pod STEP NAME
remove_pod() {
    step "$1, stop" cri StopPodSandbox "pod_sandbox_id: '$pod'"
    step "$1, stopped" cri PodSandboxStatus "pod_sandbox_id: '$pod'" state runtime_handler
    step "$1, remove" cri RemovePodSandbox "pod_sandbox_id: '$pod'"
    step "$1, remove its group" remove_group "$2"
}
# words WORD…: a list of them.
words() { printf "'%s', " "$@" | sed 's/^/[/; s/, $/]/'; }
# create STEP NAME SECURITY RESOURCES MORE WORD…: a container of the last pod, whose id is then $container.
create() {
    step "$1" cri CreateContainer "pod_sandbox_id: '$pod' sandbox_config { $config } config { metadata { name: '$2' }
        image { image: 'localhost/box:1' } log_path: '$2.log' linux { security_context { $3 } resources { $4 } } $5
        command: $(shift 5; words "$@") }" container_id
    container=$(id) || exit 1
}
start() { cri StartContainer "container_id: '$container'"; }
status() { cri ContainerStatus "container_id: '$container'" name state exit_code reason; }
exec_sync() { cri ExecSync "container_id: '$container' timeout: 20 cmd: $(words "$@")" stdout stderr exit_code; }
stop() { cri StopContainer "container_id: '$container' timeout: $1"; }
remove() { cri RemoveContainer "container_id: '$container'"; }
exited() { until_true sh -c "cri ContainerStatus \"container_id: '$container'\" state | grep EXITED"; }
# A line of a log is when, stdout or stderr, whether it is a full one, and the text. The two streams are in no order.
log() { cut -d' ' -f2- "logs/$1.log" | sort; }
log_has() { until_true grep -q "$2" "logs/$1.log"; }

host='network: NODE pid: CONTAINER' all='network: NODE pid: NODE ipc: NODE'
inside='while :; do sleep 0.1; done'
usual='namespace_options { pid: CONTAINER } seccomp { profile_type: RuntimeDefault }'

step version cri Version '' version runtime_name runtime_api_version
step status cri Status '' type status
step 'no such handler' quiet_error cri RunPodSandbox "config { $(config none "$host") } runtime_handler: 'none'"

# In the host's network, and by the handler that a RuntimeClass names.
run_pod pod rabbitc one "$host"
step 'pod, status' cri PodSandboxStatus "pod_sandbox_id: '$pod'" name state runtime_handler
step 'pod, of the runtime' calls_it
scopes 'cri-containerd-*'
step 'pod, in the group' sh -c "test -n \"\$(find /sys/fs/cgroup/ -path '*$(parent_of one)/*$pod*' 2>/dev/null)\""
echo 10.1.2.3 here >hosts
create create main "$usual" 'cpu_period: 100000 cpu_quota: 50000 cpu_shares: 512 memory_limit_in_bytes: 67108864 oom_score_adj: 900' \
    "working_dir: '/tmp' envs { key: 'A' value: 'b c' } mounts { container_path: '/etc/hosts' host_path: '$WORK/hosts' }
     mounts { container_path: '/volume' host_path: '$WORK/volume' readonly: true propagation: PROPAGATION_HOST_TO_CONTAINER }" \
    sh -c "trap \"echo bye; exit 3\" TERM; echo up; echo oops >&2; $inside"
main=$container
step created status
step start start
log_has one/main up && log_has one/main oops && step log log one/main
step running status
step containers cri ListContainers "filter { pod_sandbox_id: '$pod' }" name state
step exec exec_sync echo hello
step 'exec, exit status' exec_sync sh -c 'echo ill >&2; exit 9'
step 'exec, no such program' quiet_error exec_sync /no/such
step 'exec, too long' quiet_error cri ExecSync "container_id: '$container' timeout: 1 cmd: ['sleep', '71.5']"
until_true sh -c '! grep -qszx 71[.]5 /proc/[0-9]*/cmdline' && step 'exec, killed' true
step surroundings exec_sync sh -c 'echo $A; pwd; cat /etc/hosts /etc/resolv.conf /proc/self/oom_score_adj'
step 'read-only volume' exec_sync touch /volume/file
mount -t tmpfs tmpfs volume && touch volume/later && step 'mounted later' exec_sync ls /volume
umount volume
step "the host's network" exec_sync sh -c 'test $(readlink /proc/1/ns/net) = $0' "$(readlink /proc/self/ns/net)"
memory() { exec_sync sh -c 'cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes'; }
quota() { exec_sync sh -c 'grep -o ^[0-9]* /sys/fs/cgroup/cpu.max 2>/dev/null || cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us'; }
step 'limit of memory' memory
step quota quota
step update cri UpdateContainerResources "container_id: '$container' linux { memory_limit_in_bytes: 100663296 cpu_period: 100000 cpu_quota: 70000 }"
step 'limit of memory, updated' memory
step 'quota, updated' quota
step stats sh -c "cri ContainerStats \"container_id: '$container'\" value | grep -c ': [1-9]'"

create 'a debugger' debug "namespace_options { pid: TARGET target_id: '$main' }" '' '' sh -c "$inside"
step 'a debugger, start' start
step 'a debugger, sees it' exec_sync grep -c bye /proc/1/cmdline
step 'a debugger, stop' stop 0
step 'a debugger, stopped' status
step 'a debugger, remove' remove

container=$main
step stop stop 60
step stopped status
log_has one/main bye && step 'last words' log one/main
step 'start again' quiet_error start
step remove remove

create 'no such program' missing "$usual" '' '' /no/such
step 'no such program, start' quiet_error start
step 'no such program, status' status
step 'no such program, remove' remove
create crash crash "$usual" '' '' sh -c 'echo crash; exit 7'
step 'crash, start' start
exited && step crashed status && step 'crash, log' log one/crash
step 'crash, remove' remove
# Whom the kernel chooses, the shell or its child, is not the same each time. containerd listens for it once the start is
# over, and the end may be known before the cause. A scope of systemd's is gone with its last process, and what it counted is
# then not always known to containerd, with any runtime.
[ "$MANAGER" = systemd ] || {
    create 'out of memory' memory "$usual" 'memory_limit_in_bytes: 16777216' '' sh -c 'until [ -e /listened ]; do sleep 0.1; done; exec tail /dev/zero'
    step 'out of memory, start' start
    exec_sync touch /listened
    exited && until_true sh -c "cri ContainerStatus \"container_id: '$container'\" reason | grep OOMKilled"
    step 'seen as such' status
    step 'out of memory, remove' remove
}
create terminal terminal "$usual" '' 'tty: true' tty
step 'terminal, start' start
exited && step 'terminal, log' log one/terminal
create deaf deaf "$usual" '' '' sh -c "trap : TERM; echo up; $inside"
step 'deaf, start' start
log_has one/deaf up
step 'deaf, stop' stop 1
step 'deaf, killed' status
create left left "$usual" '' '' sh -c "$inside"
step 'left, start' start
# With the pod goes what is in it.
remove_pod pod one

# In a network of its own, by the node's default.
run_pod 'own network' '' two 'pid: CONTAINER' '' "sysctls { key: 'net.ipv4.ip_default_ttl' value: '33' }"
step 'own network, status' cri PodSandboxStatus "pod_sandbox_id: '$pod'" name ip state runtime_handler
step 'own network, of the runtime' calls_it
create strict strict "$usual run_as_user { value: 12 } run_as_group { value: 34 } supplemental_groups: [56, 78]
    capabilities { drop_capabilities: 'ALL' add_capabilities: 'CHOWN' } readonly_rootfs: true no_new_privs: true
    masked_paths: ['/proc/kcore', '/etc/group', '/sys/firmware', '/no/such'] readonly_paths: ['/proc/sys', '/proc/bus']" '' '' sh -c "$inside"
step 'strict, start' start
step 'strict, rights' exec_sync grep -E '^(Uid|Gid|Groups|CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/1/status
step 'strict, rights of exec' exec_sync grep -E '^(Uid|Gid|Groups|CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status
step 'strict, root' exec_sync touch /file
step 'strict, masked' exec_sync sh -c 'cat /etc/group; ls /sys/firmware'
step 'strict, read-only' exec_sync grep -E '^[^ ]+ /proc/(sys|bus) ' /proc/mounts
step 'strict, seccomp' exec_sync unshare -U true
step 'own network, link' exec_sync sh -c 'ip -o -4 addr | cut -d\" \" -f2-7; cat /proc/sys/net/ipv4/ip_default_ttl; hostname'
step 'own network, reached' quiet_error busybox ping -c 1 -W 5 10.88.7.2
create beside beside "namespace_options { pid: POD }" '' '' sh -c "$inside"
step 'beside, start' start
step 'beside, the same network' exec_sync sh -c 'ip -o -4 addr show eth0 | cut -d\" \" -f2-7'
step 'beside, the processes of the pod' exec_sync sh -c 'tr \"\\\\0\" \" \" </proc/1/cmdline'
step pods cri ListPodSandbox '' name state
remove_pod 'own network' two

# With every right, and with the host's namespaces.
run_pod privileged rabbitc three "$all" 'privileged: true'
create all all "namespace_options { $all } privileged: true" '' '' sh -c "$inside"
step 'all, start' start
step 'all, rights' exec_sync grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status
step 'all, devices' exec_sync sh -c 'test -e /dev/kmsg && echo kmsg; mknod /dev/own b 7 99; ls /dev/own; touch /proc/sys/net && echo writable'
step "all, the host's processes" exec_sync sh -c 'test -d /proc/$0' "$daemon"
remove_pod privileged three
# By another handler of the same node.
run_pod 'of runc' runc four "$host"
step 'of runc, not of the runtime' calls_it
remove_pod 'of runc' four

# What is listed is shown, and is one too many.
nothing() { listed=$("$@" 2>&1) || return 2; [ -z "$listed" ] || { echo "$listed"; return 1; }; }
step 'no pods' nothing cri ListPodSandbox '' id name state
step 'no containers' nothing cri ListContainers '' id name state
until_true sh -c '! grep -qsx containerd-shim /proc/[0-9]*/comm' && step 'no shims' true
step 'no mounts' sh -c "! grep -e ' $WORK/' -e ' /run/netns/' /proc/mounts"
step 'no namespaces' nothing ip netns list
step 'no state' nothing ls /run/containerd/runc/k8s.io

kill $daemon; wait $daemon 2>/dev/null
