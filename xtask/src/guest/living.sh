# Containers live on, whatever becomes of who made them: a logout, the end of a unit, a reload of systemd; and a boot brings back
# what is to run. The guest starts again below this very run, so that the script runs twice: the disk tells which time it is.
set -eu
# What the host shares is there only while this runs, and a unit starts before that.
rabbitc=/usr/local/bin/rabbitc
root=/var/lib/living
fail() { echo "$*"; exit 1; }
field() { $rabbitc inspect --format "{{$2}}" "$1"; }
is() { test "$(field "$1" "$2")" = "$3" || fail "$2 of $1 is $(field "$1" "$2") and not $3: $(field "$1" 'json .State')"; }
run="$rabbitc run -d --rootfs=$root --network=none --memory=64m --stop-timeout=1"
sleeps='sleep 100000'

if test ! -e $root; then
  install -m 755 /host/target/release/rabbitc $rabbitc
  mkdir -p $root/bin
  cp /bin/busybox $root/bin/busybox
  for applet in sh sleep true; do ln -s busybox $root/bin/$applet; done
  $rabbitc system install
  test "$(systemctl is-enabled rabbitc.service)" = enabled
  systemctl start rabbitc.service

  systemd-run --quiet --wait $run --name=of-service --restart=always --cmd=/bin/sh -- -c "echo up; $sleeps"
  # What a log-in makes, and a log-out stops.
  systemd-run --quiet --scope --slice=user.slice --unit=session-9 \
    sh -c "$run --name=of-session --restart=unless-stopped --cmd=/bin/sh -- -c 'echo up; $sleeps' && sleep 1000" &
  systemd-run --quiet --unit=caller -p RemainAfterExit=yes $run --name=of-caller --cmd=/bin/sh -- -c "$sleeps"
  living='of-service of-session of-caller'
  for name in $living; do until $rabbitc ps -q --filter name=$name | grep -q .; do sleep 0.1; done; done
  pids() { for name in $living; do field $name .State.Pid; done; }
  monitors() {
    for each in /proc/[0-9]*; do
      tr '\0' ' ' <$each/cmdline 2>/dev/null | grep -q internal-monitor && echo ${each#/proc/}
    done
    true
  }
  pids >/tmp/pids
  monitors >/tmp/monitors
  test "$(wc -l </tmp/monitors)" = 3 || fail "one monitor for each: $(cat /tmp/monitors)"
  holds() {
    pids | cmp - /tmp/pids || fail "after $1: other processes"
    monitors | cmp - /tmp/monitors || fail "after $1: other monitors"
    for name in $living; do
      is $name .State.Status running
      $rabbitc exec $name true || fail "after $1: nothing can be executed in $name"
    done
    echo "they hold after: $1"
  }
  holds 'the start'
  systemctl stop session-9.scope
  holds 'the end of the session'
  systemctl stop caller.service
  holds 'the end of the unit'
  systemctl daemon-reload
  # systemd works its queue of groups off before it answers for a new unit.
  systemd-run --quiet --wait true
  holds 'daemon-reload'
  systemctl daemon-reexec
  systemd-run --quiet --wait true
  holds 'daemon-reexec'

  for policy in always unless-stopped; do
    $run --name=stopped-$policy --restart=$policy --cmd=/bin/sleep -- 100000
    $rabbitc stop -t 0 stopped-$policy
  done
  $run --name=passing --rm --cmd=/bin/sleep -- 100000
  $run --name=ended --cmd=/bin/sh -- -c 'exit 3'
  test "$($rabbitc wait ended)" = 3
  $run --name=failing --restart=on-failure --cmd=/bin/sh -- -c "$sleeps"
  cp /proc/sys/kernel/random/boot_id $root
  # This boot's command is not the last: the power stays on.
  mkdir -p /run/systemd/system/rabbitc-guest.service.d
  printf '[Service]\nExecStopPost=\n' >/run/systemd/system/rabbitc-guest.service.d/boots.conf
  systemctl daemon-reload
  systemctl --no-block reboot
  exec sleep 1000
fi

echo 'the second boot'
cmp -s /proc/sys/kernel/random/boot_id $root/boot_id && fail 'it is the same boot'
until test "$(systemctl is-active rabbitc.service)" = active; do
  test "$(systemctl is-active rabbitc.service)" != failed || fail "$(systemctl status rabbitc.service)"
  sleep 0.2
done
$rabbitc ps -a
for name in of-service of-session stopped-always; do
  is $name .State.Status running
  $rabbitc exec $name true
done
for name in of-service of-session; do
  test "$($rabbitc logs $name | grep -cx up)" = 2 || fail "the log of both boots: $($rabbitc logs $name)"
done
# Shut down in order, each was asked to stop, and then killed, which somebody has seen.
for name in of-caller failing; do
  is $name .State.Status exited
  is $name .State.ExitCode 137
done
is stopped-unless-stopped .State.Status exited
is ended .State.Status exited
is ended .State.ExitCode 3
$rabbitc inspect passing >/dev/null 2>&1 && fail 'one that was to be removed at its end is there'
$rabbitc start of-caller
is of-caller .State.Status running
$rabbitc rm -af
test -z "$($rabbitc ps -aq)"
$rabbitc system check
$rabbitc system install --remove
test ! -e /etc/systemd/system/rabbitc.service
test -z "$(ls /run/rabbitc/containers 2>/dev/null)" || fail "left: $(ls /run/rabbitc/containers)"
