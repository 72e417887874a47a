# The first process of a run's container. It runs setup and the script, hands a
# stop on to everything in the container, and says in /run/sluice/out what the
# engine cannot tell. $1: name of the signal that asks for the end; $2: files that
# must be there, one a line; $3: open where there must be a network.
exec </dev/null 2>&1
box=/run/sluice/box out=/run/sluice/out
umask 077
PATH=${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}
export PATH
say() { echo "[sluice] $*"; }

# A stop goes to every process, also to those in sessions of their own: a shell
# without a trap dies of it, and what it waited for has the whole notice.
again='' stopping='' hooked=''
stop() {
	again=1
	if [ -z "$stopping" ]; then
		stopping=1
		say "asked to stop"
		echo stopped >$out/stopped
		if [ -f $box/hook.sh ] && [ -n "$pid" ]; then
			say "interruption hook"
			"$sh" $box/hook.sh
			hooked=$?
			[ "$hooked" = 0 ] || say "the hook ended with status $hooked"
		fi
	fi
	[ -z "$pid" ] || kill -s "${1:-TERM}" -- -1 2>/dev/null
	[ -z "$pid" ] || kill -s CONT -- -1 2>/dev/null
}
pid=''
trap 'stop TERM' TERM
[ "$1" = TERM ] || trap "stop $1" "$1"

sh=/bin/sh
for s in /bin/bash /usr/bin/bash /usr/local/bin/bash; do
	if [ -x $s ]; then sh=$s; break; fi
done

IFS='
'
for d in $2; do
	if [ ! -e "$d" ]; then
		echo "$d" >$out/missing
		exit 125
	fi
done
unset IFS
if [ -n "$3" ]; then
	found=''
	while read -r name rest; do
		case $name in lo: | lo:* | *'|'*) ;; *:*) found=1 ;; esac
	done </proc/net/dev
	if [ -z "$found" ]; then
		echo "a network" >$out/missing
		exit 125
	fi
fi

if [ "$3" = filtered ]; then
	[ ! -e $out/up ] || exit 125 # somebody starts it again: that network has no filter
	echo filter >$out/asks
	while [ ! -e $box/filtered ]; do
		[ -z "$stopping" ] || exit 143
		sleep 0.01 2>/dev/null || sleep 1
	done
fi

# Secrets come through memory, are read once, and stay in the container's own.
if [ -f /run/sluice/secret/env ]; then
	cat /run/sluice/secret/env >/run/.sluice-env && . /run/.sluice-env
	rm -f /run/sluice/secret/env
fi
echo up >$out/up
umask 022

# one SCRIPT: sets code to its exit status, 128+n for signal n. A stop interrupts
# the wait, which is then taken up again.
one() {
	[ -z "$stopping" ] || { code=143; return; }
	"$sh" "$1" &
	pid=$!
	again=''
	wait "$pid"
	code=$?
	while [ -n "$again" ]; do
		again='' before=$code
		wait "$pid"
		code=$?
		[ $code != 127 ] || code=$before # it had ended before, and was told
	done
}

# others: whether anything but us still runs.
others() {
	for d in /proc/[0-9]*; do
		[ "$d" != /proc/1 ] || continue
		{ read -r line <"$d/stat"; } 2>/dev/null || continue
		case ${line##*) } in [ZX]*) ;; *) return 0 ;; esac
	done
	return 1
}

code=0
if [ -f $box/setup.sh ]; then
	say setup
	one $box/setup.sh
	if [ $code = 0 ] && [ -z "$stopping" ]; then
		echo done >$out/setup.done
	elif [ -z "$stopping" ]; then
		echo $code >$out/setup.failed
	fi
fi
if [ $code = 0 ] && [ -z "$stopping" ]; then
	one $box/run.sh
elif [ $code = 0 ]; then
	echo stopped >$out/setup.stopped
fi
if [ -n "$stopping" ]; then
	while others; do
		sleep 0.05 2>/dev/null || sleep 1
	done
fi
# What the kernel has counted: the folders of either version of cgroups.
cd /sys/fs/cgroup 2>/dev/null && for f in cpuacct/cpuacct.usage memory/memory.max_usage_in_bytes memory/memory.oom_control cpu.stat memory.peak memory.events; do
	[ ! -r $f ] || { echo "# $f"; cat $f; } 2>/dev/null
done >$out/usage
exit $code
