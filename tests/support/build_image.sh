#!/bin/sh
# Builds the image by its Containerfile, into a directory, and prints where its files are then.
# Needs root, buildah, and the wheels in dist/. Where the base is out of reach, it makes one from
# Debian's packages, and needs mmdebstrap.
set -eu
directory=$1
cd "$(dirname "$0")/../.."

build() {
	command=$1
	shift
	buildah --root "$directory/storage" --runroot "$directory/run" --storage-driver vfs "$command" "$@"
}

# What lets pip reach its index from here, if that needs anything.
if [ -n "${PIP_CERT:-}" ]; then
	printf '[global]\ncert = /etc/pip.pem\n' >"$directory/pip.conf"
	certificates="--volume $directory/pip.conf:/etc/pip.conf:ro --volume $PIP_CERT:/etc/pip.pem:ro"
fi

base=$(sed -n 's/^ARG BASE=//p' deploy/container/Containerfile)
if ! build pull --quiet "$base" >/dev/null 2>&1; then
	mmdebstrap --quiet --variant=minbase --include=python3-venv,ca-certificates bookworm "$directory/base.tar"
	made=$(build from scratch)
	build add --quiet "$made" "$directory/base.tar" / >/dev/null
	build run --isolation chroot "$made" -- sh -c 'ln -s python3 /usr/bin/python &&
		python -m venv /usr/local/pip && ln -s /usr/local/pip/bin/pip /usr/bin/pip'
	base=$(build commit --quiet --rm "$made")
	rm "$directory/base.tar"
fi
# shellcheck disable=SC2086 # options
build build --quiet --format docker --isolation chroot ${certificates:-} --build-arg "BASE=$base" \
	--file deploy/container/Containerfile --tag peermentor . >/dev/null
build mount "$(build from peermentor)"
