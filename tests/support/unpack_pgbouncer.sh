#!/bin/sh
# Unpacks Debian's PgBouncer and its libraries into a directory; installs nothing, and needs no
# root but for the lists of a fresh machine.
set -eu
target=$1
packages=$(mktemp -d)
trap 'rm -rf "$packages"' EXIT
libraries() {
	apt-cache depends pgbouncer | sed -n 's/^ *|\{0,1\}Depends: \(lib[a-z0-9.+-]*\)$/\1/p' |
		grep -vE '^(libc6|libelogind0)$'
}
apt-cache show pgbouncer >/dev/null 2>&1 || apt-get -qq update
cd "$packages"
# shellcheck disable=SC2046 # a word for each package
apt-get -qq -o APT::Sandbox::User=root download pgbouncer $(libraries)
cd - >/dev/null
for package in "$packages"/*.deb; do
	dpkg -x "$package" "$target"
done
