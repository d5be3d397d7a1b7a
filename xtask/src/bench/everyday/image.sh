# sh -c THIS image DIRECTORY: an image of busybox alone, as an archive of docker's form: DIRECTORY/busybox.tar.
set -eu
export LC_ALL=C
cd "$1"
mkdir -p image/bin
cp "$(command -v busybox)" image/bin/busybox
chmod 755 image/bin/busybox
for applet in $(busybox --list); do
    [ "$applet" = busybox ] || ln -s busybox "image/bin/$applet"
done
mkdir archive
tar --create --file archive/layer.tar --owner=0 --group=0 --numeric-owner --mtime=@0 -C image bin
layer=$(sha256sum archive/layer.tar | cut -c -64)
case $(uname -m) in
x86_64) machine=amd64 ;;
aarch64) machine=arm64 ;;
*) machine=$(uname -m) ;;
esac
printf '{"architecture":"%s","os":"linux","config":{"Cmd":["true"],"Env":["PATH=/bin"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' "$machine" "$layer" >archive/config.json
echo '[{"Config":"config.json","RepoTags":["localhost/busybox:bench"],"Layers":["layer.tar"]}]' >archive/manifest.json
tar --create --file busybox.tar -C archive .
rm -r image archive
