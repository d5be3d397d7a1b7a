# buildah: its RUN steps call the runtime.
call b "buildah $OPTIONS"
call r "b run --runtime $RUNTIME --isolation oci --network none"
make_root root
from=$(b from scratch) || exit 1
b copy --quiet "$from" root / >/dev/null || exit 1
step run r "$from" -- echo hello
step 'exit status' r "$from" -- sh -c 'exit 7'
step 'no such program' quiet_error r "$from" -- /no/such
step 'user' r --user 12:34 "$from" -- id
step 'volume' r -v "$WORK:/work:ro" "$from" -- test -d /work/root
step terminal on_terminal r --tty "$from" -- tty
step commit sh -c "b commit --quiet $from base | grep -c ."
printf 'FROM localhost/base\nRUN echo built >/made\nRUN cat /made\nUSER 12:34\nRUN id -u\n' >Containerfile
step build sh -c "b build --runtime $RUNTIME --network none --isolation oci --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --quiet -f Containerfile . | grep -c ."
step clean b rm --all
b rmi --all --force >/dev/null 2>&1
