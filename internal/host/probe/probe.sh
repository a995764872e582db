# shellcheck shell=sh disable=SC2034,SC2086,SC2154,SC2254,SC3013
# (lists are split on purpose, patterns are meant to match as such, -ef is known to every shell that is somebody's sh)
#
# ctaudit's probe: reads what an audit needs from this node, and prints it. It writes no file, changes no setting, opens no
# connection and loads no kernel module. The needs stand at the end, one a line. All that it reads besides them:
#   /proc/self/mountinfo, its lines about /proc, /sys and named network namespaces, to tell "not there" from "hidden";
#   /proc/*/ns/net (and /proc/*/net/stat where that is denied), to find network namespaces, and comm and cgroup of one
#   process in each; /sys/module, kernel.modprobe, modules.builtin and kallsyms, to know what would load a module.
#
# Output: a line with the nonce, then, gzip'd where gzip is there, records of words that end with a NUL byte. Data of unknown
# length ends with CT=nonce or END=nonce and a NUL, which nothing on the node can foresee. Files are read by one "head" for
# many: its own environment, CT=nonce, is read between them, and its complaints stand in the place of what it could not read.

main() {
	umask 077
	unalias -a 2>/dev/null
	IFS='' LC_ALL=C PATH=${PATH:-/usr/bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
	export LC_ALL PATH
	nl='
'
	cd /
	renice -n 10 -p $$ >/dev/null 2>&1
	if in_path gzip; then
		printf '\nctaudit-%s %s %s %s\n' probe 1 "$nonce" gzip
		body </dev/null | "$file" -1 -c
	else
		printf '\nctaudit-%s %s %s %s\n' probe 1 "$nonce" plain
		body </dev/null
	fi
}

body() {
	exec 4>&1
	answered=0 list='' queued=0 cap=1048577 asks=no ipflags='' limiter=''
	if in_path head; then head=$file; else head='head'; fi
	if in_path timeout && "$file" 30 true 2>/dev/null; then limiter=$file; fi # an old busybox wants -t
	printf 'B %s %s\0' "$(date -u +%s)" "$(uname -n)"
	printf 'M\0'
	grep -E ' (/proc|/sys|/run/netns|/run/docker/netns)[ /]' /proc/self/mountinfo 2>/dev/null
	end
	clock 0
	first
	flush
	clock 1
	rest
	flush
	if [ -n "$sample" ]; then
		pause
		clock 2
		again
		flush
		clock 3
	fi
	printf 'Z %s\0' "$answered"
}

# end ends data.
end() { printf 'END=%s\0' "$nonce"; }

# clock N prints the uptime as the Nth mark; $now keeps it in hundredths of a second.
clock() {
	uptime
	printf 'T %s %s\0' "$1" "$now"
	now=${now%.*}${now#*.}
	[ "$1" != 1 ] || began=$now
}

# uptime sets $now to the seconds since boot, 0 where they are hidden.
uptime() {
	now=''
	{ IFS=' ' read -r now idle </proc/uptime; } 2>/dev/null
	case $now in [0-9]*.[0-9][0-9]) ;; *) now=0.00 ;; esac
}

# pause waits until $sample hundredths of a second have passed since the second mark.
pause() {
	uptime
	now=${now%.*}${now#*.}
	left=$((sample - (${now#0} - ${began#0})))
	[ "$left" -gt 0 ] || return 0
	hundredths=$((left % 100))
	[ "$hundredths" -gt 9 ] || hundredths=0$hundredths
	sleep "$((left / 100)).$hundredths" 2>/dev/null || sleep "$((left / 100 + 1))"
}

# reply SLOT REASON: this need is not read.
reply() {
	answered=$((answered + 1))
	printf 'N %s %s\0' "$1" "$2"
}

# --- Files -----------------------------------------------------------------------------------------------------------

# queue RECORD PATH prints what kind of thing the path is, and puts it on the list of what to read next: f a file, a not
# there (reading it tells why), n /dev/null, o another thing, p one that may not be read, x a name that the list cannot hold.
queue() {
	kind=f
	case $2 in *"$nl"*) kind=x ;; esac
	if [ "$kind" = x ]; then
		# Where such a name leads to nothing, there is nothing to say of it.
		if [ ! -e "$2" ] && [ ! -L "$2" ] && { [ ! -d "${2%/*}" ] || [ -x "${2%/*}" ]; }; then return; fi
	elif [ -f "$2" ]; then :
	elif [ ! -e "$2" ]; then kind=a
	elif [ "$2" -ef /dev/null ]; then kind=n
	elif [ -r "$2" ]; then kind=o
	else kind=p; fi
	printf '%s %s %s\0' "$1" "$kind" "$2"
	case $kind in f | a)
		list=$list$nl$2$nl/proc/self/environ
		queued=$((queued + 1))
		[ "$queued" -lt 200 ] || flush
		;;
	esac
}

# flush reads the list, for 30 seconds at most: a hung file system must not keep a process here.
flush() {
	[ -n "$list" ] || return 0
	printf 'D\0'
	set -f
	IFS=$nl
	set -- "$head" -q -c "$cap" $list
	if [ -n "$limiter" ]; then set -- "$limiter" 30 "$@"; fi
	env -i "CT=$nonce" "$@" 2>&1
	set +f
	IFS='' list='' queued=0
	end
}

# capped BYTES sets how much of each file is read.
capped() {
	[ "$cap" = "$1" ] || flush
	cap=$1
}

# file SLOT BYTES PATH
file() {
	answered=$((answered + 1))
	capped "$2"
	queue "F $1" "$3"
}

# glob SLOT BYTES FOLDER PATTERN...: each pattern is for the names in the folders that those before it lead to.
glob() {
	answered=$((answered + 1))
	capped "$2"
	slot=$1 matched=0
	printf 'G %s\0' "$slot"
	shift 2
	walk "$@"
}

# walk FOLDER PATTERN...: a pattern that matches nothing stands for itself, and is then no name.
walk() {
	if [ $# -eq 1 ]; then
		matched=$((matched + 1))
		[ "$matched" -gt 65537 ] || queue "F $slot" "$1"
		return
	fi
	case $2 in
	*[][*?]*) ;;
	*)
		deeper "$1/$2" "$@"
		return
		;;
	esac
	if [ -e "$1" ] && [ ! -d "$1" ]; then return; fi
	if [ ! -d "$1" ] || [ ! -r "$1" ]; then
		queue "U $slot" "$1"
		return
	fi
	for m in "$1"/$2 "$1"/.*; do
		case ${m##*/} in
		. | ..) continue ;;
		.*) # a pattern of ours matches these, too, but a shell's does not
			case ${m##*/} in $2) ;; *) continue ;; esac
			;;
		esac
		case $m in "$1/$2" | "$1/.*") if [ ! -e "$m" ] && [ ! -L "$m" ]; then continue; fi ;; esac
		deeper "$m" "$@"
	done
}

# deeper PATH FOLDER PATTERN PATTERN...: goes on at PATH with what is behind the first pattern.
deeper() {
	at=$1
	shift 3
	walk "$at" "$@"
}

# --- Conditions, and kernel modules ----------------------------------------------------------------------------------

# when SLOT CONDITION succeeds if the condition holds, and says otherwise why the need is not read.
when() {
	asks=no
	case $2 in
	module:*)
		module "${2#module:}"
		case $state in
		there) return 0 ;;
		ask) asks=yes && return 0 ;;
		*) reply "$1" "$state" ;;
		esac
		;;
	*)
		if some "$2"; then return 0; fi
		answered=$((answered + 1))
		queue "C $1" "$2"
		;;
	esac
	return 1
}

# some PATH succeeds if there is a byte in the file.
some() {
	byte=''
	[ -f "$1" ] && [ -r "$1" ] || return 1
	IFS='' read -r byte 2>/dev/null <"$1" || [ -n "$byte" ]
}

# module NAME sets $state: there, absent, ask (this kernel loads none, so nothing is risked by asking), or "unknown" and why.
module() {
	eval "state=\${module_$1-}"
	if [ -z "$state" ]; then
		look "$1"
		eval "module_$1=\$state"
	fi
}

look() {
	state=there
	[ ! -e "/sys/module/$1" ] || return 0
	state=ask
	if frozen; then return 0; fi
	state=absent
	read -r release 2>/dev/null </proc/sys/kernel/osrelease || release=none
	for f in "/lib/modules/$release/modules.builtin" "/usr/lib/modules/$release/modules.builtin"; do
		if [ ! -r "$f" ] || ! grep -q '[^[:space:]]' "$f"; then continue; fi
		if grep -q "\\(^\\|/\\)$(dashes "$1")\\.ko[^/]*\$" "$f"; then state=there; fi
		return 0
	done
	symbol "$1"
}

# dashes NAME is a pattern for the module's file, which may have - for _.
dashes() {
	d=$1 out=''
	while :; do
		case $d in
		*_*) out="$out${d%%_*}[-_]" d=${d#*_} ;;
		*) break ;;
		esac
	done
	printf %s "$out$d"
}

# frozen succeeds if this kernel loads no module on demand: it was built so, or modules_disabled is set, or modprobe is empty.
frozen() {
	if [ ! -e /proc/modules ] && [ ! -e /proc/sys/kernel/modprobe ]; then
		[ -e /proc/sys/kernel/ostype ]
		return
	fi
	if IFS=' ' read -r helper 2>/dev/null </proc/sys/kernel/modprobe && [ -z "$helper" ]; then return 0; fi
	IFS=' ' read -r disabled 2>/dev/null </proc/sys/kernel/modules_disabled && [ "$disabled" = 1 ]
}

# symbol NAME looks for symbols that the module has in every build.
symbol() {
	case $1 in
	nfnetlink) s=nfnetlink_subsys_register ;;
	nf_tables) s=nft_register_expr ;;
	nft_compat) s=nfnl_compat_ ;;
	nf_conntrack_netlink) s=ctnetlink_ ;;
	nfnetlink_hook) s=nfnl_hook_ ;;
	*)
		state='unknown its symbols are not known'
		return
		;;
	esac
	if [ -z "${symbols-}" ]; then
		symbols=$(grep -oE ' (nf_register_net_hook|nfnetlink_subsys_register|nft_register_expr|nfnl_compat_|ctnetlink_|nfnl_hook_)' \
			/proc/kallsyms 2>/dev/null | sort -u)
		symbols="$symbols."
	fi
	case $symbols in
	*' nf_register_net_hook'*" $s"* | *" $s"*' nf_register_net_hook'*) state=there ;;
	*' nf_register_net_hook'*) state=absent ;;
	.) state='unknown no kallsyms' ;;
	*) state='unknown kallsyms lacks the symbols of netfilter' ;;
	esac
}

# --- Commands --------------------------------------------------------------------------------------------------------

# run SLOT BYTES PROGRAM ARGUMENT...: "a|b" runs the first of these that is there.
run() {
	if seek "$3"; then
		answered=$((answered + 1))
		printf 'O %s %s %s\0' "$1" "$asks" "$name"
		most=$2
		shift 3
		show "$file" "$@"
	else
		reply "$1" "$missing"
	fi
	asks=no
}

# show PROGRAM ARGUMENT... prints what the program prints, at most $most bytes, then the end of its complaints with its status.
show() {
	complaints=$({ {
		limited "$@" 2>&3 3>&- 4>&-
		echo ":$?" >&3
	} | "$head" -c "$most" >&4 3>&-; } 3>&1 | tail -c 8192)
	end
	printf '%s\0' "$complaints"
}

# limited runs a program for 30 seconds at most, in an environment of its own.
limited() {
	if [ -n "$limiter" ]; then set -- "$limiter" 30 "$@"; fi
	env -i "PATH=$PATH" LC_ALL=C ${XTABLES_LOCKFILE+"XTABLES_LOCKFILE=$XTABLES_LOCKFILE"} "$@"
}

# in_path NAME sets $file to the program, by its own path or found in PATH.
in_path() {
	path=$PATH: file=''
	case $1 in /*) path=/: ;; esac
	while [ -n "$path" ]; do
		dir=${path%%:*} path=${path#*:}
		case $dir in /*) ;; *) continue ;; esac
		[ -f "$dir/$1" ] || continue
		if [ -x "$dir/$1" ]; then
			file=$dir/$1
			return 0
		fi
		missing=denied
	done
	return 1
}

# seek NAME|NAME... sets $name and $file to the first program that is there and loads no module, or $missing to why not.
seek() {
	names=$1\| missing=absent
	while [ -n "$names" ]; do
		name=${names%%|*} names=${names#*|}
		in_path "$name" || continue
		if harmless; then return 0; fi
	done
	return 1
}

# harmless succeeds unless the program, whatever name it goes by, would make the kernel load a module. Where the module is
# not there, such a program has nothing to show.
harmless() {
	real=$file
	[ ! -L "$file" ] || real=$(readlink -f "$file" 2>/dev/null)
	case ${real##*/} in
	nft) module nf_tables ;;
	xtables-nft-multi)
		case $name in
		*-save) module nft_compat ;;
		*) module nfnetlink ;;
		esac
		;;
	'')
		missing='unknown its links cannot be followed'
		return 1
		;;
	*) return 0 ;;
	esac
	case $state in
	there) return 0 ;;
	ask) asks=yes && return 0 ;;
	unknown*) missing=$state ;;
	esac
	return 1
}

# iproute SLOT BYTES PROGRAM ARGUMENT...: ip and tc, in JSON, and with numbers for names where this ip can do so. What changed
# while it was read is read again, three times at most.
iproute() {
	program=$3 number=$1 bytes=$2 flags='' complaints=''
	if [ "$program" = ip ]; then
		numeric
		flags=$ipflags
	fi
	shift 3
	for try in 1 2 3 4; do
		run "$number" "$bytes" "$program" $flags -j "$@"
		case $try$complaints in
		4*) ;;
		*'Dump was interrupted'*)
			printf 'R %s\0' "$number"
			answered=$((answered - 1))
			continue
			;;
		esac
		return
	done
}

# numeric finds out once whether this ip knows -N.
numeric() {
	[ -z "$ipflags" ] || return 0
	ipflags=-d
	if seek ip && "$file" -N -V >/dev/null 2>&1 </dev/null; then ipflags=-N; fi
}

# --- Network namespaces ----------------------------------------------------------------------------------------------

# namespaces SLOT FILE...: finds those of processes, and those with a name, and reads the files, links and addresses in each.
namespaces() {
	answered=$((answered + 1))
	flush
	capped 1048577
	slot=$1
	shift
	files=''
	for f in "$@"; do files=$files$nl$f$nl/proc/self/environ; done
	found=$(printf '%s/ns/net\n' /proc/self /proc/[0-9]* | xargs ls -diL 2>&1)
	named=$(ls -diL /run/netns/* /run/docker/netns/* 2>/dev/null)
	own=${found%%" /proc/self/ns/net"*}
	own=${own##*[!0-9]}
	printf 'S %s\0%s' "$slot" "$found"
	end
	case $found in *ermission*) printf '%s/net/stat\n' /proc/self /proc/[0-9]* | xargs ls -diL 2>&1 ;; esac
	end
	printf '%s' "$named"
	end
	numeric
	if in_path ip; then ip=$file; else ip=ip; fi
	if in_path nsenter; then nsenter=$file; else nsenter=nsenter; fi
	most=1048577 used='' seen=" $own " entered=0
	each_lowest
	set -f
	IFS=$nl
	for line in $lowest $named; do
		IFS=''
		set +f
		number=${line%% /*}
		number=${number##* }
		case $seen in *" $number "*) continue ;; esac
		seen="$seen$number "
		[ "$entered" -lt 4096 ] || break
		entered=$((entered + 1))
		# Any user can make namespaces and fill them with links. All of them together must not fill the answer.
		[ "$entered" -lt 128 ] || most=65537
		enter "$number" "/${line#*/}"
	done
	IFS=''
	set +f
	flush
	printf 'A %s\0' "$slot"
	if [ -n "$used" ]; then
		printf '%s/ns/net\n' /proc/self /proc/[0-9]* | xargs ls -diL
		ls -diL /run/netns/* /run/docker/netns/*
	fi 2>/dev/null
	end
	if [ -n "$used" ] && in_path lsns; then # it gives up when a process ends before its eyes
		told=''
		for attempt in 1 2 3; do
			[ -n "$told" ] || told=$(limited "$file" -t net -n -r -o NS,NETNSID 2>/dev/null)
		done
		printf %s "$told"
	fi
	end
}

# each_lowest sets $lowest to the lines of $found that are of other namespaces, the lowest process of each.
each_lowest() {
	numbers='' lowest=''
	set -f
	IFS=$nl
	for line in $found; do
		number=${line%% /proc/*}
		number=${number##* }
		case $number in "$own" | '' | *[!0-9]*) continue ;; esac
		pid=${line#*/proc/}
		pid=${pid%%/*}
		case $pid in '' | *[!0-9]*) continue ;; esac
		eval "have=\${pid_$number-}"
		if [ -z "$have" ]; then
			numbers="$numbers$nl$number"
		elif [ "$have" -lt "$pid" ]; then
			continue
		fi
		eval "pid_$number=$pid"
	done
	for number in $numbers; do
		eval "pid=\$pid_$number"
		lowest="$lowest$nl$number /proc/$pid/ns/net"
	done
	IFS=''
	set +f
}

# enter INODE PATH reads in the namespace that the path leads to. That it still does is seen at the end.
enter() {
	used=$used$nl$2
	case $2 in /proc/*)
		queue "P $slot" "${2%/ns/net}/comm"
		queue "P $slot" "${2%/ns/net}/cgroup"
		;;
	esac
	printf 'I %s %s %s\0' "$slot" "$1" "$2"
	set -f
	IFS=$nl
	env -i "CT=$nonce" "$nsenter" "-n$2" "$head" -q -c "$cap" $files 2>&1
	IFS=''
	set +f
	end
	# As show does it, with fewer processes: there may be thousands of namespaces.
	complaints=$({ {
		env -i "PATH=$PATH" LC_ALL=C "$nsenter" "-n$2" "$ip" $ipflags -j -d addr show 2>&3 3>&- 4>&-
		echo ":$?" >&3
	} | "$head" -c "$most" >&4 3>&-; } 3>&1)
	[ "${#complaints}" -lt 4000 ] || complaints="too many complaints$nl:${complaints##*:}"
	end
	printf '%s\0' "$complaints"
}
