#!/bin/bash
# An sbatch script: sluice job submit examples/digits/sweep.sh
# Trains the same network for 20, 40 and 60 epochs, two of them at once.
#SBATCH --job-name=sweep --chdir=.
#SBATCH --cpus-per-task=1 --mem=2G --time=30:00
#SBATCH --array=0-2%2
#SBATCH --signal=TERM@30 --output=sweep-%a.out
set -e
epochs=(20 40 60)
export DIGITS_EPOCHS=${epochs[SLURM_ARRAY_TASK_ID]} DIGITS_SLEEP=0s GOTOOLCHAIN=local
go build -o digits main.go network.go
exec ./digits # which saves its work on SIGTERM and goes on from there
