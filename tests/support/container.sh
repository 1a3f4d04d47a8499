#!/bin/sh
# Runs a command as a container's first process: on a root that it can only read, with a /tmp of its
# own, and without any privilege. Called in namespaces of its own, as containers.py does.
# Arguments: the root; in it, the working directory; places as SOURCE:TARGET, or SOURCE:TARGET:rw if
# it may write there; --; the command.
set -eu
root=${1%/} directory=$2
shift 2
if [ -n "$root" ]; then
	mount --rbind "$root" "$root"
	mount --rbind /dev "$root/dev"
	mount -t proc proc "$root/proc"
	hidden=/run
else
	hidden="/opt /run /var/lib"
fi
kept=/mnt
mount -t tmpfs tmpfs $kept
number=0 mounted=
while [ "$1" != -- ]; do
	number=$((number + 1)) rest=${1#*:}
	source=$kept/$number
	if [ -d "${1%%:*}" ]; then mkdir $source; else : >$source; fi
	mount --bind "${1%%:*}" $source
	# Places have no spaces in their names.
	mounted="$mounted $source:$rest"
	shift
done
shift
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
for each in $hidden; do mount -t tmpfs tmpfs "$root$each"; done
mkdir -p "$root$directory"
read_only="/ $hidden"
for each in $mounted; do
	source=${each%%:*} target=${each#*:}
	case $target in *:rw) target=${target%:rw} ;; *) read_only="$read_only $target" ;; esac
	if [ -d $source ]; then
		mkdir -p "$root$target"
	else
		mkdir -p "$(dirname "$root$target")"
		: >>"$root$target"
	fi
	mount --bind $source "$root$target"
done
for each in $read_only; do mount -o remount,bind,ro "$root$each"; done
exec chroot "${root:-/}" setpriv --no-new-privs --ambient-caps=-all --inh-caps=-all \
	--bounding-set=-all env --chdir="$directory" "$@"
