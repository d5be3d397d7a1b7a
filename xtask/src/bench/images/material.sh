# sh -c THIS material DIRECTORY MANY: images of this host's own files, in a registry's storage below DIRECTORY/registry and
# as archives of docker's form. The same host gives the same digests.
#
#   three   three layers: a third of its bytes each from /usr/bin, /usr/lib and /usr/share; busybox in the first
#   thirty  the same files in thirty
#   many    MANY images of two layers: busybox, and a small one that no other has
#
# DIRECTORY/layers-NAME lists the layers; DIRECTORY/size-NAME has the bytes of its archives before compression,
# compressed, and how many files it has.
set -eu
export LC_ALL=C
cd "$1"
many=$2
third=57000000
store=registry/docker/registry/v2
mkdir -p $store/blobs/sha256 work/bin

case $(uname -m) in
x86_64) machine=amd64 ;;
aarch64) machine=arm64 ;;
*) machine=$(uname -m) ;;
esac

# add DIGITS FILE: FILE becomes a blob.
add() {
    at=$store/blobs/sha256/$(printf %.2s "$1")/$1
    mkdir -p "$at"
    mv "$2" "$at/data"
}

# say NAME DIGITS…: the repository NAME has these blobs.
say() {
    repository=$store/repositories/$1
    shift
    for digits; do
        mkdir -p "$repository/_layers/sha256/$digits"
        printf 'sha256:%s' "$digits" >"$repository/_layers/sha256/$digits/link"
    done
}

# tag NAME TAG DIGITS: this manifest has this tag.
tag() {
    repository=$store/repositories/$1/_manifests
    for at in "revisions/sha256/$3" "tags/$2/current" "tags/$2/index/sha256/$3"; do
        mkdir -p "$repository/$at"
        printf 'sha256:%s' "$3" >"$repository/$at/link"
    done
}

digits() { sha256sum "$1" | cut -c -64; }

# configuration DIFF_IDS NUMBER
configuration() {
    printf '{"architecture":"%s","os":"linux","created":"2026-01-01T00:00:00Z","config":{"Cmd":["/bin/true"],"Env":["PATH=/bin"],"Labels":{"number":"%s"}},"rootfs":{"type":"layers","diff_ids":[%s]}}' "$machine" "$2" "$1"
}

# manifest CONFIG_DIGITS CONFIG_SIZE LAYERS
manifest() {
    type=application/vnd.oci.image
    printf '{"schemaVersion":2,"mediaType":"%s.manifest.v1+json","config":{"mediaType":"%s.config.v1+json","digest":"sha256:%s","size":%s},"layers":[%s]}' $type $type "$1" "$2" "$3"
}

# layer NAME LIST [MORE…]: packs the files that LIST names, and MORE of work/, as the next layer of NAME.
layer() {
    list=$PWD/$2 name=$1
    shift 2
    tar --create --file layer.tar --no-recursion --format=gnu --owner=0 --group=0 --numeric-owner --mtime=@0 \
        -C work "$@" -C / --files-from "$list"
    diff_ids=$diff_ids${diff_ids:+,}\"sha256:$(digits layer.tar)\"
    before=$((before + $(stat -c %s layer.tar)))
    gzip -n -6 -c layer.tar >layer.gz
    rm layer.tar
    blob=$(digits layer.gz) size=$(stat -c %s layer.gz)
    after=$((after + size))
    echo "$blob" >>"layers-$name"
    layers=$layers${layers:+,}{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"sha256:$blob\",\"size\":$size}
    add "$blob" layer.gz
    say "$name" "$blob"
}

begin() { diff_ids='' layers='' before=0 after=0; }

# end NAME: publishes what layers were packed as NAME:1.
end() {
    configuration "$diff_ids" 0 >config.json
    blob=$(digits config.json)
    manifest "$blob" "$(stat -c %s config.json)" "$layers" >manifest.json
    cp config.json "config-$1.json"
    add "$blob" config.json
    say "$1" "$blob"
    blob=$(digits manifest.json)
    add "$blob" manifest.json
    tag "$1" 1 "$blob"
}

# with_directories: before each path of a list, the directories on the way there that were not yet named.
with_directories() {
    awk '{
        n = split($0, part, "/"); way = ""
        for (i = 1; i < n; i++) { way = way part[i]; if (!(way in seen)) { seen[way]; print way }; way = way "/" }
        print
    }'
}

cp "$(command -v busybox)" work/bin/busybox
chmod 755 work/bin/busybox
ln -s busybox work/bin/true

# Files spread over the whole tree, as many as make a third: no file of which it takes few, or that has a name of words.
for tree in bin lib share; do
    find "/usr/$tree/" -xdev \( -type f -size -32M -o -type l \) ! -name '*[[:space:]\\]*' ! -path '*[[:space:]\\]*' -printf '%s %P\n' |
        sort -k 2 >found
    awk -v want=$third -v tree=$tree '
        NR == FNR { all += $1; next }
        { come += $1; if (taken + $1 <= come * want / (all > want ? all : want)) { taken += $1; print $1, "usr/" tree "/" $2 } }
    ' found found
done >chosen

begin
number=0
for tree in bin lib share; do
    awk -v begin="usr/$tree/" 'index($2, begin) == 1 { print $2 }' chosen | with_directories >list
    case $tree in
    bin) layer three list bin bin/busybox bin/true ;;
    *) layer three list ;;
    esac
done
end three
echo "$before $after $(wc -l <chosen)" >size-three

begin
rm -f list-*
awk 'NR == FNR { all += $1; next } { print $2 >("list-" int(come * 30 / all)); come += $1 }' chosen chosen
for number in $(seq 0 29); do
    [ -e "list-$number" ] || : >"list-$number"
    with_directories <"list-$number" >list
    case $number in
    0) layer thirty list bin bin/busybox bin/true ;;
    *) layer thirty list ;;
    esac
done
end thirty
echo "$before $after $(wc -l <chosen)" >size-thirty

# What is there of the first image, as `docker load` takes it.
mkdir three
for blob in $(cat layers-three); do
    cp "$store/blobs/sha256/$(printf %.2s "$blob")/$blob/data" "three/$blob.tar"
    names=${names-}${names:+,}\"$blob.tar\"
done
mv config-three.json three/config.json
printf '[{"Config":"config.json","RepoTags":["127.0.0.1:5000/three:1"],"Layers":[%s]}]' "$names" >three/manifest.json
tar --create --file three.tar -C three .
rm -r three

begin
: >list
layer many list bin bin/busybox bin/true
base_ids=$diff_ids base_layers=$layers base=$(cat layers-many)
mkdir many
cp "$store/blobs/sha256/$(printf %.2s "$base")/$base/data" many/base.tar
for number in $(seq "$many"); do
    diff_ids=$base_ids layers=$base_layers
    echo "$number" >work/number
    layer many list number
    cp "$store/blobs/sha256/$(printf %.2s "$blob")/$blob/data" "many/$number.tar"
    configuration "$diff_ids" "$number" >"many/$number.json"
    cp "many/$number.json" config.json
    digits=$(digits config.json)
    manifest "$digits" "$(stat -c %s config.json)" "$layers" >manifest.json
    printf '{"Config":"%s.json","RepoTags":["127.0.0.1:5000/many:%s"],"Layers":["base.tar","%s.tar"]}\n' "$number" "$number" "$number" >>entries
    add "$digits" config.json
    say many "$digits"
    digits=$(digits manifest.json)
    add "$digits" manifest.json
    tag many "$number" "$digits"
done
{ printf '['; paste -s -d , entries; printf ']'; } >many/manifest.json
tar --create --file many.tar -C many .
rm -rf many work list list-* found chosen entries config-*.json
