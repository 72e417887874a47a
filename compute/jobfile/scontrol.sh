#!/bin/sh
# scontrol for a script in Sluice: the names of the job's nodes, one a line.
case "${1:-} ${2:-}" in
"show hostname" | "show hostnames") printf '%s\n' "${3:-${SLURM_JOB_NODELIST:-}}" | tr , '\n' ;;
*)
	echo "scontrol: only scontrol show hostnames is supported here: see sluice's docs/jobs.md" >&2
	exit 1
	;;
esac
