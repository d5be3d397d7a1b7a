# sh -c THIS cgroup-view NAME COMMAND…: a command with cgroups of its own, below a group NAME in each hierarchy, which it
# sees as the root; on a hybrid host without cgroup v2, which crun and podman refuse there. Private namespaces, a
# private /run and private storage of each engine. What it started ends with it, and the group goes. Exits as the
# command does, or with 97 to 99.
set -u

# hierarchies: the cgroup file systems of a mountinfo, each as `VERSION PATH OPTIONS`. Fields before ` - ` are the
# mount's, after it the file system's: proc_pid_mountinfo(5).
hierarchies() (
    set -f
    while IFS=' ' read -r _ _ _ _ at rest; do
        IFS=' '
        set -- ${rest#*- }
        case $1 in
        cgroup2) echo "2 $at"; continue ;;
        cgroup) ;;
        *) continue ;;
        esac
        IFS=,
        options=
        for option in $3; do
            case $option in
            rw | ro | xattr) continue ;;
            # One without controllers is mounted by its name.
            name=*) option=none,$option ;;
            esac
            options=${options:+$options,}$option
        done
        echo "1 $at $options"
    done
)

# mounts: shell that mounts those hierarchies anew: made in the new cgroup namespace, a mount shows the group as its root.
mounts() {
    first=$(grep '^1 ')
    if [ -n "$first" ]; then
        echo 'mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup'
        echo "$first" | while read -r _ at options; do
            echo "mkdir -p $at; mount -t cgroup -o $options cgroup $at"
        done
    else
        cat <<'END'
mount -t cgroup2 cgroup2 /sys/fs/cgroup
# Only a group without processes of its own hands controllers on.
mkdir /sys/fs/cgroup/view
echo $$ >/sys/fs/cgroup/view/cgroup.procs
for one in $(cat /sys/fs/cgroup/cgroup.controllers); do echo "+$one" >/sys/fs/cgroup/cgroup.subtree_control; done
END
    fi
}

name=$1
shift
table=$(hierarchies </proc/self/mountinfo)
groups=$(echo "$table" | while read -r _ at _; do echo "$at/$name"; done)

make_groups() {
    for group in $groups; do
        mkdir "$group" || return
        [ -e "$group/cgroup.clone_children" ] && [ -e "$group/cpuset.cpus" ] || continue
        # A new cpuset of v1 is empty and takes no process.
        for file in cpuset.cpus cpuset.mems; do cat "${group%/*}/$file" >"$group/$file" || return; done
        echo 1 >"$group/cgroup.clone_children" || return
    done
}

# An engine's directory may not exist yet.
inside="set -e
umount -R -l /sys/fs/cgroup
$(echo "$table" | mounts)
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock
for at in containers docker containerd cni rabbitc; do
    [ ! -d /var/lib/\$at ] || mount -t tmpfs tmpfs /var/lib/\$at
done
ip link set lo up
exec \"\$@\""

# A signal to all processes of a terminal must not keep this one from tidying up.
trap : HUP INT TERM
(
    make_groups || exit 99
    for group in $groups; do sh -c 'echo $PPID >"$1"' enter "$group/cgroup.procs" || exit 98; done
    exec unshare --mount --propagation private --cgroup --net --uts --ipc --pid --fork --kill-child=KILL --mount-proc \
        sh -c "$inside" view "$@"
)
status=$?

# What is frozen dies only when it is thawed, and the last processes die a moment after their namespace's first.
tries=0
while [ $tries -lt 100 ]; do
    left=
    for group in $groups; do
        [ -d "$group" ] || continue
        find "$group" -name freezer.state -exec sh -c 'echo THAWED >"$1"' thaw {} \; 2>/dev/null
        find "$group" -depth -type d -exec rmdir {} + 2>/dev/null
        [ ! -d "$group" ] || left="$left $group"
    done
    [ -n "$left" ] || break
    tries=$((tries + 1)); sleep 0.1
done
[ -z "$left" ] || { echo "could not remove$left" >&2; exit 97; }
exit $status
