# In front of the checks that use rabbitc-runtime: a bundle on a busybox root, made by `spec`, as the working directory.
set -eu
runtime=/host/target/release/rabbitc-runtime
bundle=/tmp/bundle
fail() { echo "$*"; exit 1; }
# change FILTER: config.json, by jq.
change() { jq "$1" config.json >new && mv new config.json; }
mkdir -p $bundle/rootfs/bin
cp /bin/busybox $bundle/rootfs/bin/busybox
for applet in sh cat dd echo sleep true mkdir; do ln -s busybox $bundle/rootfs/bin/$applet; done
cd $bundle
$runtime spec
change '.process.terminal = false'
