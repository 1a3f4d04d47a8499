#!/bin/sh
# Unpacks a package of Debian's and its libraries into a directory; installs nothing, and needs no
# root but for the lists of a fresh machine.
set -eu
package=$1 target=$2
packages=$(mktemp -d)
trap 'rm -rf "$packages"' EXIT
# Every machine has the C library, and no web page of a program is looked at here.
libraries() {
	apt-cache depends "$package" | sed -n 's/^ *|\{0,1\}Depends: \(lib[a-z0-9.+-]*\)$/\1/p' |
		grep -vE '^(libc6|libelogind0|libjs-.*)$' || true
}
apt-cache show "$package" >/dev/null 2>&1 || apt-get -qq update
cd "$packages"
# shellcheck disable=SC2046 # a word for each package
apt-get -qq -o APT::Sandbox::User=root download "$package" $(libraries)
cd - >/dev/null
for each in "$packages"/*.deb; do
	dpkg -x "$each" "$target"
done
