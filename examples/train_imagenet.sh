#!/usr/bin/env bash
# ViT-B/16 on ImageNet as the paper trained it, Lion against AdamW, on the GPUs of one machine.
#
#   examples/train_imagenet.sh /data/imagenet runs/imagenet
#
# Run it in the root of a clone. /data/imagenet holds train/CLASS/*.JPEG and val/CLASS/*.JPEG. Call it
# again after an interruption: each training continues from its checkpoint. A batch of 4096 is cut into
# GPUS x ACCUMULATION micro-batches; if the number of GPUs changes between two calls, keep that product.
set -euo pipefail

data=$1 out=$2
gpus=${GPUS:-8} accumulation=${ACCUMULATION:-4}
more=("${@:3}") # further options, such as: --steps 100 --reduced --cpu --precision float32

for optimizer in lion adamw; do
    torchrun --standalone --nproc-per-node "$gpus" -m paper.images vit_b16_augmented \
        --data "$data" --out "$out/$optimizer" --resume \
        --optimizer "$optimizer" --accumulation "$accumulation" \
        --precision bfloat16 --compile --workers 8 "${more[@]}"
done
