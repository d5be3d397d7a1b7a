# lab.sh RUNTIME DIRECTORY, in a view of cgroups of its own: a machine for one client. Private /tmp, /etc and /opt, as the
# view's /run and storage, and in /run/tested a copy of the runtime and of the directory's scripts, of which `start` runs.
set -e
mkdir -p /run/tested /run/own/upper /run/own/work
cp "$1" "$2"/* /run/tested
chmod 755 /run/tested "/run/tested/${1##*/}"
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t overlay -o lowerdir=/etc,upperdir=/run/own/upper,workdir=/run/own/work none /etc
for at in /opt /var/tmp; do mount -t tmpfs -o mode=1777 tmpfs $at; done
mount --make-rshared /
mkdir /tmp/work
export RUNTIME="/run/tested/${1##*/}" WORK=/tmp/work TMPDIR=/tmp
unset XDG_RUNTIME_DIR
exec sh /run/tested/start
