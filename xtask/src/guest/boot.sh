# Boots the guest kernel: sh boot.sh TREE GUEST PROJECT RUN INIT, in a mount namespace of its own.
# The kernel is a program of a newer Debian than the host may be, so it runs with the guest tree as its root.
# It inspects its own memory layout, so starting it through that tree's loader does not work.
set -e
tree=$1 guest=$2 project=$3 run=$4 init=$5
exec 3>&1 4>&2 >"$run/console" 2>&1
mount -t proc proc "$tree/proc"
# The guest's memory is a file here; a real file system would write it back.
mount -t tmpfs -o mode=1777 tmpfs "$tree/tmp"
mkdir -p "$tree/host" "$tree/guest" "$tree/guest-run"
mount --bind "$project" "$tree/host"
mount --bind "$guest" "$tree/guest"
mount --bind "$run" "$tree/guest-run"
cd "$tree"
exec chroot "$tree" /usr/bin/env -i TMPDIR=/tmp HOME=/tmp PATH=/usr/bin:/usr/lib/uml \
  /guest/kernel/usr/bin/linux.uml mem=1500M ubd0=/tmp/cow,/guest/image root=/dev/ubda rw init="$init" \
  con=null con0=null,fd:1 ssl=null ssl0=null,fd:3 ssl1=null,fd:4 console=tty0 quiet rabbitc.run=/guest-run \
  </dev/null
