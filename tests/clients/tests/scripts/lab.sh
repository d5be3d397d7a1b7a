# lab.sh NAME RUNTIME SCRIPT: a machine of its own for one client. Cgroups below a group NAME, seen as the root and, on a
# hybrid host, without cgroup v2, which crun refuses there; private namespaces; private /run, /tmp, /etc, /opt and
# storage. Everything ends with the script, and the group goes.
set -u
name=$1
hierarchies=$(awk '{ for (i = 7; i < NF; i++) if ($i == "-") break; if ($(i + 1) ~ /^cgroup2?$/) print $5 }' \
    /proc/self/mountinfo)
for at in $hierarchies; do
    mkdir "$at/$name" || exit 99
    for file in cpuset.cpus cpuset.mems; do
        [ ! -e "$at/cgroup.clone_children" ] || [ ! -e "$at/$file" ] || cat "$at/$file" >"$at/$name/$file"
    done
    [ ! -e "$at/$name/cgroup.clone_children" ] || [ ! -e "$at/$name/cpuset.cpus" ] || echo 1 >"$at/$name/cgroup.clone_children"
done
export HIERARCHIES="$hierarchies"
export V1=$(awk '{ for (i = 7; i < NF; i++) if ($i == "-") break
    if ($(i + 1) != "cgroup") next
    n = split($(i + 3), all, ","); options = ""; named = ""
    for (j = 1; j <= n; j++) {
        if (all[j] ~ /^(rw|ro|xattr)$/) continue
        if (all[j] ~ /^name=/) named = "none,"
        options = options (options == "" ? "" : ",") all[j]
    }
    print $5 "=" named options }' /proc/self/mountinfo)

inside='
set -e
umount -R -l /sys/fs/cgroup
if [ -n "$V1" ]; then
    mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
    for one in $V1; do mkdir -p "${one%%=*}"; mount -t cgroup -o "${one#*=}" cgroup "${one%%=*}"; done
else
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    # Only a group without processes of its own hands controllers on.
    mkdir /sys/fs/cgroup/lab
    echo $$ >/sys/fs/cgroup/lab/cgroup.procs
    for one in $(cat /sys/fs/cgroup/cgroup.controllers); do echo "+$one" >/sys/fs/cgroup/cgroup.subtree_control; done
fi
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/tested /run/own/upper /run/own/work
cp "$1" "/run/tested/$(basename "$1")"
cp "$2" /run/tested/script
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t overlay -o lowerdir=/etc,upperdir=/run/own/upper,workdir=/run/own/work none /etc
for at in /opt /var/tmp /var/lib/containers /var/lib/docker /var/lib/containerd /var/lib/cni; do
    [ ! -d $at ] || mount -t tmpfs -o mode=1777 tmpfs $at
done
ip link set lo up
mount --make-rshared /
mkdir /tmp/work
export RUNTIME="/run/tested/$(basename "$1")" WORK=/tmp/work TMPDIR=/tmp
unset V1 HIERARCHIES XDG_RUNTIME_DIR
exec sh /run/tested/script'

(
    for at in $hierarchies; do sh -c 'echo $PPID >"$1"' move "$at/$name/cgroup.procs" || exit 98; done
    exec unshare --mount --propagation private --cgroup --net --uts --ipc --pid --fork --kill-child=KILL --mount-proc \
        sh -c "$inside" lab "$2" "$3"
)
status=$?

# What is frozen dies only when it is thawed, and the last processes die a moment after their namespace's first.
tries=0
while [ $tries -lt 100 ]; do
    left=
    for at in $hierarchies; do
        [ -d "$at/$name" ] || continue
        find "$at/$name" -name freezer.state -exec sh -c 'echo THAWED >"$1"' thaw {} \; 2>/dev/null
        find "$at/$name" -depth -type d -exec rmdir {} + 2>/dev/null
        [ ! -d "$at/$name" ] || left="$left $at/$name"
    done
    [ -n "$left" ] || break
    tries=$((tries + 1)); sleep 0.1
done
[ -z "$left" ] || { echo "left:$left"; exit 97; }
exit $status
