#!/bin/sh
# Runs the command that the host left in the run directory; its output goes to two serial lines, its status to a file.
for word in $(cat /proc/cmdline); do
  case $word in rabbitc.run=*) run=${word#rabbitc.run=} ;; esac
done
mkdir -p /host /run/host-run /lib/modules
mount -t hostfs none /host -o hostfs=/host
mount -t hostfs none /run/host-run -o hostfs="$run"
mount -t hostfs none /lib/modules -o hostfs=/guest/kernel/usr/lib/uml/modules
stty -F /dev/ttyS0 raw -echo
stty -F /dev/ttyS1 raw -echo
cd /host || exit 1
export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
sh /run/host-run/command </dev/null >/dev/ttyS0 2>/dev/ttyS1
echo $? >/run/host-run/status
# The lines must run empty before the power goes.
stty -F /dev/ttyS0 drain
stty -F /dev/ttyS1 drain
sync
