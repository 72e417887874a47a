#!/bin/sh
# srun for a script in Sluice: starts the tasks of this node. The script runs on
# each node of the job, and each srun of it starts its own node's share.
n='' nodes='' per='' here=${SLURM_NODEID:-0}
no() {
	echo "srun: $1 is not supported here: see sluice's docs/jobs.md" >&2
	exit 2
}
while [ $# -gt 0 ]; do
	opt=$1 val=''
	case $opt in
	--*=*) val=${opt#*=} opt=${opt%%=*} ;;
	--ntasks | --nodes | --ntasks-per-node | --nodelist | --chdir | --mpi | --export | --cpus-per-task | --gres | --gpus | --gpus-per-task | \
		--gpus-per-node | --mem | --mem-per-cpu | --mem-per-gpu | --cpu-bind | --gpu-bind | --mem-bind | --distribution | --job-name | --time | --hint | \
		--threads-per-core | --output | --error | --input | --wait)
		[ $# -gt 1 ] || no "$opt without a value"
		val=$2
		shift
		;;
	--) shift && break ;;
	--*) ;;
	-[nNwDcGmJtoeiW])
		[ $# -gt 1 ] || no "$opt without a value"
		val=$2
		shift
		;;
	-[nNwDcGmJtoeiW]*) val=${opt#-?} opt=${opt%"$val"} ;;
	-*) ;;
	*) break ;;
	esac
	shift
	case $opt in
	-n | --ntasks) n=$val ;;
	-N | --nodes) nodes=${val%%-*} ;;
	--ntasks-per-node) per=$val ;;
	-w | --nodelist)
		case ",$val," in *",${SLURMD_NODENAME:-localhost},"*) nodes=1 here=0 ;; *) exit 0 ;; esac
		;;
	-D | --chdir) cd "$val" || exit ;;
	--mpi) [ "$val" = none ] || no "--mpi=$val" ;;
	--export) [ "$val" = ALL ] || no "--export=$val" ;;
	-c | --cpus-per-task | --gres | -G | --gpus | --gpus-per-task | --gpus-per-node | --mem | --mem-per-cpu | --mem-per-gpu | --cpu-bind | --gpu-bind | \
		--mem-bind | -m | --distribution | -J | --job-name | -t | --time | --hint | --threads-per-core | -W | --wait) ;; # the job has what it has
	-u | --unbuffered | -l | --label | --exclusive | --exact | --overlap | -K | --kill-on-bad-exit | -v | --verbose | -Q | --quiet | -s | --oversubscribe) ;;
	*) no "$opt" ;;
	esac
done
[ $# -gt 0 ] || no "no command"
nodes=${nodes:-${SLURM_JOB_NUM_NODES:-1}}
if [ -z "$n" ]; then
	n=${SLURM_NTASKS:-1}
	[ -z "$per" ] || n=$((per * nodes))
fi
case $n$nodes in *[!0-9]*) no "-n $n -N $nodes" ;; esac
if [ "$n" -lt 1 ] || [ "$nodes" -lt 1 ]; then no "-n $n -N $nodes"; fi
[ "$nodes" -le "$n" ] || nodes=$n
share=$(((n + nodes - 1) / nodes))
first=$((here * share))
last=$((first + share))
[ "$last" -le "$n" ] || last=$n
[ "$first" -lt "$last" ] || exit 0
export SLURM_NTASKS="$n" SLURM_NPROCS="$n" SLURM_STEP_NUM_TASKS="$n" SLURM_STEP_ID=0 SLURM_STEPID=0 SLURM_STEP_NUM_NODES="$nodes"
if [ $((last - first)) -eq 1 ]; then
	export SLURM_PROCID="$first" SLURM_LOCALID=0
	exec "$@"
fi
# A signal goes to all processes of the job: this one only has to outlive it.
trap : HUP INT TERM USR1 USR2
pids=''
while [ "$first" -lt "$last" ]; do
	SLURM_PROCID=$first SLURM_LOCALID=$((first - here * share)) "$@" &
	pids="$pids $!"
	first=$((first + 1))
done
code=0
for pid in $pids; do
	while :; do
		wait "$pid"
		c=$?
		kill -0 "$pid" 2>/dev/null || break
	done
	[ "$c" -le "$code" ] || code=$c
done
exit "$code"
