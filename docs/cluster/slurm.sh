#!/usr/bin/env bash
# optforge on all machines of a Slurm job: sbatch --nodes 4 slurm.sh search --minutes 120 --out RUN
#SBATCH --job-name=optforge
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
set -euo pipefail

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 20000)) # what an earlier job left behind is not in the way
export RAY_TMPDIR="${SLURM_TMPDIR:-/tmp}/ray-$SLURM_JOB_ID"
export RAY_ADDRESS="$head:$port"

# One node of Ray on each machine; the command runs on the first when all have joined.
srun --nodes "$SLURM_JOB_NUM_NODES" --ntasks "$SLURM_JOB_NUM_NODES" --cpu-bind=none \
    ray symmetric-run --address "$RAY_ADDRESS" --min-nodes "$SLURM_JOB_NUM_NODES" -- \
    optforge "$@" --cluster "$RAY_ADDRESS"
