#!/bin/sh
# Compares a descriptor set with that of the last release, which is the last tag like v1.2.3 that
# this commit stands on. Says so where there is none.
# Usage: breaking.sh BUF DESCRIPTOR_SET
set -eu
config=$(dirname "$0")/buf.yaml
if release=$(git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null); then
	echo "buf breaking: comparing with $release"
	git show "$release:protos/peermentor.binpb" |
		"$1" breaking "$2" --path peermentor --config "$config" --against '-#format=binpb'
elif [ "$(git rev-parse --is-shallow-repository 2>/dev/null)" = true ]; then
	echo "buf breaking: NOT COMPARED: this checkout is shallow; fetch its history and tags" >&2
else
	echo "buf breaking: NOT COMPARED: no release is tagged yet" >&2
fi
