#!/bin/sh
# What the feed's builders run on the installed package: $1 is its name, $2 the version.
# shellcheck shell=dash
set -e

case $1 in
	meshd-full | meshd-tiny) ;;
	*) exit 0 ;;
esac

meshd --version | grep -qF "$2"
meshctl version 2>/dev/null | grep -qF "$2"

# Without a mesh interface a configuration is refused, with the line and the key.
file=$(mktemp)
printf 'network: village\nmesh:\n  - interface: lo\n    mode: x\n' >"$file"
if said=$(meshd --check --config "$file" 2>&1); then
	echo "meshd takes what is wrong"
	exit 1
fi
echo "$said" | grep -q 'mode' || exit 1
rm -f "$file"

if [ "$1" = meshd-full ]; then
	meshctl wallet --help >/dev/null
fi
