# buildah: its RUN steps call the runtime.
b() { buildah $OPTIONS "$@"; }
r() { b run --runtime "$RUNTIME" "$@"; }
make_root root
from=$(b from scratch) || exit 1
b copy --quiet "$from" root / >/dev/null || exit 1
step run r --isolation oci --network none "$from" -- echo hello
step 'exit status' r --isolation oci --network none "$from" -- sh -c 'exit 7'
step 'no such program' quiet_error r --isolation oci --network none "$from" -- /no/such
step 'user' r --isolation oci --network none --user 12:34 "$from" -- id
step 'volume' r --isolation oci --network none -v "$WORK:/work:ro" "$from" -- test -d /work/root
step terminal on_terminal buildah $OPTIONS run --runtime "$RUNTIME" --isolation oci --network none --tty "$from" -- tty
step commit sh -c "buildah $OPTIONS commit --quiet $from base | grep -c ."
printf 'FROM localhost/base\nRUN echo built >/made\nRUN cat /made\nUSER 12:34\nRUN id -u\n' >Containerfile
step build sh -c "buildah $OPTIONS build --runtime $RUNTIME --network none --isolation oci --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --quiet -f Containerfile . | grep -c ."
step clean b rm --all
b rmi --all --force >/dev/null 2>&1
