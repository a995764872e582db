#!/bin/sh
# Installs the Debian packages that the tests use, and those named as arguments, when root on a Debian system and something is
# missing. Says plainly what is missing otherwise; the tests then say what they skip. Services are kept from starting while
# packages are installed: a test machine must not get a Docker engine or a firewall of its own by running our tests.
set -eu

packages="nftables iptables ipset conntrack iproute2 procps kmod libxml2-utils busybox-static systemd docker.io firewalld dbus ufw ansible-core openssh-client openssh-server sudo opendoas fish shellcheck $*"

missing=""
for p in $packages; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
	echo "test-deps: this is no Debian system; the tests that need$missing will be skipped" >&2
	exit 0
fi
if [ "$(id -u)" != 0 ]; then
	echo "test-deps: not root, so these Debian packages were not installed:$missing" >&2
	echo "test-deps: hint: sudo apt-get install --no-install-recommends$missing" >&2
	exit 0
fi

policy=/usr/sbin/policy-rc.d
made=""
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
	made=yes
fi
trap '[ -z "$made" ] || rm -f "$policy"' EXIT INT TERM

echo "test-deps: installing$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086 # the list is meant to be split
apt-get install -y -qq --no-install-recommends $missing >/dev/null
