#!/bin/sh
# Verifies the units with systemd-analyze, of this machine or of .venv/systemd: every line of
# theirs is known, and the exposure of each service is below 2.0.
set -eu
cd "$(dirname "$0")/../.."
own=$PWD/.venv/systemd
if ! command -v systemd-analyze >/dev/null; then
	PATH=$PATH:$own/usr/bin:$own/bin
	LD_LIBRARY_PATH=$(find "$own" -name '*.so*' -printf '%h\n' | sort -u | paste -sd:)
	SYSTEMD_UNIT_PATH=$(dirname "$(find "$own" -name network-online.target)")
	export LD_LIBRARY_PATH SYSTEMD_UNIT_PATH
fi

units=$(mktemp -d)
trap 'rm -rf "$units"' EXIT
cp deploy/systemd/peermentor*.service deploy/systemd/*.timer "$units"
# The program is here, and not where it will be installed.
sed -i "s|/opt/peermentor/|$PWD/.venv/|" "$units"/*.service
mkdir "$units/peermentor.service.d"
cp deploy/systemd/*.conf "$units/peermentor.service.d"
cd "$units"

# It exits with 0 whatever it says.
said=$(systemd-analyze verify ./*.service ./*.timer 2>&1)
if [ -n "$said" ]; then
	echo "$said" >&2
	exit 1
fi
for service in *.service; do
	if said=$(systemd-analyze security --no-pager --offline=true --threshold=19 "./$service" 2>&1); then
		echo "$said" | tail -1
	else
		echo "$said" >&2
		exit 1
	fi
done
